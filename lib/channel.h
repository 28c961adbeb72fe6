/* The client's side of a connection: sends requests, receives reply lines and values. Each wait has
 * a timeout. Belongs to one client. */
#ifndef STAYD_LIB_CHANNEL_H
#define STAYD_LIB_CHANNEL_H

#include "base/buffer.h"
#include "stayd.h"

#include <stdbool.h>

struct channel {
    int fd;              /* -1: closed; does not block */
    unsigned timeout_ms; /* of each wait: to connect, to send, to receive */
    char name[128];      /* of the server, for messages */
    char error[STAYD_ERROR_MAX];

    /* private: received bytes; those before `taken` have been returned to the caller */
    struct buffer input;
    size_t taken;
    struct buffer output;
};

/* Connects. False with the reason in channel->error; the channel is then closed. */
bool channel_open(struct channel *channel, const char *url, unsigned timeout_ms);

/* Accepts a closed channel. */
void channel_close(struct channel *channel);

/* Sets channel->error to a formatted sentence, and closes the channel. Returns false. */
__attribute__((format(printf, 2, 3))) bool channel_break(struct channel *channel,
                                                         const char *format, ...);

/* These append to the request. If memory is short, the channel breaks and channel_send returns
 * false. */
void channel_put(struct channel *channel, const void *data, size_t size);
void channel_put_string(struct channel *channel, const char *string);
void channel_put_number(struct channel *channel, uint64_t number);

/* Sends the request. Lines and values that were received before are no longer valid. */
bool channel_send(struct channel *channel);

/* Receives a line, and returns it without its line end, terminated by a zero. The line is valid
 * until the next receive. NULL if the channel broke. */
char *channel_receive_line(struct channel *channel);

/* Receives `size` bytes and CR LF. The bytes are valid until the next receive. NULL if the channel
 * broke. */
const char *channel_receive_value(struct channel *channel, size_t size);

#endif
