#include "net/transfers.h"

#include "base/log.h"
#include "net/transfers_uring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

struct transfers {
    struct transfers_ring *ring; /* owned; NULL: one system call for each transfer */
};

const char *const transfers_names[TRANSFERS_KINDS] = {
    [TRANSFERS_AUTO] = "auto", [TRANSFERS_EPOLL] = "epoll", [TRANSFERS_URING] = "uring"};

enum transfers_kind transfers_choose(enum transfers_kind wanted) {
    char error[TRANSFERS_ERROR_MAX];
    /* TRANSFERS_AUTO is epoll: docs/design-network.md has the figures. */
    if (wanted != TRANSFERS_URING) {
        return TRANSFERS_EPOLL;
    }
    if (!transfers_ring_probe(error)) {
        log_warning("io = uring: using epoll instead, because io_uring cannot be used: %s", error);
        return TRANSFERS_EPOLL;
    }
    return TRANSFERS_URING;
}

const char *transfers_liburing(void) {
    return transfers_ring_liburing();
}

struct transfers *transfers_create(enum transfers_kind kind) {
    struct transfers *transfers = calloc(1, sizeof *transfers);
    if (transfers == NULL) {
        return NULL;
    }
    if (kind == TRANSFERS_URING) {
        transfers->ring = transfers_ring_create();
        if (transfers->ring == NULL) {
            int error_number = errno;
            free(transfers);
            errno = error_number;
            return NULL;
        }
    }
    return transfers;
}

void transfers_destroy(struct transfers *transfers) {
    if (transfers != NULL) {
        transfers_ring_destroy(transfers->ring);
        free(transfers);
    }
}

void transfers_begin(struct transfers *transfers) {
    if (transfers->ring != NULL) {
        transfers_ring_begin(transfers->ring);
    }
}

unsigned transfers_get_group_max(const struct transfers *transfers) {
    return transfers->ring != NULL ? TRANSFERS_GROUP_MAX : 1;
}

static void transfer_run(struct transfer *transfer) {
    ssize_t result;
    do {
        result = transfer->sends ? send(transfer->fd, transfer->data, transfer->size,
                                        MSG_NOSIGNAL | MSG_DONTWAIT)
                                 : recv(transfer->fd, transfer->data, transfer->size, MSG_DONTWAIT);
    } while (result < 0 && errno == EINTR);
    transfer->result = result < 0 ? -errno : result;
}

void transfers_run(struct transfers *transfers, struct transfer *group, unsigned count) {
    unsigned made = 0;
    if (transfers->ring != NULL && count > 1) {
        made = transfers_ring_run(transfers->ring, group, count);
        if (made < count) {
            log_error("io_uring has failed: %m; the worker continues with epoll");
            transfers_ring_destroy(transfers->ring);
            transfers->ring = NULL;
        }
    }
    for (; made < count; made++) {
        transfer_run(&group[made]);
    }
}
