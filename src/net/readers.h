/* Which users of this machine may map a pool and read it in their own processes (store/reader.h).
 * The kernel identifies the client of a Unix socket (SO_PEERCRED, SO_PEERGROUPS). Root and the
 * daemon's own user are always allowed, unless the list is "none". Any thread may call. */
#ifndef STAYD_NET_READERS_H
#define STAYD_NET_READERS_H

#include <stdbool.h>
#include <sys/types.h>

enum {
    READERS_MAX = 32,       /* users, and groups */
    READERS_ERROR_MAX = 256 /* bytes of a message in an out parameter, with its zero */
};

struct readers {
    bool none; /* nobody may */
    uid_t users[READERS_MAX];
    unsigned user_count;
    gid_t groups[READERS_MAX];
    unsigned group_count;
};

/* Parses a list of users and @groups, by name or number, separated by commas; or "none". The names
 * are looked up now. False with the reason in `error`. */
bool readers_parse(const char *text, struct readers *readers, char error[READERS_ERROR_MAX]);

/* Whether the client of this connection may map the pool. False for a connection that is not a Unix
 * socket. A function for proto_service.may_map: `readers` is a struct readers. */
bool readers_allow(const void *readers, int fd);

#endif
