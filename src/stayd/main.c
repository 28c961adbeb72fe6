/* The entry point of stayd: reads the options and the configuration, and runs the daemon. */
#include "base/log.h"
#include "net/credentials.h"
#include "stayd/activation.h"
#include "stayd/certificates.h"
#include "stayd/config.h"
#include "stayd/daemon.h"
#include "stayd/daemonize.h"
#include "stayd/options.h"
#include "stayd/reload.h"

#include <fcntl.h>
#include <unistd.h>

/* If a standard stream is closed at startup, opens /dev/null in its place. Otherwise the next file
 * to be opened, such as a pool's file, would get the descriptor, and log lines would be written
 * into it. */
static bool keep_standard_streams(void) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    return fd >= 0 && close(fd) == 0;
}

static int run(const struct options *options, const struct config *config,
               const struct reload *reload, struct activation *activation) {
    const struct process_options *process = &options->process;
    struct daemonize daemonize = {0};
    log_init(process->verbosity > 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    if (process->daemon &&
        !daemonize_begin(&daemonize, process->core_dumps, process->verbosity > 0)) {
        return EXIT_STARTUP;
    }
    for (unsigned i = 0; i < options->notice_count; i++) {
        log_info("%s", options->notices[i]);
    }
    if (options->memcached.given && process->user == NULL && geteuid() == 0) {
        log_warning("running as root; use -u NAME to run as another user");
    }
    const struct daemon_options daemon = {
        .config = config,
        .process = process,
        .reload = reload,
        .activation = activation,
        .daemonize = &daemonize,
    };
    return daemon_run(&daemon) ? 0 : EXIT_STARTUP;
}

/* The context of add_auth_fault. */
struct auth_faults {
    const char *pool; /* NULL: the admin server's */
    const char *path;
    unsigned line;       /* of the configuration */
    unsigned exceptions; /* of the rules for the file */
    struct faults *faults;
};

static void add_auth_fault(void *context, unsigned line, bool is_warning, const char *text) {
    const struct auth_faults *found = context;
    char place[16] = "";
    if (line > 0) {
        snprintf(place, sizeof place, ":%u", line);
    }
    if (is_warning) { /* the daemon logs warnings */
        return;
    }
    if (found->pool != NULL) {
        faults_add(found->faults, found->line, "pool %s: auth_file %s%s: %s", found->pool,
                   found->path, place, text);
    } else {
        faults_add(found->faults, found->line, "admin: admin_auth_file %s%s: %s", found->path,
                   place, text);
    }
}

static void check_auth_file(struct auth_faults found) {
    if (found.path[0] != '\0') {
        credentials_release(credentials_read(found.path, CREDENTIALS_ANYBODYS | found.exceptions,
                                             add_auth_fault, &found));
    }
}

/* For --check. The daemon itself reads the auth_files later, with the rights of its user. */
static void check_auth_files(const struct config *config, struct faults *faults) {
    for (unsigned i = 0; i < config->pool_count; i++) {
        const struct config_pool *pool = &config->pools[i];
        check_auth_file((struct auth_faults){pool->options.name, pool->auth_file, pool->line,
                                             config_auth_exceptions(pool), faults});
    }
    check_auth_file((struct auth_faults){NULL, config->admin_auth_file, config->admin_auth_line,
                                         CREDENTIALS_STRICT, faults});
}

int main(int argument_count, char **arguments) {
    static struct activation activation;
    activation_receive(&activation);
    struct options options;
    if (!keep_standard_streams()) {
        return EXIT_STARTUP; /* no message: the standard streams are not open */
    }
    switch (options_parse(&options, argument_count, arguments)) {
    case OPTIONS_RUN:
        break;
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    }
    struct config *config = config_create();
    if (config == NULL) {
        fputs("stayd: no memory to read the configuration\n", stderr);
        return 1;
    }
    struct reload reload;
    reload_init(&reload, options.config_path, config);
    struct faults faults;
    faults_init(&faults, options_source(&options));
    options_configure(&options, config, &faults);
    if (faults.count == 0 && options.check) {
        certificates_check(config, &faults, stdout);
        check_auth_files(config, &faults);
    }
    int result = 0;
    if (faults.count > 0) {
        faults_print(&faults, stderr);
        result = EXIT_USAGE;
    } else if (options.check) {
        printf("%s: valid\n", faults.source);
        for (unsigned i = 0; i < options.notice_count; i++) {
            printf("%s: %s\n", faults.source, options.notices[i]);
        }
    } else {
        result = run(&options, config, &reload, &activation);
    }
    activation_finish(&activation);
    config_destroy(config);
    return result;
}
