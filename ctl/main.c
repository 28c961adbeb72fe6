/* stayctl: shows the state of a running stayd, flushes a pool, and checks, copies and restores pool
 * files. */
#include "offline.h"
#include "status.h"
#include "target.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "Usage: stayctl [-c FILE | -s URL] COMMAND\n"
    "Operates a running stayd.\n"
    "\n"
    "  status              one line per pool: state, items, memory, hits\n"
    "  stats POOL [GROUP]  statistics of the pool (GROUP: settings, ...)\n"
    "  flush POOL          delete every item of the pool; needs --yes if the pool is persistent "
    "or\n"
    "                      never evicts, such as a pool of sessions\n"
    "  ping [POOL]         time of a reply\n"
    "  version [POOL]      version of the running daemon\n"
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
    "  -y, --yes           confirm flush or restore\n"
    "  -h, --help          show this help\n"
    "  -V, --version       show stayctl's own version\n"
    "\n"
    "Exit status: 0; 1 when a pool does not answer, refuses, is full or read-only, or a file is\n"
    "damaged; 2 when the command line or the configuration is wrong, or a file is not a pool "
    "file.\n";

static const struct option names[] = {
    {"config", required_argument, NULL, 'c'},
    {"server", required_argument, NULL, 's'},
    {"yes", no_argument, NULL, 'y'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {"user", required_argument, NULL, 'u'},
    {NULL, 0, NULL, 0},
};

struct invocation {
    const char *config_path;
    const char *url;
    const char *user;
    const char *password; /* not NULL if `user` is not */
    bool yes;
    const char *command;
    char **arguments;
    int argument_count;
    bool unreached; /* a result: some pool cannot be connected to */
};

static int fail_usage(const char *what, const char *why) {
    fprintf(stderr, "stayctl: %s: %s\nTry 'stayctl --help'.\n", what, why);
    return EXIT_WRONG;
}

static int fail_client(const struct target *target, const char *reason) {
    fprintf(stderr, "stayctl: pool %s: %s\n", target->name, reason);
    return EXIT_FAULT;
}

static void print_stat(void *user, const char *name, const char *value) {
    (void)user;
    printf("%-24s %s\n", name, value);
}

static int run_stats(struct stayd *client, const struct target *target,
                     const struct invocation *invocation) {
    const char *group = invocation->argument_count > 0 ? invocation->arguments[0] : NULL;
    struct stayd_error error;
    if (stayd_stats(client, 0, group, print_stat, NULL, &error) != STAYD_OK) {
        return fail_client(target, error.message);
    }
    return 0;
}

static int run_flush(struct stayd *client, const struct target *target,
                     const struct invocation *invocation) {
    struct stayd_error error;
    struct status_pool status;
    if (status_read(client, &status, &error) != STAYD_OK) {
        return fail_client(target, error.message);
    }
    const char *name = status.pool[0] != '\0' ? status.pool : target->name;
    bool needs_yes = strcmp(status.persist, "yes") == 0 || strcmp(status.evict, "no") == 0;
    if (needs_yes && !invocation->yes) {
        fprintf(stderr,
                "stayctl: pool %s is persistent or never evicts: flush deletes its %llu items for "
                "good, "
                "and logs out every user with a session in it. To confirm, add --yes.\n",
                name, (unsigned long long)status.items);
        return EXIT_WRONG;
    }
    if (stayd_flush_all(client, 0, &error) != STAYD_OK) {
        return fail_client(target, error.message);
    }
    printf("pool %s is empty (it had %llu items)\n", name, (unsigned long long)status.items);
    return 0;
}

static int run_ping(struct stayd *client, const struct target *target,
                    const struct invocation *invocation) {
    (void)invocation;
    char version[64];
    struct stayd_error error;
    struct timespec begin;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    if (stayd_version(client, 0, version, sizeof version, &error) != STAYD_OK) {
        return fail_client(target, error.message);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double microseconds =
        (double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) / 1e3;
    printf("%-16s answers in %.0f us\n", target->name, microseconds);
    return 0;
}

static int run_version(struct stayd *client, const struct target *target,
                       const struct invocation *invocation) {
    (void)invocation;
    char version[64];
    struct stayd_error error;
    struct status_pool status;
    if (stayd_version(client, 0, version, sizeof version, &error) != STAYD_OK ||
        status_read(client, &status, &error) != STAYD_OK) {
        return fail_client(target, error.message);
    }
    if (status.stayd_version[0] != '\0') {
        printf("%-16s stayd %s (to clients: memcached %s)\n", target->name, status.stayd_version,
               version);
    } else {
        printf("%-16s memcached %s\n", target->name, version);
    }
    return 0;
}

struct command {
    const char *name;
    bool of_all; /* without a pool, the command runs on all pools */
    int arguments_max;
    int (*run)(struct stayd *client, const struct target *target,
               const struct invocation *invocation);
};

static const struct command commands[] = {
    {"stats", false, 1, run_stats},
    {"flush", false, 0, run_flush},
    {"ping", true, 0, run_ping},
    {"version", true, 0, run_version},
};

static int run_on(const struct command *command, const struct target *target,
                  struct invocation *invocation) {
    struct stayd_error error;
    const char *url;
    struct stayd *client = target_open(target, &url, &error);
    if (client == NULL) {
        invocation->unreached = url == NULL;
        return fail_client(target, error.message);
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

/* Runs check FILE or dump FILE, which need no configuration. */
static int run_on_file(int (*run)(const char *path), const struct invocation *invocation) {
    if (invocation->argument_count != 1) {
        return fail_usage(invocation->command, "takes exactly one file");
    }
    return run(invocation->arguments[0]);
}

/* Runs backup POOL FILE or restore FILE POOL, which need the path of the pool's own file. */
static int run_copy(const struct target_list *list, const struct invocation *invocation,
                    bool restores) {
    char **arguments = invocation->arguments;
    if (list->config == NULL) {
        return fail_usage(
            "-s", "this command needs the path of the pool's file, from the configuration; use -c");
    }
    if (invocation->argument_count != 2) {
        return fail_usage(invocation->command,
                          restores ? "takes a file and a pool" : "takes a pool and a file");
    }
    const char *name = arguments[restores ? 1 : 0];
    const struct target *target = target_find(list, name);
    if (target == NULL) {
        return fail_pool(list, invocation->command, name);
    }
    const struct config_pool *pool = config_find_pool(list->config, name);
    return restores ? restore_run(target, pool, arguments[0], invocation->yes)
                    : backup_run(target, pool, arguments[1]);
}

static int run_command(const struct target_list *list, struct invocation *invocation) {
    if (strcmp(invocation->command, "status") == 0) {
        if (invocation->argument_count > 0) {
            return fail_usage(invocation->arguments[0], "status takes no argument");
        }
        return status_print(list) ? 0 : EXIT_FAULT;
    }
    bool restores = strcmp(invocation->command, "restore") == 0;
    if (restores || strcmp(invocation->command, "backup") == 0) {
        return run_copy(list, invocation, restores);
    }
    const struct command *command = NULL;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, invocation->command) == 0) {
            command = &commands[i];
        }
    }
    if (command == NULL) {
        return fail_usage(invocation->command, "there is no such command");
    }
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
    if (target == NULL) {
        return command->of_all ? run_on_all(command, list, invocation)
                               : fail_pool(list, command->name, NULL);
    }
    return run_on(command, target, invocation);
}

enum { GO_ON = -1 }; /* not an exit status */

/* Reads the command line. Returns GO_ON, or the exit status if there is no command to run. */
static int read_arguments(struct invocation *invocation, int argument_count, char **arguments) {
    int letter;
    static char name[] = "stayctl"; /* the name in getopt's messages */
    arguments[0] = name;
    while ((letter = getopt_long(argument_count, arguments, "c:s:u:yhV", names, NULL)) != -1) {
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
    signal(SIGXFSZ,
           SIG_IGN); /* beyond the limit of file sizes, write() fails, and backup reports it */
    int status = read_arguments(&invocation, argument_count, arguments);
    if (status != GO_ON) {
        return status;
    }
    if (strcmp(invocation.command, "check") == 0) {
        return run_on_file(check_run, &invocation);
    }
    if (strcmp(invocation.command, "dump") == 0) {
        return run_on_file(dump_run, &invocation);
    }
    struct target_list list;
    int result = EXIT_WRONG;
    if (target_list_init(&list, invocation.config_path, invocation.url)) {
        target_list_log_in(&list, invocation.user, invocation.password);
        result = run_command(&list, &invocation);
    }
    if (invocation.unreached) {
        fputs(TARGET_ADVICE, stderr);
    }
    target_list_finish(&list);
    return result;
}
