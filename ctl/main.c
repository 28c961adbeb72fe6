/* stayctl: shows the state of a running stayd, flushes a pool, and checks, copies and restores pool
 * files. */
#include "command.h"
#include "offline.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: stayctl [-c FILE | -s URL] [--json] COMMAND\n"
    "Operates a running stayd.\n"
    "\n"
    "  status              state of all pools, what is wrong, and what to do\n"
    "  top                 the same, each second, until q is pressed\n"
    "  sessions [POOL]     how many items are live, and when they expire; no keys\n"
    "  latency [POOL]      how long requests take inside the daemon, by command\n"
    "  stats POOL [GROUP]  statistics of the pool (GROUP: settings, ...)\n"
    "  get POOL KEY        print the value of an item\n"
    "  delete POOL KEY     delete an item\n"
    "  flush POOL          delete every item of the pool; asks for the name of a pool that is\n"
    "                      persistent or never evicts, such as a pool of sessions (or --yes)\n"
    "  ping [POOL]         time of a reply\n"
    "  version [POOL]      version of the running daemon\n"
    "  reload              have the daemon read certificates and auth_files again\n"
    "  cluster create      make the streams of all clustered pools, with the right settings\n"
    "  cluster status      the partitions of all clustered pools, at the engine and on this host\n"
    "  cluster adopt POOL [FILE]\n"
    "                      put the items of a plain pool into its cluster's streams\n"
    "  reseed POOL [FILE]  make the streams of a clustered pool anew, from its file on this host\n"
    "  backup POOL FILE    copy the pool's file, consistently, while stayd runs\n"
    "\n"
    "Commands for pool files that no stayd is using:\n"
    "\n"
    "  check FILE          verify every record; print each fault with its place\n"
    "  dump FILE           print every item as a line of JSON\n"
    "  restore FILE POOL   replace the pool's file by a copy of FILE; needs --yes if it exists\n"
    "\n"
    "  -c, --config=FILE   the daemon's configuration (default: the built-in pools)\n"
    "  -s, --server=URL    one pool by its address, without a configuration; POOL is left out:\n"
    "                      memcached://HOST:PORT/, unix:///PATH, HOST:PORT or unix:PATH\n"
    "  -u, --user=NAME     log in to pools with a login; the password is in STAYD_PASSWORD in "
    "the\n"
    "                      environment\n"
    "  -j, --json          print JSON: an object on one line (ping, version,\n"
    "                      sessions, latency, cluster status: one for each pool; top: one for each "
    "pool and "
    "second)\n"
    "  -y, --yes           confirm flush, restore or reseed\n"
    "  -h, --help          show this help\n"
    "  -V, --version       show stayctl's own version\n"
    "\n"
    "Exit status: 0; 1 when a pool does not answer, refuses, is full or read-only, or a file is\n"
    "damaged; 2 when the command line or the configuration is wrong, or a file is not a pool "
    "file;\n"
    "3 when get or delete finds no item.\n";

static const struct option names[] = {
    {"config", required_argument, NULL, 'c'}, {"server", required_argument, NULL, 's'},
    {"json", no_argument, NULL, 'j'},         {"yes", no_argument, NULL, 'y'},
    {"help", no_argument, NULL, 'h'},         {"version", no_argument, NULL, 'V'},
    {"user", required_argument, NULL, 'u'},   {NULL, 0, NULL, 0},
};

static int fail_usage(const char *what, const char *why) {
    fprintf(stderr, "stayctl: %s: %s\nTry 'stayctl --help'.\n", what, why);
    return EXIT_WRONG;
}

struct command {
    const char *name;
    bool of_all;       /* without a pool, the command runs on all pools, one after the other */
    int arguments_min; /* after the pool's name */
    int arguments_max;
    bool takes_arguments; /* with run_together: reads them itself */

    /* Exactly one of these functions is set. The command works on: */
    command_run *run;                   /* a pool that answers */
    command_run_together *run_together; /* all pools at once */
    command_run_file *run_file;         /* FILE */
    command_run_copy *run_to_file;      /* POOL FILE */
    command_run_copy *run_from_file;    /* FILE POOL */
};

static const struct command commands[] = {
    {"status", .run_together = status_run},
    {"top", .run_together = top_run},
    {"reload", .run_together = reload_run},
    {"cluster", .run_together = cluster_run, .takes_arguments = true},
    {"reseed", .run_together = reseed_run, .takes_arguments = true},
    {"stats", false, 0, 1, .run = stats_run},
    {"get", false, 1, 1, .run = get_run},
    {"delete", false, 1, 1, .run = delete_run},
    {"flush", false, 0, 0, .run = flush_run},
    {"sessions", true, 0, 0, .run = sessions_run},
    {"latency", true, 0, 0, .run = latency_run},
    {"ping", true, 0, 0, .run = ping_run},
    {"version", true, 0, 0, .run = version_run},
    {"check", .run_file = check_run},
    {"dump", .run_file = dump_run},
    {"backup", .run_to_file = backup_run},
    {"restore", .run_from_file = restore_run},
};

static const struct command *find_command(const char *name) {
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int run_on(const struct command *command, const struct target *target,
                  struct invocation *invocation) {
    struct stayd_error error;
    const char *url;
    struct stayd *client = target_open(target, &url, &error);
    if (client == NULL) {
        invocation->unreached = url == NULL;
        return command_fail(target, error.message);
    }
    int result = command->run(client, target, invocation);
    stayd_close(client);
    return result;
}

static int run_on_all(const struct command *command, const struct target_list *list,
                      struct invocation *invocation) {
    int result = 0;
    for (unsigned i = 0; i < list->count; i++) {
        int each = run_on(command, &list->items[i], invocation);
        result = each != 0 ? each : result;
    }
    return result;
}

static int fail_pool(const struct target_list *list, const char *command, const char *name) {
    fprintf(stderr, "stayctl: %s: ", command);
    if (name == NULL) {
        fputs("name a pool", stderr);
    } else {
        fprintf(stderr, "there is no pool '%s'", name);
    }
    for (unsigned i = 0; i < list->count; i++) {
        fprintf(stderr, "%s%s", i == 0 ? "; there are " : ", ", list->items[i].name);
    }
    fputc('\n', stderr);
    return EXIT_WRONG;
}

static int run_on_file(const struct command *command, const struct invocation *invocation) {
    if (invocation->argument_count != 1) {
        return fail_usage(command->name, "takes exactly one file");
    }
    return command->run_file(invocation->arguments[0], invocation);
}

/* Runs backup or restore, which need the path of the pool's own file. */
static int run_copy(const struct command *command, const struct target_list *list,
                    const struct invocation *invocation) {
    char **arguments = invocation->arguments;
    bool file_first = command->run_from_file != NULL;
    if (list->config == NULL) {
        return fail_usage(
            "-s", "this command needs the path of the pool's file, from the configuration; use -c");
    }
    if (invocation->argument_count != 2) {
        return fail_usage(command->name,
                          file_first ? "takes a file and a pool" : "takes a pool and a file");
    }
    const char *name = arguments[file_first ? 1 : 0];
    const char *file = arguments[file_first ? 0 : 1];
    const struct target *target = target_find(list, name);
    if (target == NULL) {
        return fail_pool(list, command->name, name);
    }
    command_run_copy *run = file_first ? command->run_from_file : command->run_to_file;
    return run(target, config_find_pool(list->config, name), file, invocation);
}

/* Runs a command on the pool that is named, or on all pools. */
static int run_on_pools(const struct command *command, const struct target_list *list,
                        struct invocation *invocation) {
    const struct target *target = invocation->url != NULL ? &list->items[0] : NULL;
    if (target == NULL && invocation->argument_count > 0) {
        const char *name = *invocation->arguments++;
        invocation->argument_count--;
        target = target_find(list, name);
        if (target == NULL) {
            return fail_pool(list, command->name, name);
        }
    }
    if (invocation->argument_count > command->arguments_max) {
        return fail_usage(invocation->arguments[command->arguments_max], "unexpected argument");
    }
    if (target != NULL && invocation->argument_count < command->arguments_min) {
        return fail_usage(command->name, "name a key");
    }
    if (target == NULL) {
        return command->of_all ? run_on_all(command, list, invocation)
                               : fail_pool(list, command->name, NULL);
    }
    return run_on(command, target, invocation);
}

static int run_command(const struct command *command, const struct target_list *list,
                       struct invocation *invocation) {
    if (command->run_to_file != NULL || command->run_from_file != NULL) {
        return run_copy(command, list, invocation);
    }
    if (command->run_together != NULL) {
        return invocation->argument_count > 0 && !command->takes_arguments
                   ? fail_usage(command->name, "takes no argument")
                   : command->run_together(list, invocation);
    }
    return run_on_pools(command, list, invocation);
}

enum { GO_ON = -1 }; /* not an exit status */

/* Reads the command line. Returns GO_ON, or the exit status if there is no command to run. */
static int read_arguments(struct invocation *invocation, int argument_count, char **arguments) {
    int letter;
    static char name[] = "stayctl"; /* the name in getopt's messages */
    arguments[0] = name;
    while ((letter = getopt_long(argument_count, arguments, "c:s:u:jyhV", names, NULL)) != -1) {
        switch (letter) {
        case 'c':
            invocation->config_path = optarg;
            break;
        case 's':
            invocation->url = optarg;
            break;
        case 'u':
            invocation->user = optarg;
            break;
        case 'j':
            invocation->json = true;
            break;
        case 'y':
            invocation->yes = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        case 'V':
            puts("stayctl " STAYD_VERSION);
            return 0;
        default:
            fputs("Try 'stayctl --help'.\n", stderr);
            return EXIT_WRONG;
        }
    }
    invocation->password = getenv("STAYD_PASSWORD");
    if (invocation->user != NULL && invocation->password == NULL) {
        return fail_usage("-u", "put the password into STAYD_PASSWORD in the environment");
    }
    if (optind == argument_count) {
        fputs(usage, stderr);
        return EXIT_WRONG;
    }
    if (invocation->config_path != NULL && invocation->url != NULL) {
        return fail_usage("-c and -s", "cannot be combined; use one of them");
    }
    invocation->command = arguments[optind];
    invocation->arguments = arguments + optind + 1;
    invocation->argument_count = argument_count - optind - 1;
    return GO_ON;
}

int main(int argument_count, char **arguments) {
    struct invocation invocation = {0};
    signal(SIGXFSZ, SIG_IGN); /* so that a write beyond the limit of file sizes fails, and backup
                                 reports the error */
    int status = read_arguments(&invocation, argument_count, arguments);
    if (status != GO_ON) {
        return status;
    }
    const struct command *command = find_command(invocation.command);
    if (command == NULL) {
        return fail_usage(invocation.command, "there is no such command");
    }
    if (command->run_file != NULL) {
        return run_on_file(command, &invocation);
    }
    struct target_list list;
    int result = EXIT_WRONG;
    if (target_list_init(&list, invocation.config_path, invocation.url)) {
        target_list_log_in(&list, invocation.user, invocation.password);
        result = run_command(command, &list, &invocation);
    }
    if (invocation.unreached) {
        fputs(
            "stayctl: is stayd running? If it listens elsewhere, name its address with -c FILE or "
            "-s URL.\n",
            stderr);
    }
    target_list_finish(&list);
    return result;
}
