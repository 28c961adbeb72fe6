/* Moves the bytes of a connection between its socket and buffers. `progress` is set if bytes were
 * sent. For connection.c only. */
#ifndef STAYD_NET_CONNECTION_SOCKET_H
#define STAYD_NET_CONNECTION_SOCKET_H

#include "net/connection.h"

static inline struct proto_memory *connection_memory(const struct connection *connection) {
    return &connection->proto.service->server->limits.memory;
}

static inline bool connection_has_output(const struct connection *connection) {
    return connection->output.size > 0;
}

void connection_release_output(struct connection *connection);

/* Appends to the output. False, with a line in the log, if there is no memory. */
bool connection_add_output(struct connection *connection, const char *data, size_t size);

/* Sends as much of the output as the socket accepts. Frees the output when all of it is sent. False
 * if the connection is broken. */
bool connection_send_output(struct connection *connection, struct connection_loan *loan,
                            bool *progress);

/* Sends the worker's replies. What the socket does not accept becomes the connection's output.
 * False if the connection is broken, or if there is no memory. */
bool connection_send_replies(struct connection *connection, struct connection_loan *loan,
                             bool *progress);

/* The same, after the worker has sent `replies` with this result (transfers.h). */
bool connection_note_replies_sent(struct connection *connection, struct connection_loan *loan,
                                  struct buffer *replies, ssize_t result, bool *progress);

/* Reads once, or takes what the worker has received already. False if the connection is broken. */
bool connection_receive(struct connection *connection, struct connection_loan *loan, char *data,
                        size_t room, size_t *received);

/* If TLS waited for the socket, and the socket is now readable or writable, lets TLS continue. */
void connection_resume_tls(struct connection *connection);

#endif
