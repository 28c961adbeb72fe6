/* Serves the connections that are ready: one after the other, or a group at a time.
 *
 *     one      receive, answer, send                two system calls for each connection
 *     group    receive all; answer each; send all   with io_uring, some two system calls for all
 *
 * A group has only connections with usual requests. Other connections (TLS, large requests, replies
 * that wait) are served one by one. */
#include "net/worker.h"

#include <assert.h>
#include <stdlib.h>

enum {
    WORKER_REPLIES_KEPT_BYTES = 1 << 20, /* a larger replies buffer is freed after the batch */
    WORKER_GROUP_KEPT_BYTES = 64 << 10,  /* the same, of one connection of a group */
    WORKER_USUAL_TURNS = 8,
    WORKER_HEAVY_WORK = 2 << 20, /* in bytes, of heavy connections in a batch; the last turn may
                                  * exceed it */
    WORKER_STAGGER_BYTES =
        17 << 6 /* between two inputs, so that they are in different sets of a cache */
};

/* What a connection of a group borrows. Its transfer is the one with the same number. */
struct worker_seat {
    struct connection *connection;
    char *input;           /* loan.input_bytes */
    struct buffer replies; /* to be sent; empty between two groups */
    bool progress;
};

struct worker_group {
    struct transfer transfers[TRANSFERS_GROUP_MAX];
    struct worker_seat seats[TRANSFERS_GROUP_MAX];
    char *inputs; /* of all seats */
};

bool worker_init_group(struct worker *worker) {
    unsigned most = transfers_get_group_max(worker->transfers);
    if (most == 1) {
        return true;
    }
    size_t stride = worker->loan.input_bytes + WORKER_STAGGER_BYTES;
    struct worker_group *group = calloc(1, sizeof *group);
    if (group == NULL) {
        return false;
    }
    worker->group = group;
    group->inputs = malloc(most * stride); /* only pages that are used take memory */
    if (group->inputs == NULL) {
        return false;
    }
    for (unsigned i = 0; i < most; i++) {
        group->seats[i].input = group->inputs + i * stride;
    }
    return true;
}

void worker_finish_group(struct worker *worker) {
    struct worker_group *group = worker->group;
    if (group == NULL) {
        return;
    }
    for (unsigned i = 0; i < TRANSFERS_GROUP_MAX; i++) {
        buffer_finish(&group->seats[i].replies);
    }
    free(group->inputs);
    free(group);
    worker->group = NULL;
}

/* A moving average over some turns, so that one light turn does not make a heavy connection light.
 */
static void worker_note_work(struct connection *connection, uint64_t work_bytes) {
    connection->usual_work -= connection->usual_work / WORKER_USUAL_TURNS;
    uint64_t most = UINT32_MAX / 2;
    connection->usual_work +=
        (uint32_t)((work_bytes < most ? work_bytes : most) / WORKER_USUAL_TURNS);
}

/* Enables or disables the epoll event for a writable socket. */
static bool worker_watch_output(struct worker *worker, struct connection *connection, bool output) {
    if (connection->watches_output == output) {
        return true;
    }
    struct epoll_event event = {worker_wanted_events(output), {.ptr = connection}};
    connection->watches_output = output;
    return epoll_ctl(worker->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) == 0;
}

/* After a turn that ended with `next`: closes the connection, or puts it into the lists for `next`.
 */
static void worker_settle(struct worker *worker, struct connection *connection,
                          enum connection_next next, bool progress) {
    worker_note_large(worker, connection);
    if (next == CONNECTION_END ||
        !worker_watch_output(worker, connection, next == CONNECTION_STALLED)) {
        worker_close(worker, connection, connection->failed ? "error" : "normal");
        return;
    }
    bool is_to_be_woken = connection->proto.watcher != NULL || connection_waits(connection);
    if (!is_to_be_woken) {
        list_remove(&connection->watching);
    } else if (list_is_empty(&connection->watching)) {
        list_append(&worker->watching, &connection->watching);
    }
    worker_note_served(worker, connection);
    worker_set_incoming(connection, connection_get_incoming(connection));
    if (next != CONNECTION_IDLE || worker_get_next(connection) != CONNECTION_IDLE) {
        worker_set_deadline(worker, connection, next, progress);
        worker_set_next(connection, next);
    }
    if (next == CONNECTION_HELD) {
        list_append(&worker->held, &connection->ready);
        return;
    }
    if (next == CONNECTION_PARKED) {
        list_append(&worker->parked, &connection->ready);
        return;
    }
    if (next == CONNECTION_READY || (next == CONNECTION_LINGER && connection->readable)) {
        worker_make_ready(worker, connection);
    }
}

static void worker_serve(struct worker *worker, struct connection *connection) {
    bool progress;
    uint64_t work_before = worker->store.work_bytes;
    enum connection_next next = connection_serve(connection, &worker->loan, &progress);
    worker_note_work(connection, worker->store.work_bytes - work_before);
    worker_settle(worker, connection, next, progress);
}

/* Sends the replies in the seats from number `from` to number `to` - 1. */
static void worker_send_group(struct worker *worker, unsigned from, unsigned to) {
    struct worker_group *group = worker->group;
    struct worker_seat *sending[TRANSFERS_GROUP_MAX];
    struct transfer sends[TRANSFERS_GROUP_MAX];
    unsigned count = 0;
    for (unsigned i = from; i < to; i++) {
        struct worker_seat *seat = &group->seats[i];
        if (seat->replies.size > 0) {
            sending[count] = seat;
            sends[count++] = (struct transfer){.fd = seat->connection->fd,
                                               .sends = true,
                                               .data = seat->replies.data,
                                               .size = seat->replies.size};
        }
    }
    if (count == 0) {
        return;
    }
    transfers_run(worker->transfers, sends, count);
    for (unsigned i = 0; i < count; i++) {
        struct worker_seat *seat = sending[i];
        enum connection_next next = connection_finish_send(
            seat->connection, &worker->loan, &seat->replies, sends[i].result, &seat->progress);
        worker_settle(worker, seat->connection, next, seat->progress);
        if (seat->replies.capacity > WORKER_GROUP_KEPT_BYTES) {
            buffer_finish(&seat->replies);
        }
    }
}

/* Answers what has been received. The replies stay in the seat, or have been sent. */
static void worker_answer_seat(struct worker *worker, unsigned number) {
    struct worker_seat *seat = &worker->group->seats[number];
    struct connection *connection = seat->connection;
    struct connection_loan *loan = &worker->loan;
    char *own_input = loan->input;
    uint64_t work_before = worker->store.work_bytes;
    loan->input = seat->input;
    loan->received = &worker->group->transfers[number];
    loan->may_defer = true;
    enum connection_next next = connection_serve(connection, loan, &seat->progress);
    assert(loan->received == NULL); /* else the received bytes would be lost */
    loan->input = own_input;
    loan->may_defer = false;
    worker_note_work(connection, worker->store.work_bytes - work_before);
    if (next != CONNECTION_SENDING) {
        worker_settle(worker, connection, next, seat->progress);
        return;
    }
    struct buffer replies = seat->replies;
    seat->replies = loan->replies;
    loan->replies = replies;
}

/* Serves `count` connections, which sit in the first seats. Whenever more than WORKER_LIGHT_WORK
 * has been done, sends the replies so far, so that they do not wait for the rest of the group. */
static void worker_serve_group(struct worker *worker, unsigned count) {
    struct worker_group *group = worker->group;
    unsigned sent = 0;
    for (unsigned i = 0; i < count; i++) {
        connection_prepare_receive(group->seats[i].connection, &worker->loan, group->seats[i].input,
                                   &group->transfers[i]);
    }
    transfers_run(worker->transfers, group->transfers, count);
    uint64_t work_before = worker->store.work_bytes;
    for (unsigned i = 0; i < count; i++) {
        worker_answer_seat(worker, i);
        if (worker->store.work_bytes - work_before > WORKER_LIGHT_WORK) {
            worker_send_group(worker, sent, i + 1);
            work_before = worker->store.work_bytes;
            sent = i + 1;
        }
    }
    worker_send_group(worker, sent, count);
}

/* Serves the connections of `list`, each once, in groups. */
static void worker_serve_in_groups(struct worker *worker, struct list *list) {
    unsigned most = transfers_get_group_max(worker->transfers);
    unsigned count = 0;
    struct list turn;
    list_init(&turn);
    list_move_all(&turn, list);
    while (!list_is_empty(&turn)) {
        struct connection *connection = list_entry(turn.next, struct connection, ready);
        list_remove(&connection->ready);
        if (!connection_can_receive_ahead(connection, &worker->loan)) {
            worker_serve(worker, connection);
            continue;
        }
        worker->group->seats[count++].connection = connection;
        if (count == most) {
            worker_serve_group(worker, count);
            count = 0;
        }
    }
    if (count == 1) {
        worker_serve(worker, worker->group->seats[0].connection);
    } else if (count > 1) {
        worker_serve_group(worker, count);
    }
}

/* Serves the connections of `list`, each once, until `work_bytes` of work are done. The remaining
 * connections stay at the head of the list. */
static void worker_serve_list(struct worker *worker, struct list *list, uint64_t work_bytes) {
    uint64_t end_bytes = worker->store.work_bytes + work_bytes;
    struct list turn;
    list_init(&turn);
    list_move_all(&turn, list);
    while (!list_is_empty(&turn) && worker->store.work_bytes < end_bytes) {
        struct connection *connection = list_entry(turn.next, struct connection, ready);
        list_remove(&connection->ready);
        worker_serve(worker, connection);
    }
    list_prepend_all(list, &turn);
}

void worker_serve_ready(struct worker *worker) {
    if (transfers_get_group_max(worker->transfers) > 1) { /* becomes 1 if the ring fails */
        worker_serve_in_groups(worker, &worker->ready);
    } else {
        worker_serve_list(worker, &worker->ready, UINT64_MAX / 2);
    }
    worker_serve_list(worker, &worker->heavy, WORKER_HEAVY_WORK);
    if (worker->loan.replies.capacity > WORKER_REPLIES_KEPT_BYTES) {
        buffer_finish(&worker->loan.replies);
    }
}
