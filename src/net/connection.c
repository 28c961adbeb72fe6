#include "net/connection.h"

#include "base/log.h"
#include "net/budget.h"
#include "net/connection_socket.h"
#include "net/tls.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTION_READ_BYTES = 1 << 20 /* of a large request, read at a time */ };

static void connection_release_input(struct connection *connection) {
    if (connection->listener->auth != NULL && connection->input.capacity > 0) {
        /* The input may contain a login that arrived in pieces. */
        explicit_bzero(connection->input.data, connection->input.capacity);
    }
    budget_release(connection->proto.service, PROTO_MEMORY_INPUT, &connection->input);
}

struct connection *connection_create(int fd, const struct listener *listener,
                                     struct tls_session *tls) {
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        return NULL;
    }
    list_init(&connection->all);
    list_init(&connection->ready);
    list_init(&connection->waited);
    list_init(&connection->watching);
    proto_connection_init(&connection->proto, listener->service);
    connection->proto.protocols = (uint8_t)listener->protocols;
    connection->listener = listener;
    connection->fd = fd;
    connection->proto.fd = fd;
    connection->tls = tls;
    connection->end_s = tls != NULL ? tls_get_end_s(tls) : UINT32_MAX;
    connection->readable = tls != NULL; /* the first request may have arrived with the handshake */
    connection->writable = true;
    return connection;
}

int connection_release(struct connection *connection) {
    int fd = connection->fd;
    list_remove(&connection->all);
    list_remove(&connection->ready);
    list_remove(&connection->waited);
    if (connection->check != NULL) {
        auth_abandon(connection->check);
    }
    list_remove(&connection->watching);
    connection_release_input(connection);
    connection_release_output(connection);
    tls_session_destroy(connection->tls);
    proto_connection_finish(&connection->proto);
    free(connection);
    return fd;
}

void connection_destroy(struct connection *connection) {
    if (connection != NULL) {
        close(connection_release(connection));
    }
}

enum connection_input {
    CONNECTION_INPUT_TAKEN,
    CONNECTION_INPUT_REFUSED, /* there is no memory for it */
    CONNECTION_INPUT_BROKEN,
};

/* Reserves memory for `more` bytes of a request. Other connections may be closed for it. */
static bool connection_reserve_input(struct connection *connection, struct connection_loan *loan,
                                     size_t more) {
    while (
        !budget_reserve(connection->proto.service, PROTO_MEMORY_INPUT, &connection->input, more)) {
        if (loan->relieve == NULL || !loan->relieve(loan->relieve_context, connection)) {
            budget_count_refused(connection_memory(connection), PROTO_MEMORY_INPUT);
            return false;
        }
    }
    return true;
}

/* Reads more of a request that is larger than the worker's buffer, into the connection's own
 * buffer. The buffer grows as bytes arrive, not by the announced length: it gets room for at most
 * as many more bytes as have arrived, or for the bytes of a worker's buffer, if that is more. */
static enum connection_input connection_read_own(struct connection *connection,
                                                 struct connection_loan *loan, struct bytes *input,
                                                 size_t *received) {
    struct buffer *own = &connection->input;
    size_t room = connection->input_wanted - own->size;
    size_t more = own->size > loan->input_bytes ? own->size : loan->input_bytes;
    if (more > CONNECTION_READ_BYTES) {
        more = CONNECTION_READ_BYTES;
    }
    if (room > more) {
        room = more;
    }
    if (!connection_reserve_input(connection, loan, room)) {
        return CONNECTION_INPUT_REFUSED;
    }
    if (!connection_receive(connection, loan, own->data + own->size, room, received)) {
        return CONNECTION_INPUT_BROKEN;
    }
    own->size += *received;
    *input = bytes_from(own->data, own->size);
    return CONNECTION_INPUT_TAKEN;
}

/* Reads into the worker's buffer, behind a copy of the connection's input. */
static enum connection_input connection_read_loan(struct connection *connection,
                                                  struct connection_loan *loan, struct bytes *input,
                                                  size_t *received) {
    size_t before = connection->input.size;
    if (before > 0 && loan->received == NULL) {
        memcpy(loan->input, connection->input.data, before);
    }
    if (!connection_receive(connection, loan, loan->input + before, loan->input_bytes - before,
                            received)) {
        return CONNECTION_INPUT_BROKEN;
    }
    *input = bytes_from(loan->input, before + *received);
    return CONNECTION_INPUT_TAKEN;
}

/* Keeps the rest of `input` for the next turn; false if there is no memory. */
static bool connection_keep_input(struct connection *connection, struct connection_loan *loan,
                                  struct bytes input) {
    struct buffer *own = &connection->input;
    if (input.size == 0) {
        connection_release_input(connection);
        return true;
    }
    if (own->data != NULL && input.data >= own->data && input.data < own->data + own->capacity) {
        buffer_consume(own, (size_t)(input.data - own->data));
        return true;
    }
    if (own->capacity > BUDGET_SMALL_BYTES) {
        connection_release_input(connection); /* a large request has ended: free its memory */
    }
    own->size = 0;
    return connection_reserve_input(connection, loan, input.size) &&
           buffer_append(own, input.data, input.size);
}

/* Another thread works for the connection. If the client has disconnected, the connection ends, so
 * that the other thread need not work for it. */
static enum connection_next connection_await(const struct connection *connection,
                                             enum connection_next next) {
    return connection->broken ? CONNECTION_END : next;
}

enum proto_incoming connection_get_incoming(const struct connection *connection) {
    return proto_get_incoming(&connection->proto,
                              bytes_from(connection->input.data, connection->input.size));
}

bool connection_waits(const struct connection *connection) {
    return proto_waits(&connection->proto) && !connection->closing;
}

bool connection_may_send(const struct connection *connection) {
    return pool_check_ticket(connection->proto.pool, connection->ticket) != STATUS_PENDING;
}

bool connection_needs_room(const struct connection *connection) {
    return proto_needs_room(&connection->proto) && !connection->closing;
}

bool connection_may_have_room(const struct connection *connection) {
    return pool_should_retry(connection->proto.pool, connection->room_turn);
}

void connection_refuse_room(struct connection *connection) {
    connection->proto.refuses_room = true;
}

/* The result of connection_serve when nothing is left to do in this turn. */
static enum connection_next connection_get_next(struct connection *connection) {
    if (connection_has_output(connection) || connection->read_waits_to_write) {
        return CONNECTION_STALLED;
    }
    if (connection->check != NULL) {
        return connection_await(connection, CONNECTION_LOGIN_PENDING);
    }
    if (connection_waits(connection) && !connection->woken) {
        return connection_await(connection, CONNECTION_WAITS);
    }
    if (connection_needs_room(connection) && !connection->proto.refuses_room &&
        !connection_may_have_room(connection)) {
        return CONNECTION_PARKED;
    }
    if (!connection->closing) {
        if (connection->input_runnable || connection->readable) {
            return CONNECTION_READY;
        }
        return connection->input.capacity > BUDGET_SMALL_BYTES ? CONNECTION_PARTIAL
                                                               : CONNECTION_IDLE;
    }
    if (connection->input_ended || connection->quitting) {
        return CONNECTION_END;
    }
    /* If the socket were closed while bytes arrive, the kernel would reset the connection, and the
     * last replies would be lost. The bytes that still arrive are not used, so they are not
     * decrypted. */
    if (connection->tls != NULL) {
        tls_session_destroy(connection->tls);
        connection->tls = NULL;
        connection->readable = true;
    }
    shutdown(connection->fd, SHUT_WR);
    connection_release_input(connection);
    connection->draining = true;
    return CONNECTION_LINGER;
}

static enum connection_next connection_drain(struct connection *connection,
                                             struct connection_loan *loan) {
    size_t received;
    if (!connection_receive(connection, loan, loan->input, loan->input_bytes, &received) ||
        connection->input_ended) {
        return CONNECTION_END;
    }
    return CONNECTION_LINGER;
}

/* Holds the replies back if they acknowledge writes that are not on the disk yet. False if memory
 * is short: the connection ends without sending them, as if the daemon had been killed. */
static bool connection_hold_replies(struct connection *connection, struct connection_loan *loan) {
    connection->ticket = pool_take_ticket(connection->proto.pool, loan->store);
    if (connection->ticket == 0) {
        return true;
    }
    struct buffer *replies = &loan->replies;
    if (!connection_add_output(connection, replies->data, replies->size)) {
        return false;
    }
    replies->size = 0;
    return true;
}

/* Whether the writes that the output acknowledges are on the disk. */
static enum connection_next connection_check_ticket(struct connection *connection) {
    switch (pool_check_ticket(connection->proto.pool, connection->ticket)) {
    case STATUS_OK:
        connection->ticket = 0;
        return CONNECTION_STALLED; /* the output may be sent */
    case STATUS_PENDING:
        return CONNECTION_HELD;
    default:
        log_warning("closing a connection: its last writes could not be written to the disk, and "
                    "are not acknowledged");
        return CONNECTION_END;
    }
}

/* There is no memory for the request that the client has begun to send. As memcached does, sends an
 * error behind the replies to all complete requests, and closes the connection. */
static enum connection_next connection_refuse_input(struct connection *connection,
                                                    struct connection_loan *loan, bool *progress) {
    if (budget_may_warn(connection_memory(connection))) {
        log_warning("closing connections: no memory for the %zu bytes of a request; raise "
                    "connection_memory in [server], or look for clients that do not complete "
                    "their requests",
                    connection->input_wanted);
    }
    connection_release_input(connection);
    connection->input_runnable = false;
    connection->closing = true;
    struct buffer *replies = &loan->replies;
    if (!proto_refuse_input(&connection->proto, replies)) {
        return CONNECTION_END;
    }
    if (connection_has_output(connection) ||
        connection->ticket != 0) { /* keeps the order of replies */
        bool added = connection_add_output(connection, replies->data, replies->size);
        replies->size = 0;
        if (!added) {
            return CONNECTION_END;
        }
    } else if (!connection_send_replies(connection, loan, progress)) {
        return CONNECTION_END;
    }
    return connection->ticket != 0 ? connection_check_ticket(connection)
                                   : connection_get_next(connection);
}

/* Answers the login that the verdict belongs to. */
static enum proto_next connection_finish_login(struct connection *connection,
                                               struct connection_loan *loan,
                                               enum auth_verdict verdict) {
    bool admitted = verdict == AUTH_ADMITTED;
    connection->verdict = AUTH_NONE;
    if (!proto_finish_login(&connection->proto, loan->store, admitted, &loan->replies)) {
        return PROTO_CLOSE;
    }
    return verdict == AUTH_NOT_CHECKED ? PROTO_CLOSE : PROTO_FLUSH;
}

/* A login has been read. PROTO_LOGIN: the verdict is pending. */
static enum proto_next connection_begin_login(struct connection *connection,
                                              struct connection_loan *loan) {
    struct proto_login login = connection->proto.login;
    enum auth_verdict verdict =
        auth_begin(connection->listener->auth, connection->fd, login.user, login.password,
                   loan->mailbox, connection, &connection->check);
    /* The buffer with the password will be used for other connections. */
    explicit_bzero((char *)login.password.data, login.password.size);
    return verdict == AUTH_NONE ? PROTO_LOGIN : connection_finish_login(connection, loan, verdict);
}

void connection_take_verdict(struct connection *connection, enum auth_verdict verdict) {
    connection->check = NULL; /* auth has freed it */
    connection->verdict = verdict;
}

/* One step of connection_answer. Advances `input` past the bytes that were consumed. */
static enum proto_next connection_process(struct connection *connection,
                                          struct connection_loan *loan, struct bytes *input,
                                          bool *advanced) {
    if (connection->verdict != AUTH_NONE) {
        return connection_finish_login(connection, loan, connection->verdict);
    }
    size_t consumed = 0;
    enum proto_next next = proto_process(&connection->proto, loan->store, *input, &consumed,
                                         &connection->input_wanted, &loan->replies);
    assert(consumed <= input->size);
    if (next == PROTO_NEEDS_ROOM) {
        connection->room_turn = loan->store->room_turn;
    }
    *advanced = *advanced || consumed > 0;
    *input = bytes_from(input->data + consumed, input->size - consumed);
    return next == PROTO_LOGIN ? connection_begin_login(connection, loan) : next;
}

/* Whether the worker may send the replies later in its batch, in one system call with the replies
 * of other connections: the turn ends here, and the replies are plain bytes that wait for no sync.
 */
static bool connection_may_defer(const struct connection *connection,
                                 const struct connection_loan *loan, enum proto_next next) {
    return loan->may_defer && next == PROTO_READ && connection->ticket == 0 &&
           connection->tls == NULL && connection->proto.handed_count == 0 &&
           loan->replies.size > 0 && loan->replies.size <= CONNECTION_DEFERRED_MAX;
}

/* Answers the complete requests in `input`, until there is much to send or the turn is over. */
static enum connection_next connection_answer(struct connection *connection,
                                              struct connection_loan *loan, struct bytes input,
                                              bool *progress) {
    enum proto_next next;
    struct store_thread *store = loan->store;
    bool advanced = false;
    bool defers = false;
    connection->proto.turn_work = store->work_bytes + CONNECTION_TURN_WORK;
    connection->proto.turn_left = connection->proto.service->server->limits.requests_per_turn;
    do {
        next = connection_process(connection, loan, &input, &advanced);
        store_thread_charge(store, loan->replies.size);
        if (!connection_hold_replies(connection, loan)) {
            return CONNECTION_END;
        }
        defers = connection_may_defer(connection, loan, next);
        if (!defers && !connection_send_replies(connection, loan, progress)) {
            return CONNECTION_END;
        }
    } while (next == PROTO_FLUSH && connection->ticket == 0 && !connection_has_output(connection) &&
             store->work_bytes < connection->proto.turn_work && connection->proto.turn_left > 0);

    connection->input_runnable = next == PROTO_FLUSH || next == PROTO_LOGIN ||
                                 next == PROTO_NEEDS_ROOM || next == PROTO_WAITS;
    *progress = *progress || advanced;
    connection->quitting = next == PROTO_QUIT || next == PROTO_ABORT;
    connection->closing = next == PROTO_CLOSE || connection->quitting;
    connection->failed |= next == PROTO_ABORT;
    loan->yields += next == PROTO_FLUSH && (connection->proto.turn_left == 0 ||
                                            store->work_bytes >= connection->proto.turn_work);
    if (!connection_keep_input(connection, loan, input)) {
        if (defers && !connection_send_replies(connection, loan, progress)) {
            return CONNECTION_END;
        }
        return connection_refuse_input(connection, loan, progress);
    }
    if (defers && connection->input.capacity <= BUDGET_SMALL_BYTES) {
        return CONNECTION_SENDING;
    }
    if (defers && !connection_send_replies(connection, loan, progress)) {
        return CONNECTION_END;
    }
    return connection->ticket != 0 ? connection_check_ticket(connection)
                                   : connection_get_next(connection);
}

enum connection_next connection_finish_send(struct connection *connection,
                                            struct connection_loan *loan, struct buffer *replies,
                                            ssize_t result, bool *progress) {
    if (!connection_note_replies_sent(connection, loan, replies, result, progress)) {
        return CONNECTION_END;
    }
    return connection_get_next(connection);
}

/* Whether the next bytes must be read into the connection's own buffer (connection_read_own). */
static bool connection_reads_large(const struct connection *connection, size_t loan_bytes) {
    return connection->input.size > 0 && connection->input_wanted > loan_bytes / 2;
}

bool connection_can_receive_ahead(const struct connection *connection,
                                  const struct connection_loan *loan) {
    return connection->tls == NULL && connection->readable && !connection->closing &&
           !connection->woken && !connection->input_runnable && connection->ticket == 0 &&
           connection->check == NULL && !connection_has_output(connection) &&
           connection->input.capacity <= BUDGET_SMALL_BYTES && !connection_waits(connection) &&
           !connection_reads_large(connection, loan->input_bytes) &&
           connection->end_s > loan->store->now_s;
}

void connection_prepare_receive(const struct connection *connection,
                                const struct connection_loan *loan, char *data,
                                struct transfer *transfer) {
    size_t before = connection->input.size;
    if (before > 0) {
        memcpy(data, connection->input.data, before);
    }
    *transfer = (struct transfer){
        .fd = connection->fd, .data = data + before, .size = loan->input_bytes - before};
}

/* Reads once, and answers if a request may be complete now. */
static enum connection_next connection_read(struct connection *connection,
                                            struct connection_loan *loan, bool *progress) {
    struct bytes input;
    size_t received;
    bool is_large = connection_reads_large(connection, loan->input_bytes);
    switch (is_large ? connection_read_own(connection, loan, &input, &received)
                     : connection_read_loan(connection, loan, &input, &received)) {
    case CONNECTION_INPUT_TAKEN:
        break;
    case CONNECTION_INPUT_REFUSED:
        return connection_refuse_input(connection, loan, progress);
    case CONNECTION_INPUT_BROKEN:
        connection->failed = true;
        return CONNECTION_END;
    }
    *progress = *progress || received > 0;
    if (received > 0 && (connection->input.size == 0 || input.size >= connection->input_wanted)) {
        return connection_answer(connection, loan, input, progress);
    }
    if (received > 0 && !connection_keep_input(connection, loan, input)) {
        return connection_refuse_input(connection, loan, progress);
    }
    connection->closing = connection->input_ended; /* the rest of a request cannot arrive now */
    return connection_get_next(connection);
}

enum connection_next connection_serve(struct connection *connection, struct connection_loan *loan,
                                      bool *progress) {
    *progress = false;
    if (connection->end_s <= loan->store->now_s) {
        return CONNECTION_END;
    }
    if (connection->tls != NULL) {
        connection_resume_tls(connection);
    }
    if (connection->ticket != 0) {
        enum connection_next next = connection_check_ticket(connection);
        if (next != CONNECTION_STALLED) {
            return next;
        }
        connection->writable = true; /* as before the wait: nothing has been sent since */
        if (!connection_has_output(connection)) { /* all requests were noreply */
            return connection_get_next(connection);
        }
    }
    if (connection_has_output(connection)) {
        if (connection->writable && !connection_send_output(connection, loan, progress)) {
            return CONNECTION_END;
        }
        if (connection_has_output(connection) || connection->closing) {
            return connection_get_next(connection);
        }
    }
    if (connection->check != NULL) {
        return connection_await(connection, CONNECTION_LOGIN_PENDING);
    }
    if (connection_waits(connection)) {
        if (!connection->woken) {
            return connection_await(connection, CONNECTION_WAITS);
        }
        connection->woken = false; /* the input is runnable */
    }
    if (connection->input_runnable) {
        const struct buffer *own = &connection->input;
        struct bytes input = bytes_from(own->size > 0 ? own->data : "", own->size);
        return connection_answer(connection, loan, input, progress);
    }
    if (connection->woken) {
        connection->woken = false;
        return connection_answer(connection, loan, bytes_from("", 0), progress);
    }
    if (connection->draining) {
        return connection->readable ? connection_drain(connection, loan) : CONNECTION_LINGER;
    }
    if (!connection->readable || connection->closing) {
        return connection_get_next(connection);
    }
    return connection_read(connection, loan, progress);
}
