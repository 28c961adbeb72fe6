#include "stayd/options.h"

#include "base/number.h"
#include "proto/proto.h"
#include "stayd/config_file.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum {
    OPTION_CHECK = OPTION_NO_LETTER,
    OPTION_CONFIG,
    ROWS_MAX = 80,    /* of all tables */
    COLUMN_HELP = 32, /* where the help text of an option begins */
};

static const char usage_before[] =
    "Usage: stayd [-c FILE]            run; without FILE: the built-in pools below\n"
    "       stayd --check [-c FILE]    check the configuration, and print its errors\n"
    "       stayd -p 11211 -m 64 ...   memcached's options: one volatile pool, \"cache\"\n"
    "Keeps a web site's users logged in: pools of items over the memcached protocol.\n";

static const char usage_after[] =
    "\n"
    "Without options: pool \"cache\" (64M, evicts when full) on 127.0.0.1:11211 and\n"
    "unix:cache.sock, pool \"sessions\" (64M, on disk, never evicts) on 127.0.0.1:11200 and\n"
    "unix:sessions.sock, and http://127.0.0.1:11280/ for the dashboard, /metrics and /healthz.\n"
    "\n"
    "SIGHUP reads the configuration file again, and logs what needs a restart.\n"
    "Exit status: 0 after SIGTERM, SIGINT or SIGUSR1; 1 when it cannot run; 2 when the options or "
    "the\n"
    "configuration are wrong.\n";

static const char license[] =
    "stayd " STAYD_VERSION
    ", MIT licence: you may use, copy, change, publish, distribute and sell\n"
    "it, as long as the copyright notice and the licence's text stay with it. It comes without "
    "any\n"
    "warranty. The whole text is in the file LICENSE of its source.\n";

static bool take_config(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    options->config_path = value;
    return true;
}

static bool take_check(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->check = true;
    return true;
}

static bool take_verbose(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->process.verbosity++;
    return true;
}

static bool take_daemon(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->process.daemon = true;
    return true;
}

static bool take_core_dumps(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->process.core_dumps = true;
    return true;
}

static bool take_lock_memory(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->process.lock_memory = true;
    return true;
}

static bool take_user(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    options->process.user = value;
    return true;
}

static bool take_pid_file(struct options *options, const char *spelled, char *value) {
    return option_path(spelled, value, options->process.pid_file);
}

static const struct option_row general_rows[] = {
    {OPTION_CONFIG, "config", "FILE", take_config,
     "read the configuration from FILE (also: -c FILE)"},
    {OPTION_CHECK, "check", NULL, take_check,
     "check the configuration and exit: 0 if it is valid, else 2"},
    {'v', "verbose", NULL, take_verbose, "log more (-vv and -vvv: the same)"},
    {'h', "help", NULL, NULL, "show this help"},
    {'V', "version", NULL, NULL, "show the version"},
    {'i', "license", NULL, NULL, "show the licence"},
    {0},
};

static const struct option_row process_rows[] = {
    {'d', "daemon", NULL, take_daemon,
     "leave the terminal once clients are served, and log to syslog\n"
     "(with -v: still to the standard error)"},
    {'u', "user", "NAME", take_user, "become this user, when started as root"},
    {'P', "pidfile", "FILE", take_pid_file, "write the process id to FILE while running"},
    {'k', "lock-memory", NULL, take_lock_memory, "keep all memory from being swapped out"},
    {'r', "enable-coredumps", NULL, take_core_dumps, "allow core files of any size"},
    {0},
};

static const struct option_row *const tables[] = {general_rows, process_rows,
                                                  memcached_option_rows};

enum { TABLES = sizeof tables / sizeof tables[0] };

/* Finds the row of an option, and the number of its table. */
static const struct option_row *options_find(int letter, unsigned *table) {
    for (*table = 0; *table < TABLES; (*table)++) {
        for (const struct option_row *row = tables[*table]; row->letter != 0; row++) {
            if (row->letter == letter) {
                return row;
            }
        }
    }
    return NULL;
}

/* getopt_long's arguments, built from the tables. */
struct options_grammar {
    char letters[ROWS_MAX * 2 + 2];
    struct option names[ROWS_MAX + 1];
};

static void options_describe(struct options_grammar *grammar) {
    *grammar = (struct options_grammar){.letters = ":"};
    size_t letter_count = 1;
    size_t name_count = 0;
    for (unsigned table = 0; table < TABLES; table++) {
        for (const struct option_row *row = tables[table]; row->letter != 0; row++) {
            if (row->letter < OPTION_NO_LETTER) {
                grammar->letters[letter_count++] = (char)row->letter;
                if (row->argument != NULL) {
                    grammar->letters[letter_count++] = ':';
                }
            }
            if (row->name != NULL && name_count < ROWS_MAX) {
                grammar->names[name_count++] = (struct option){
                    row->name, row->argument != NULL ? required_argument : no_argument, NULL,
                    row->letter};
            }
        }
    }
}

static void options_print_row(const struct option_row *row) {
    char spelled[96];
    int used = row->letter < OPTION_NO_LETTER
                   ? snprintf(spelled, sizeof spelled, "  -%c", row->letter)
                   : snprintf(spelled, sizeof spelled, "    ");
    if (row->name != NULL) {
        used +=
            snprintf(spelled + used, sizeof spelled - (size_t)used, "%s--%s%s%s",
                     row->letter < OPTION_NO_LETTER ? ", " : "  ", row->name,
                     row->argument != NULL ? "=" : "", row->argument != NULL ? row->argument : "");
    } else if (row->argument != NULL) {
        used += snprintf(spelled + used, sizeof spelled - (size_t)used, " %s", row->argument);
    }
    /* If the option is too long for its column, the help text begins on the next line. */
    printf("%s", spelled);
    if (used + 2 > COLUMN_HELP) {
        putchar('\n');
        used = 0;
    }
    for (const char *line = row->help; line != NULL; used = 0) {
        const char *end = strchr(line, '\n');
        int length = end != NULL ? (int)(end - line) : (int)strlen(line);
        printf("%*s%.*s\n", COLUMN_HELP - used, "", length, line);
        line = end != NULL ? end + 1 : NULL;
    }
}

static void options_print_help(void) {
    static const char *const titles[TABLES] = {
        "", "Options of the process, with -c FILE or with memcached's options:",
        "Instead of a configuration, memcached's own options (docs/from-memcached.md):"};
    fputs(usage_before, stdout);
    for (unsigned table = 0; table < TABLES; table++) {
        printf("\n%s%s", titles[table], *titles[table] != '\0' ? "\n" : "");
        for (const struct option_row *row = tables[table]; row->letter != 0; row++) {
            if (table == 0 || row->take != NULL) {
                options_print_row(row);
            }
        }
    }
    puts("\nAccepted for compatibility with memcached; they have no effect, and the log says so:");
    for (const struct option_row *row = memcached_option_rows; row->letter != 0; row++) {
        if (row->take == NULL) {
            options_print_row(row);
        }
    }
    fputs(usage_after, stdout);
}

/* Prints an error about an unknown option, or an option without its value. */
static bool options_refuse(int result, char **arguments) {
    char letter[3] = {'-', (char)optopt, '\0'};
    const char *given = arguments[optind - 1];
    bool is_long = given[0] == '-' && given[1] == '-';
    if (result == ':') {
        return option_fail(is_long ? given : letter, NULL, "needs a value");
    }
    if (optopt == 0 || is_long) {
        return option_fail(given, NULL, "unknown option, or it takes no value");
    }
    return option_fail(letter, NULL, "unknown option");
}

/* Writes the option as the user wrote it, -p or --port, to `spelled`, and returns that. */
static const char *options_spell(const struct option_row *row, bool is_long, char *spelled,
                                 size_t size) {
    if (is_long && row->name != NULL) {
        snprintf(spelled, size, "--%s", row->name);
    } else {
        snprintf(spelled, size, "-%c", row->letter);
    }
    return spelled;
}

static bool options_is_number(const char *text) {
    uint64_t number;
    return number_parse_u64(bytes_from_string(text), &number);
}

static bool options_take(struct options *options, int letter, bool is_long) {
    if (letter == 'c' && !is_long && !options_is_number(optarg)) {
        letter = OPTION_CONFIG; /* with a number, -c is memcached's limit of connections */
    }
    unsigned table;
    const struct option_row *row = options_find(letter, &table);
    char spelled[64];
    options_spell(row, is_long, spelled, sizeof spelled);
    if (table == 2 && !options->memcached.given) {
        options->memcached.given = true;
        snprintf(options->memcached.first, sizeof options->memcached.first, "%s", spelled);
    } else if (table == 1) {
        options->process_is_given = true;
    }
    if (row->take != NULL) {
        return row->take(options, spelled, optarg);
    }
    option_notice(options, "%s%s%s changes nothing: %s", spelled, optarg != NULL ? " " : "",
                  optarg != NULL ? optarg : "", row->help);
    return true;
}

static enum options_result options_take_next(struct options *options, int letter, bool is_long,
                                             char **arguments) {
    switch (letter) {
    case 'h':
        options_print_help();
        return OPTIONS_DONE;
    case 'V':
        puts("stayd " STAYD_VERSION " (to clients: memcached " PROTO_VERSION ")");
        printf("io_uring: built with%s%s\n",
               transfers_liburing() != NULL ? " liburing " : "out liburing",
               transfers_liburing() != NULL ? transfers_liburing() : "");
        return OPTIONS_DONE;
    case 'i':
        fputs(license, stdout);
        return OPTIONS_DONE;
    case '?':
    case ':':
        return options_refuse(letter, arguments) ? OPTIONS_RUN : OPTIONS_WRONG;
    default:
        return options_take(options, letter, is_long) ? OPTIONS_RUN : OPTIONS_WRONG;
    }
}

/* Words that are no options: memcached ignores them. Without one of memcached's options they are an
 * error. */
static bool options_take_words(struct options *options, int argument_count, char **arguments) {
    if (!options->memcached.given) {
        return option_fail(arguments[optind], NULL,
                           "unexpected argument: stayd takes only options");
    }
    for (int i = optind; i < argument_count; i++) {
        option_notice(options, "the word %.64s changes nothing: it belongs to no option",
                      arguments[i]);
    }
    return true;
}

enum options_result options_parse(struct options *options, int argument_count, char **arguments) {
    struct options_grammar grammar;
    options_describe(&grammar);
    memset(options, 0, sizeof *options);
    memcached_options_init(&options->memcached);
    optind = 0; /* so that options_parse can be called again */
    opterr = 0;
    int letter;
    int name = -1;
    while ((letter = getopt_long(argument_count, arguments, grammar.letters, grammar.names,
                                 &name)) != -1) {
        enum options_result result = options_take_next(options, letter, name >= 0, arguments);
        if (result != OPTIONS_RUN) {
            return result;
        }
        name = -1;
    }
    if (optind < argument_count && !options_take_words(options, argument_count, arguments)) {
        return OPTIONS_WRONG;
    }
    if (options->memcached.given && options->config_path != NULL) {
        option_fail(options->memcached.first, NULL,
                    "cannot be combined with -c FILE: set it in the configuration file");
        return OPTIONS_WRONG;
    }
    /* Process options alone, such as -d, start what `memcached -d` would: one cache pool, and not
     * the built-in pools. */
    options->memcached.given |= options->process_is_given && options->config_path == NULL;
    return memcached_options_check(options) ? OPTIONS_RUN : OPTIONS_WRONG;
}

void options_configure(struct options *options, struct config *config, struct faults *faults) {
    if (options->memcached.given) {
        memcached_options_configure(options, config, faults);
    } else if (options->config_path != NULL) {
        config_file_read(options->config_path, config, faults);
    } else {
        config_add_builtin_pools(config);
        config_check(config, faults);
    }
}

const char *options_source(const struct options *options) {
    if (options->memcached.given) {
        return "command line";
    }
    return options->config_path != NULL ? options->config_path : "built-in configuration";
}
