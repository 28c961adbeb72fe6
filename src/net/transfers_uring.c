#include "net/transfers_uring.h"

#include <errno.h>
#include <stdio.h>

#ifdef LIBURING_VERSION

#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct transfers_ring {
    struct io_uring ring;
};

static bool ring_is_missing(const struct io_uring_probe *probe) {
    /* A kernel that has SENDMSG_ZC is Linux 6.1 or later. io_uring with MSG_DONTWAIT is untested on
     * earlier kernels, so it is not used there. */
    return !io_uring_opcode_supported(probe, IORING_OP_RECV) ||
           !io_uring_opcode_supported(probe, IORING_OP_SEND) ||
           !io_uring_opcode_supported(probe, IORING_OP_SENDMSG_ZC);
}

bool transfers_ring_probe(char error[TRANSFERS_ERROR_MAX]) {
    struct io_uring ring;
    int result = io_uring_queue_init(TRANSFERS_GROUP_MAX, &ring, 0);
    if (result < 0) {
        snprintf(error, TRANSFERS_ERROR_MAX, "the kernel, or the container, refuses it: %s",
                 strerror(-result));
        return false;
    }
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring);
    bool is_missing = probe == NULL || ring_is_missing(probe);
    io_uring_free_probe(probe);
    io_uring_queue_exit(&ring);
    if (is_missing) {
        snprintf(error, TRANSFERS_ERROR_MAX, "the kernel is older than 6.1");
    }
    return !is_missing;
}

const char *transfers_ring_liburing(void) {
    return LIBURING_VERSION;
}

struct transfers_ring *transfers_ring_create(void) {
    struct transfers_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        return NULL;
    }
    /* No SQPOLL: its thread would spin, and all transfers end within the call that begins them. */
    int result = io_uring_queue_init(TRANSFERS_GROUP_MAX, &ring->ring, IORING_SETUP_SUBMIT_ALL);
    if (result < 0) {
        free(ring);
        errno = -result;
        return NULL;
    }
    return ring;
}

void transfers_ring_destroy(struct transfers_ring *ring) {
    if (ring != NULL) {
        io_uring_queue_exit(&ring->ring);
        free(ring);
    }
}

void transfers_ring_begin(struct transfers_ring *ring) {
    /* Saves a look-up of the ring's descriptor in each call. Without it the ring works too. */
    int ignored = io_uring_register_ring_fd(&ring->ring);
    (void)ignored;
}

static void ring_prepare(struct transfers_ring *ring, struct transfer *transfer) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->ring); /* not NULL: the queue is empty
                                                                 * between two groups */
    if (transfer->sends) {
        io_uring_prep_send(entry, transfer->fd, transfer->data, transfer->size,
                           MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
        io_uring_prep_recv(entry, transfer->fd, transfer->data, transfer->size, MSG_DONTWAIT);
    }
    io_uring_sqe_set_data(entry, transfer);
}

/* Takes the results that are there; returns how many. */
static unsigned ring_take_results(struct transfers_ring *ring) {
    struct io_uring_cqe *entry;
    unsigned head;
    unsigned count = 0;
    io_uring_for_each_cqe(&ring->ring, head, entry) {
        struct transfer *transfer = io_uring_cqe_get_data(entry);
        transfer->result = entry->res;
        count++;
    }
    io_uring_cq_advance(&ring->ring, count);
    return count;
}

unsigned transfers_ring_run(struct transfers_ring *ring, struct transfer *group, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        ring_prepare(ring, &group[i]);
    }
    unsigned submitted = 0;
    unsigned ended = 0;
    while (ended < count) {
        int result = io_uring_submit_and_wait(&ring->ring, count - ended);
        ended += ring_take_results(ring);
        if (result > 0) {
            submitted += (unsigned)result;
        } else if (result < 0 && result != -EINTR && ended == submitted) {
            errno = -result;
            return ended;
        }
    }
    return count;
}

#else

bool transfers_ring_probe(char error[TRANSFERS_ERROR_MAX]) {
    snprintf(error, TRANSFERS_ERROR_MAX, "this stayd was built without liburing");
    return false;
}

const char *transfers_ring_liburing(void) {
    return NULL;
}

struct transfers_ring *transfers_ring_create(void) {
    errno = ENOSYS;
    return NULL;
}

void transfers_ring_destroy(struct transfers_ring *ring) {
    (void)ring;
}

void transfers_ring_begin(struct transfers_ring *ring) {
    (void)ring;
}

unsigned transfers_ring_run(struct transfers_ring *ring, struct transfer *group, unsigned count) {
    (void)ring;
    (void)group;
    (void)count;
    return 0;
}

#endif
