#include "channel.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    CHANNEL_READ_BYTES = 16 << 10,
    CHANNEL_LINE_MAX = 64 << 10,
    CHANNEL_HOST_MAX = 128,
    CHANNEL_QUEUE_PAUSE_NS = 1000000
};

bool channel_break(struct channel *channel, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(channel->error, sizeof channel->error, format, arguments);
    va_end(arguments);
    channel_close(channel);
    return false;
}

static bool channel_fail(struct channel *channel, const char *what) {
    const char *reason = errno == ETIMEDOUT ? "timed out" : strerror(errno);
    return channel_break(channel, "cannot %s %s: %s", what, channel->name, reason);
}

void channel_close(struct channel *channel) {
    if (channel->fd >= 0) {
        close(channel->fd);
    }
    channel->fd = -1;
    buffer_finish(&channel->input);
    buffer_finish(&channel->output);
    channel->taken = 0;
}

/* Waits until the socket is ready for `events`, at most until the deadline: signals do not extend
 * the wait. False with errno set; ETIMEDOUT if the deadline has passed. */
static bool channel_wait(int fd, short events, uint64_t deadline_ms) {
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
        struct pollfd ready = {.fd = fd, .events = events};
        int count = poll(&ready, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX);
        if (count > 0) {
            return true;
        }
        if (count == 0 && left_ms <= INT_MAX) {
            errno = ETIMEDOUT;
            return false;
        }
        if (count < 0 && errno != EINTR) {
            return false;
        }
    }
}

/* Retries while the server's queue of connections is full: connect() on a Unix socket then fails at
 * once with EAGAIN, and no event says when there is room. */
static bool channel_connect_unix(int fd, const struct sockaddr *address, socklen_t size,
                                 uint64_t deadline_ms) {
    const struct timespec pause = {.tv_nsec = CHANNEL_QUEUE_PAUSE_NS};
    while (connect(fd, address, size) != 0) {
        if (errno != EAGAIN && errno != EINTR) {
            return false;
        }
        if (clock_monotonic_ms() >= deadline_ms) {
            errno = ETIMEDOUT;
            return false;
        }
        nanosleep(&pause, NULL);
    }
    return true;
}

/* A connect that a signal interrupts continues in the background; the socket becomes writable when
 * it has ended. */
static bool channel_connect_tcp(int fd, const struct sockaddr *address, socklen_t size,
                                uint64_t deadline_ms) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, address, size) == 0) {
        return true;
    }
    if ((errno != EINPROGRESS && errno != EINTR) || !channel_wait(fd, POLLOUT, deadline_ms)) {
        return false;
    }
    int error_number = 0;
    socklen_t length = sizeof error_number;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error_number, &length) != 0) {
        return false;
    }
    errno = error_number;
    return error_number == 0;
}

/* False with errno set. */
static bool channel_connect(struct channel *channel, const struct sockaddr *address,
                            socklen_t size) {
    uint64_t deadline_ms = clock_monotonic_ms() + channel->timeout_ms;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    bool connected = address->sa_family == AF_UNIX
                         ? channel_connect_unix(fd, address, size, deadline_ms)
                         : channel_connect_tcp(fd, address, size, deadline_ms);
    if (!connected) {
        int error_number = errno;
        close(fd);
        errno = error_number;
        return false;
    }
    channel->fd = fd;
    return true;
}

static bool channel_open_unix(struct channel *channel, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return channel_break(channel, "cannot connect to %s: the path is too long", channel->name);
    }
    strcpy(address.sun_path, path);
    return channel_connect(channel, (const struct sockaddr *)&address, sizeof address) ||
           channel_fail(channel, "connect to");
}

static bool channel_open_tcp(struct channel *channel, const char *host, const char *port) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    int result = getaddrinfo(host, port, &hints, &found);
    if (result != 0) {
        return channel_break(channel, "cannot connect to %s: %s", channel->name,
                             gai_strerror(result));
    }
    bool connected = false;
    for (struct addrinfo *each = found; each != NULL && !connected; each = each->ai_next) {
        connected = channel_connect(channel, each->ai_addr, each->ai_addrlen);
    }
    int error_number = errno;
    freeaddrinfo(found);
    errno = error_number;
    return connected || channel_fail(channel, "connect to");
}

/* The rest of the URL behind `scheme`; NULL if the URL does not begin with it. */
static const char *channel_after(const char *url, const char *scheme) {
    size_t length = strlen(scheme);
    return strncmp(url, scheme, length) == 0 ? url + length : NULL;
}

bool channel_open(struct channel *channel, const char *url, unsigned timeout_ms) {
    *channel = (struct channel){.fd = -1, .timeout_ms = timeout_ms};
    snprintf(channel->name, sizeof channel->name, "%s", url);
    const char *path = channel_after(url, "unix://");
    path = path != NULL ? path : channel_after(url, "unix:");
    if (path != NULL) {
        return channel_open_unix(channel, path);
    }
    const char *place = channel_after(url, "memcached://");
    place = place != NULL ? place : url;
    char host[CHANNEL_HOST_MAX];
    size_t length = strcspn(place, "/");
    if (length >= sizeof host || (place[length] == '/' && place[length + 1] != '\0')) {
        length = 0;
    }
    memcpy(host, place, length);
    host[length] = '\0';
    char *colon = strrchr(host, ':');
    if (colon == NULL || colon == host || colon[1] == '\0') {
        return channel_break(channel,
                             "'%s' is not a server address; write memcached://HOST:PORT/ or "
                             "unix:///PATH",
                             channel->name);
    }
    *colon = '\0';
    bool bracketed = host[0] == '[' && colon[-1] == ']';
    if (bracketed) {
        colon[-1] = '\0';
    }
    return channel_open_tcp(channel, host + bracketed, colon + 1);
}

/* If memory is short the channel breaks: an incomplete request must not be sent. */
void channel_put(struct channel *channel, const void *data, size_t size) {
    if (channel->fd >= 0 && !buffer_append(&channel->output, data, size)) {
        channel_break(channel, "cannot send %zu bytes: no memory", size);
    }
}

void channel_put_string(struct channel *channel, const char *string) {
    channel_put(channel, string, strlen(string));
}

void channel_put_number(struct channel *channel, uint64_t number) {
    char digits[24];
    channel_put(channel, digits,
                (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)number));
}

bool channel_send(struct channel *channel) {
    if (channel->fd < 0) {
        return false;
    }
    channel->input.size = 0;
    channel->taken = 0;
    size_t sent = 0;
    uint64_t deadline_ms = clock_monotonic_ms() + channel->timeout_ms;
    while (sent < channel->output.size) {
        ssize_t result = send(channel->fd, channel->output.data + sent, channel->output.size - sent,
                              MSG_NOSIGNAL);
        if (result >= 0) {
            sent += (size_t)result;
            deadline_ms = clock_monotonic_ms() + channel->timeout_ms;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            break; /* the server has closed: its last reply, or the end, can still be received */
        } else if (errno == EAGAIN && !channel_wait(channel->fd, POLLOUT, deadline_ms)) {
            return channel_fail(channel, "send to");
        } else if (errno != EAGAIN && errno != EINTR) {
            return channel_fail(channel, "send to");
        }
    }
    channel->output.size = 0;
    return true;
}

static bool channel_receive(struct channel *channel) {
    struct buffer *input = &channel->input;
    if (channel->fd < 0) {
        return false;
    }
    if (!buffer_reserve(input, CHANNEL_READ_BYTES)) {
        return channel_break(channel, "cannot receive from %s: no memory", channel->name);
    }
    uint64_t deadline_ms = clock_monotonic_ms() + channel->timeout_ms;
    ssize_t result;
    do {
        result = recv(channel->fd, input->data + input->size, input->capacity - input->size, 0);
        if (result < 0 && errno == EAGAIN && channel_wait(channel->fd, POLLIN, deadline_ms)) {
            errno = EINTR; /* data has arrived: receive again */
        }
    } while (result < 0 && errno == EINTR);
    if (result == 0) {
        return channel_break(channel, "%s has closed the connection", channel->name);
    }
    if (result < 0) {
        return channel_fail(channel, "receive from");
    }
    input->size += (size_t)result;
    return true;
}

char *channel_receive_line(struct channel *channel) {
    for (;;) {
        size_t length = channel->input.size - channel->taken;
        char *line = channel->input.data + channel->taken;
        char *end = length > 0 ? memchr(line, '\n', length) : NULL;
        if (end != NULL) {
            channel->taken += (size_t)(end - line) + 1;
            *end = '\0';
            if (end > line && end[-1] == '\r') {
                end[-1] = '\0';
            }
            return line;
        }
        if (length > CHANNEL_LINE_MAX) {
            channel_break(channel,
                          "%s is not a memcached server: it sent a line of more than 64 KiB",
                          channel->name);
        }
        if (!channel_receive(channel)) {
            return NULL;
        }
    }
}

const char *channel_receive_value(struct channel *channel, size_t size) {
    while (channel->input.size - channel->taken < size + 2) {
        if (!channel_receive(channel)) {
            return NULL;
        }
    }
    const char *value = channel->input.data + channel->taken;
    if (memcmp(value + size, "\r\n", 2) != 0) {
        channel_break(channel, "%s sent a value whose length does not match its header",
                      channel->name);
        return NULL;
    }
    channel->taken += size + 2;
    return value;
}
