#include "stayd/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Whether all user and group ids are those of the user, and the process cannot become root again.
 */
static bool privileges_are_gone(uid_t user, gid_t group) {
    uid_t users[3];
    gid_t groups[3];
    if (getresuid(&users[0], &users[1], &users[2]) != 0 ||
        getresgid(&groups[0], &groups[1], &groups[2]) != 0) {
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (users[i] != user || groups[i] != group) {
            return false;
        }
    }
    return setuid(0) != 0 && seteuid(0) != 0;
}

bool privileges_drop(const char *name, bool keep_core_dumps, char error[PRIVILEGES_ERROR_MAX]) {
    if (geteuid() != 0) {
        return true;
    }
    errno = 0;
    const struct passwd *user = getpwnam(name);
    if (user == NULL) {
        snprintf(error, PRIVILEGES_ERROR_MAX, "cannot become user %.64s: %s; see 'getent passwd'",
                 name, errno != 0 ? strerror(errno) : "there is no such user");
        return false;
    }
    uid_t uid = user->pw_uid;
    gid_t gid = user->pw_gid;
    if (uid == 0) {
        return true;
    }
    if (initgroups(name, gid) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0) {
        snprintf(error, PRIVILEGES_ERROR_MAX,
                 "cannot become user %.64s: %s; the systemd unit must leave CAP_SETUID and "
                 "CAP_SETGID, or set User=%.64s instead of -u",
                 name, strerror(errno), name);
        return false;
    }
    if (!privileges_are_gone(uid, gid)) {
        snprintf(error, PRIVILEGES_ERROR_MAX,
                 "cannot become user %.64s: the process could become root again", name);
        return false;
    }
    if (keep_core_dumps) {
        prctl(PR_SET_DUMPABLE, 1); /* if this fails, only core files are missing */
    }
    return true;
}
