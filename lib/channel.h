/* The client's end of a connection: requests out, reply lines and values in, each wait under a
 * timeout. Belongs to one client. */
#ifndef STAYD_LIB_CHANNEL_H
#define STAYD_LIB_CHANNEL_H

#include "base/buffer.h"
#include "stayd.h"

#include <stdbool.h>

struct channel {
    int fd;              /* -1: closed; does not block */
    unsigned timeout_ms; /* of each wait: to connect, for room to send, for bytes to come */
    char name[128];      /* of the server, for messages */
    char error[STAYD_ERROR_MAX];

    /* private: what has been received; all before `taken` has been handed out */
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

/* Collects a request; memory that is short shows in channel_exchange. */
void channel_put(struct channel *channel, const void *data, size_t size);
void channel_put_string(struct channel *channel, const char *string);
void channel_put_number(struct channel *channel, uint64_t number);

/* Sends what has been collected. What was received before is no longer valid. */
bool channel_send(struct channel *channel);

/* The next line without its end, terminated by a zero; valid until the next receive. NULL if the
 * channel broke. */
char *channel_receive_line(struct channel *channel);

/* The next `size` bytes, valid as above, which must be followed by CR LF. */
const char *channel_receive_value(struct channel *channel, size_t size);

#endif
