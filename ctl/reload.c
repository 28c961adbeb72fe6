/* `stayctl reload`: the daemon reads certificates and auth_files again. */
#include "command.h"
#include "state.h"
#include "words.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Whether ps shows this process as stayd. */
static bool reload_is_named_stayd(uint64_t pid) {
    char path[64];
    char name[32] = "";
    snprintf(path, sizeof path, "/proc/%llu/comm", (unsigned long long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool read = fgets(name, sizeof name, file) != NULL;
    fclose(file);
    return read && strcmp(name, "stayd\n") == 0;
}

/* Whether the process runs the file stayd, perhaps started through a link of another name, such as
 * memcached. Only the daemon's user and root can read this; only they can send the signal, too. */
static bool reload_runs_stayd(uint64_t pid) {
    char path[64];
    char program[PATH_MAX] = "";
    snprintf(path, sizeof path, "/proc/%llu/exe", (unsigned long long)pid);
    if (readlink(path, program, sizeof program - 1) < 0) {
        return false;
    }
    const char *name = strrchr(program, '/');
    /* the kernel adds " (deleted)" when the file was replaced by an upgrade */
    return name != NULL && (strcmp(name, "/stayd") == 0 || strcmp(name, "/stayd (deleted)") == 0);
}

/* A daemon in a container reports its process id in the container, which may be the id of another
 * process here. So SIGHUP is sent only to a process that is stayd. */
static bool reload_is_stayd(uint64_t pid) {
    return reload_is_named_stayd(pid) || reload_runs_stayd(pid);
}

static int reload_signal(const struct target *target, uint64_t pid, bool json) {
    char why[256];
    if (pid < 2 || pid > INT32_MAX || !reload_is_stayd(pid)) {
        snprintf(why, sizeof why,
                 "its process %llu is on another machine or in a container. Send SIGHUP to it "
                 "there",
                 (unsigned long long)pid);
        return command_fail(target, why);
    }
    if (kill((pid_t)pid, SIGHUP) != 0) {
        snprintf(
            why, sizeof why,
            "cannot send SIGHUP to process %llu: %s. Run stayctl as the daemon's user or root, "
            "or use 'systemctl reload stayd'",
            (unsigned long long)pid, strerror(errno));
        return command_fail(target, why);
    }
    if (json) {
        return words_print_json(json_pack("{s:I}", "pid", (json_int_t)pid)) ? 0 : EXIT_FAULT;
    }
    printf("stayd (process %llu) reads certificates and auth_files again; its log says which other "
           "changes wait for a restart\n",
           (unsigned long long)pid);
    return 0;
}

int reload_run(const struct target_list *list, struct invocation *invocation) {
    struct stayd_error error = {0};
    const char *url = NULL;
    for (unsigned i = 0; i < list->count; i++) {
        struct state state;
        struct stayd *client = target_open(&list->items[i], &url, &error);
        if (client == NULL) {
            continue;
        }
        bool answered = state_read(client, &state, &error) == STAYD_OK;
        stayd_close(client);
        if (answered && state.stayd_version[0] == '\0') {
            return command_fail(&list->items[i], "this server is not stayd");
        }
        if (answered) {
            return reload_signal(&list->items[i], state.pid, invocation->json);
        }
    }
    invocation->unreached = url == NULL;
    return command_fail(&list->items[0], error.message);
}
