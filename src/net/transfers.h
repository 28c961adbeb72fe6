/* Receives and sends of a group of sockets. Two implementations:
 *
 *     epoll    one system call for each: recv, send             transfers.c
 *     uring    one system call for the group, by io_uring       transfers_uring.c
 *
 * Both wait for sockets with epoll (worker.c), and a transfer is done only as far as the socket
 * allows at once. So nothing is in flight when transfers_run returns: connections may be closed,
 * and their buffers reused, at any other time, with both implementations.
 *
 * One thread at a time uses a struct transfers. */
#ifndef STAYD_NET_TRANSFERS_H
#define STAYD_NET_TRANSFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum transfers_kind { TRANSFERS_AUTO, TRANSFERS_EPOLL, TRANSFERS_URING, TRANSFERS_KINDS };

/* The values of the setting `io`. */
extern const char *const transfers_names[TRANSFERS_KINDS];

enum { TRANSFERS_GROUP_MAX = 32, TRANSFERS_ERROR_MAX = 200 };

struct transfer {
    int fd;
    bool sends; /* false: receives */
    char *data; /* is only read by a send */
    size_t size;
    ssize_t result; /* set by transfers_run: bytes, or a negative error number */
};

struct transfers;

/* The kind for this setting. Logs a line if `wanted` is TRANSFERS_URING, and the build or the
 * system does not allow io_uring. */
enum transfers_kind transfers_choose(enum transfers_kind wanted);

/* The version of liburing that this was built with, such as 2.3; NULL: it was built without. */
const char *transfers_liburing(void);

/* `kind` is not TRANSFERS_AUTO. NULL with errno if the system refuses. */
struct transfers *transfers_create(enum transfers_kind kind);

/* Accepts NULL. */
void transfers_destroy(struct transfers *transfers);

/* Called once by the thread that is going to use `transfers`. */
void transfers_begin(struct transfers *transfers);

/* The most transfers that share a system call. 1: groups gain nothing. */
unsigned transfers_get_group_max(const struct transfers *transfers);

/* Makes the transfers of up to TRANSFERS_GROUP_MAX sockets, and sets the result of each. Never
 * waits. */
void transfers_run(struct transfers *transfers, struct transfer *group, unsigned count);

#endif
