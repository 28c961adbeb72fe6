/* stayd: the daemon's entry. Options, then the configuration, then the daemon itself. */
#include "base/log.h"
#include "stayd/config.h"
#include "stayd/daemon.h"
#include "stayd/options.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

/* Gives root's rights up for those of `name`, before there are threads. */
static bool become_user(const char *name) {
    if (geteuid() != 0) {
        return true; /* as memcached: -u is for those who may */
    }
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (user == NULL) {
        log_error("cannot become user %s: %s", name,
                  errno != 0 ? strerror(errno) : "there is no such user");
        return false;
    }
    if (initgroups(name, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
        setuid(user->pw_uid) != 0) {
        log_error("cannot become user %s: %m", name);
        return false;
    }
    return true;
}

static const char *configuration_source(const struct options *options) {
    if (options->memcached) {
        return "command line";
    }
    return options->config_path != NULL ? options->config_path : "built-in configuration";
}

static int run(const struct options *options, const struct config *config) {
    log_init(options->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    if (options->user != NULL && !become_user(options->user)) {
        return EXIT_STARTUP;
    }
    return daemon_run(config) ? 0 : EXIT_STARTUP;
}

int main(int argument_count, char **arguments) {
    struct options options;
    switch (options_parse(&options, argument_count, arguments)) {
    case OPTIONS_RUN:
        break;
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_WRONG:
        return EXIT_USAGE;
    }
    struct config *config = config_create();
    struct faults faults;
    faults_init(&faults, configuration_source(&options));
    options_configure(&options, config, &faults);
    int result = 0;
    if (faults.count > 0) {
        faults_print(&faults, stderr);
        result = EXIT_USAGE;
    } else if (options.check) {
        printf("%s: valid\n", faults.source);
    } else {
        result = run(&options, config);
    }
    faults_finish(&faults);
    config_destroy(config);
    return result;
}
