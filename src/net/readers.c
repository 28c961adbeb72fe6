#include "net/readers.h"

#include "base/number.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READERS_NAME_MAX = 64,
    READERS_GROUPS_MAX = 1024 /* of one client; the supplementary groups are ignored beyond that */
};

static bool readers_explain(char *error, const char *kind, const char *name) {
    snprintf(error, READERS_ERROR_MAX, "there is no %s '%s'; write names as in /etc/%s, or numbers",
             kind, name, strcmp(kind, "user") == 0 ? "passwd" : "group");
    return false;
}

static bool readers_add_user(struct readers *readers, const char *name, char *error) {
    uint64_t number;
    const struct passwd *user = NULL;
    if (!number_parse_u64(bytes_from_string(name), &number) || number >= (uid_t)-1) {
        user = getpwnam(name);
        if (user == NULL) {
            return readers_explain(error, "user", name);
        }
        number = user->pw_uid;
    }
    readers->users[readers->user_count++] = (uid_t)number;
    return true;
}

static bool readers_add_group(struct readers *readers, const char *name, char *error) {
    uint64_t number;
    const struct group *group = NULL;
    if (!number_parse_u64(bytes_from_string(name), &number) || number >= (gid_t)-1) {
        group = getgrnam(name);
        if (group == NULL) {
            return readers_explain(error, "group", name);
        }
        number = group->gr_gid;
    }
    readers->groups[readers->group_count++] = (gid_t)number;
    return true;
}

bool readers_parse(const char *text, struct readers *readers, char error[READERS_ERROR_MAX]) {
    static const char space[] = " \t";
    *readers = (struct readers){.none = strcmp(text, "none") == 0};
    if (readers->none) {
        return true;
    }
    for (const char *at = text;; at++) {
        char name[READERS_NAME_MAX];
        at += strspn(at, space);
        bool is_group = *at == '@';
        at += is_group;
        size_t length = strcspn(at, ", \t");
        if (length == 0 || length >= sizeof name) {
            snprintf(error, READERS_ERROR_MAX,
                     "must be users and @groups separated by commas, such as www-data, @web; or "
                     "none");
            return false;
        }
        memcpy(name, at, length);
        name[length] = '\0';
        at += length;
        at += strspn(at, space);
        if ((is_group ? readers->group_count : readers->user_count) == READERS_MAX) {
            snprintf(error, READERS_ERROR_MAX, "at most %d users and %d groups", READERS_MAX,
                     READERS_MAX);
            return false;
        }
        if (!(is_group ? readers_add_group : readers_add_user)(readers, name, error)) {
            return false;
        }
        if (*at == '\0') {
            return true;
        }
        if (*at != ',') {
            snprintf(error, READERS_ERROR_MAX, "a comma is missing before '%.32s'", at);
            return false;
        }
    }
}

static bool readers_have_group(const struct readers *readers, gid_t group) {
    for (unsigned i = 0; i < readers->group_count; i++) {
        if (readers->groups[i] == group) {
            return true;
        }
    }
    return false;
}

/* Whether one of the groups that the client had when it connected is among the readers. */
static bool readers_have_a_group_of(const struct readers *readers, int fd) {
    gid_t groups[READERS_GROUPS_MAX];
    socklen_t size = sizeof groups;
    if (readers->group_count == 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0) {
        return false;
    }
    for (size_t i = 0; i < size / sizeof groups[0]; i++) {
        if (readers_have_group(readers, groups[i])) {
            return true;
        }
    }
    return false;
}

bool readers_allow(const void *list, int fd) {
    const struct readers *readers = list;
    struct ucred peer;
    socklen_t size = sizeof peer;
    int domain;
    socklen_t domain_size = sizeof domain;
    if (readers->none || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) != 0 ||
        domain != AF_UNIX || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return false;
    }
    if (peer.uid == 0 || peer.uid == geteuid() || readers_have_group(readers, peer.gid)) {
        return true;
    }
    for (unsigned i = 0; i < readers->user_count; i++) {
        if (readers->users[i] == peer.uid) {
            return true;
        }
    }
    return readers_have_a_group_of(readers, fd);
}
