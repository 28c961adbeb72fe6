/* Moves the bytes of a connection between its socket (plain, or TLS) and buffers. */
#include "net/connection_socket.h"

#include "base/log.h"
#include "net/budget.h"
#include "net/handing.h"
#include "net/tls.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>

void connection_release_output(struct connection *connection) {
    budget_release(connection->proto.service, PROTO_MEMORY_OUTPUT, &connection->output);
    connection->output_sent = 0;
}

bool connection_add_output(struct connection *connection, const char *data, size_t size) {
    if (budget_append(connection->proto.service, PROTO_MEMORY_OUTPUT, &connection->output, data,
                      size)) {
        return true;
    }
    budget_count_refused(connection_memory(connection), PROTO_MEMORY_OUTPUT);
    if (budget_may_warn(connection_memory(connection))) {
        log_warning("closing connections: no memory for %zu bytes of replies that wait for their "
                    "client or for the disk; raise connection_memory in [server], unless the "
                    "client reads too slowly",
                    size);
    }
    return false;
}

static bool connection_send_tls(struct connection *connection, struct connection_loan *loan,
                                const char *data, size_t size, size_t *sent) {
    enum tls_result result = tls_write(connection->tls, data, size, sent);
    loan->bytes_written += *sent;
    connection->writable = result == TLS_DONE;
    connection->write_waits_to_read = result == TLS_WANTS_INPUT;
    return result != TLS_BROKEN && result != TLS_ENDED;
}

/* Notes what a send of `size` bytes returned, in `result`: bytes, or a negative error number. False
 * if the connection is broken. */
static bool connection_note_sent(struct connection *connection, struct connection_loan *loan,
                                 size_t size, ssize_t result, size_t *sent) {
    *sent = 0;
    if (result < 0) {
        connection->writable = false;
        return result == -EAGAIN || result == -ENOBUFS;
    }
    *sent = (size_t)result;
    loan->bytes_written += *sent;
    connection->writable = *sent == size;
    return true;
}

/* Sends as much as the socket accepts. False if the connection is broken. */
static bool connection_send(struct connection *connection, struct connection_loan *loan,
                            const char *data, size_t size, size_t *sent) {
    if (connection->tls != NULL) {
        return connection_send_tls(connection, loan, data, size, sent);
    }
    ssize_t result;
    do {
        result = connection->proto.handed_count > 0
                     ? handing_send(connection->fd, &connection->proto, data, size)
                     : send(connection->fd, data, size, MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    return connection_note_sent(connection, loan, size, result < 0 ? -errno : result, sent);
}

bool connection_send_output(struct connection *connection, struct connection_loan *loan,
                            bool *progress) {
    struct buffer *output = &connection->output;
    size_t sent;
    if (!connection_send(connection, loan, output->data + connection->output_sent,
                         output->size - connection->output_sent, &sent)) {
        return false;
    }
    store_thread_charge(loan->store, sent);
    *progress = *progress || sent > 0;
    connection->output_sent += sent;
    if (connection->output_sent == output->size) {
        connection_release_output(connection);
    }
    return true;
}

/* Called after the replies were sent: the bytes that the socket has not accepted become the
 * connection's output. */
static bool connection_keep_replies(struct connection *connection, struct buffer *replies,
                                    size_t sent) {
    bool whole = sent == replies->size ||
                 connection_add_output(connection, replies->data + sent, replies->size - sent);
    replies->size = 0;
    return whole;
}

bool connection_send_replies(struct connection *connection, struct connection_loan *loan,
                             bool *progress) {
    struct buffer *replies = &loan->replies;
    size_t sent = 0;
    if (replies->size > 0 &&
        !connection_send(connection, loan, replies->data, replies->size, &sent)) {
        replies->size = 0;
        return false;
    }
    *progress = *progress || sent > 0;
    return connection_keep_replies(connection, replies, sent);
}

bool connection_note_replies_sent(struct connection *connection, struct connection_loan *loan,
                                  struct buffer *replies, ssize_t result, bool *progress) {
    size_t sent;
    if (result == -EINTR) {
        result = 0; /* nothing was sent: epoll reports the writable socket again */
    }
    if (!connection_note_sent(connection, loan, replies->size, result, &sent)) {
        replies->size = 0;
        return false;
    }
    *progress = *progress || sent > 0;
    return connection_keep_replies(connection, replies, sent);
}

/* OpenSSL may hold bytes that epoll does not report again, so the connection stays readable until
 * tls_read finds none. */
static bool connection_receive_tls(struct connection *connection, struct connection_loan *loan,
                                   char *data, size_t room, size_t *received) {
    enum tls_result result = tls_read(connection->tls, data, room, received);
    loan->bytes_read += *received;
    connection->received_bytes += (uint32_t)*received;
    store_thread_charge(loan->store, *received);
    connection->readable = result == TLS_DONE;
    connection->input_ended |= result == TLS_ENDED;
    connection->read_waits_to_write = result == TLS_WANTS_OUTPUT;
    connection->writable &= result != TLS_WANTS_OUTPUT;
    return result != TLS_BROKEN;
}

/* Returns bytes, or a negative error number. */
static ssize_t connection_receive_plain(struct connection *connection, struct connection_loan *loan,
                                        char *data, size_t room) {
    if (loan->received != NULL) {
        assert(data == loan->received->data && room == loan->received->size);
        ssize_t result = loan->received->result;
        loan->received = NULL;
        if (result != -EINTR) {
            return result;
        }
    }
    ssize_t result;
    do {
        result = recv(connection->fd, data, room, 0);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

bool connection_receive(struct connection *connection, struct connection_loan *loan, char *data,
                        size_t room, size_t *received) {
    if (connection->tls != NULL) {
        return connection_receive_tls(connection, loan, data, room, received);
    }
    *received = 0;
    ssize_t result = connection_receive_plain(connection, loan, data, room);
    if (result < 0) {
        connection->readable = false;
        return result == -EAGAIN;
    }
    if (result == 0) {
        connection->input_ended = true;
        connection->readable = false;
        return true;
    }
    *received = (size_t)result;
    loan->bytes_read += *received;
    connection->received_bytes += (uint32_t)*received;
    store_thread_charge(loan->store, *received);
    /* A short read has taken all bytes, and epoll will report later bytes. But epoll reports the
     * end of the stream only once, so after that the connection stays readable. */
    connection->readable = *received == room || connection->input_ending;
    return true;
}

void connection_resume_tls(struct connection *connection) {
    if (connection->read_waits_to_write && connection->writable) {
        connection->read_waits_to_write = false;
        connection->readable = true;
    }
    if (connection->write_waits_to_read && connection->readable) {
        connection->write_waits_to_read = false;
        connection->writable = true;
    }
}
