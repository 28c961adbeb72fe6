#include "channel.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    CHANNEL_READ_BYTES = 16 << 10,
    CHANNEL_LINE_MAX = 64 << 10,
    CHANNEL_KEPT_BYTES = 64 << 10, /* a larger buffer is freed after its request */
    CHANNEL_CLOCK_MS = 8,          /* clock_monotonic_ms may be late by this much */
    CHANNEL_LATE_MAX = 8 << 20, /* the most that is read after the deadline (channel_is_in_time) */
    CHANNEL_QUEUE_PAUSE_MS = 1,
    CHANNEL_QUEUE_PAUSE_MAX_MS = 16
};

void channel_init(struct channel *channel, int (*interrupted)(void *user), void *interrupted_user) {
    *channel = (struct channel){
        .fd = -1, .interrupted = interrupted, .interrupted_user = interrupted_user};
}

/* Returns false. */
static bool channel_fail(struct channel *channel, enum channel_fault fault, int system_error) {
    if (channel->fault == CHANNEL_WELL) {
        const char *more = channel->tls != NULL ? tls_session_reason(channel->tls) : "";
        channel->fault = fault;
        channel->system_error = system_error;
        snprintf(channel->reason, sizeof channel->reason, "%s",
                 more[0] != '\0'     ? more
                 : system_error != 0 ? strerror(system_error)
                                     : "it closed the connection");
    }
    return false;
}

bool channel_lack_memory(struct channel *channel) {
    return channel_fail(channel, CHANNEL_NO_MEMORY, ENOMEM);
}

bool channel_refuse(struct channel *channel, const char *reason) {
    if (channel->fault == CHANNEL_WELL) {
        channel->fault = CHANNEL_GARBAGE;
        snprintf(channel->reason, sizeof channel->reason, "%s", reason);
    }
    return false;
}

static bool channel_is_interrupted(struct channel *channel) {
    if (channel->interrupted == NULL) {
        return false;
    }
    pid_t process = getpid();
    if (channel->interrupted(channel->interrupted_user) == 0 && getpid() == process) {
        return false;
    }
    channel_fail(channel, CHANNEL_INTERRUPTED, EINTR);
    return true;
}

/* Waits until the socket is ready for `events`. */
static bool channel_wait(struct channel *channel, short events) {
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        uint64_t left_ms = channel->deadline_ms > now_ms ? channel->deadline_ms - now_ms : 0;
        struct pollfd ready = {.fd = channel->fd, .events = events};
        int count = poll(&ready, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX);
        if (count > 0) {
            return true;
        }
        if (count == 0 && left_ms <= INT_MAX) {
            return channel_fail(channel, CHANNEL_TIMED_OUT, ETIMEDOUT);
        }
        if (count < 0 && errno != EINTR) {
            return channel_fail(channel, CHANNEL_BROKEN, errno);
        }
        if (count < 0 && channel_is_interrupted(channel)) {
            return false;
        }
    }
}

bool channel_pause(struct channel *channel, unsigned pause_ms) {
    uint64_t until_ms = clock_monotonic_ms() + pause_ms;
    until_ms = until_ms < channel->deadline_ms ? until_ms : channel->deadline_ms;
    for (uint64_t now_ms = clock_monotonic_ms(); now_ms < until_ms; now_ms = clock_monotonic_ms()) {
        uint64_t left_ms = until_ms - now_ms;
        const struct timespec left = {.tv_sec = (time_t)(left_ms / 1000),
                                      .tv_nsec = (long)(left_ms % 1000) * 1000000};
        if (nanosleep(&left, NULL) != 0 && errno == EINTR && channel_is_interrupted(channel)) {
            return false;
        }
    }
    return true;
}

/* While the server's queue of connections is full, connect() on a Unix socket fails at once with
 * EAGAIN, and no event says when there is room. */
static bool channel_connect_local(struct channel *channel, const struct url *url) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, url->path);
    for (unsigned pause_ms = CHANNEL_QUEUE_PAUSE_MS;;) {
        if (connect(channel->fd, (const struct sockaddr *)&address, sizeof address) == 0) {
            return true;
        }
        if (errno != EAGAIN && errno != EINTR) {
            bool refused = errno == ECONNREFUSED || errno == ENOENT || errno == ECONNRESET;
            return channel_fail(channel, refused ? CHANNEL_REFUSED : CHANNEL_UNREACHABLE, errno);
        }
        if (clock_monotonic_ms() >= channel->deadline_ms) {
            return channel_fail(channel, CHANNEL_UNREACHABLE, ETIMEDOUT);
        }
        if (!channel_pause(channel, pause_ms)) {
            return false;
        }
        pause_ms = pause_ms < CHANNEL_QUEUE_PAUSE_MAX_MS ? 2 * pause_ms : pause_ms;
    }
}

/* If a signal interrupts connect(), the connect continues in the background. The socket becomes
 * writable when the connect has ended. */
static bool channel_connect_tcp(struct channel *channel, const struct addrinfo *place) {
    const int on = 1;
    setsockopt(channel->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(channel->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    int error_number = 0;
    if (connect(channel->fd, place->ai_addr, place->ai_addrlen) != 0) {
        error_number = errno;
    }
    if (error_number == EINPROGRESS || error_number == EINTR) {
        if (!channel_wait(channel, POLLOUT)) {
            if (channel->fault == CHANNEL_TIMED_OUT) {
                channel->fault = CHANNEL_UNREACHABLE;
            }
            return false;
        }
        socklen_t length = sizeof error_number;
        if (getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &error_number, &length) != 0) {
            error_number = errno;
        }
    }
    if (error_number == 0) {
        return true;
    }
    bool refused = error_number == ECONNREFUSED || error_number == ECONNRESET;
    return channel_fail(channel, refused ? CHANNEL_REFUSED : CHANNEL_UNREACHABLE, error_number);
}

static bool channel_make_socket(struct channel *channel, int family) {
    channel->fault = CHANNEL_WELL;
    channel->fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (channel->fd >= 0) {
        return true;
    }
    bool is_full = errno == EMFILE || errno == ENFILE;
    bool no_memory = errno == ENOMEM || errno == ENOBUFS;
    return channel_fail(channel,
                        is_full     ? CHANNEL_NO_DESCRIPTOR
                        : no_memory ? CHANNEL_NO_MEMORY
                                    : CHANNEL_UNREACHABLE,
                        errno);
}

static void channel_close_socket(struct channel *channel) {
    /* cleared before the close: a child forked in between must not find a number that may name
     * another file */
    int fd = atomic_exchange(&channel->fd, -1);
    if (fd >= 0) {
        close(fd);
    }
}

/* Sets the fault after getaddrinfo failed with `result`. getaddrinfo reports an unknown name even
 * if the cause is that this process can open no more files, so this function tries to open a
 * socket. Returns false. */
static bool channel_fail_lookup(struct channel *channel, int result) {
    int error_number = result == EAI_SYSTEM ? errno : 0;
    if (channel_make_socket(channel, AF_UNIX)) {
        channel_close_socket(channel);
        channel->fault = result == EAI_MEMORY ? CHANNEL_NO_MEMORY : CHANNEL_UNREACHABLE;
        channel->system_error = error_number;
        snprintf(channel->reason, sizeof channel->reason, "%s", gai_strerror(result));
    }
    return false;
}

static bool channel_open_tcp(struct channel *channel, const struct url *url) {
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    char port[8];
    snprintf(port, sizeof port, "%u", url->port);
    int result = getaddrinfo(url->host, port, &hints, &found);
    if (result != 0) {
        return channel_fail_lookup(channel, result);
    }
    bool connected = false;
    for (struct addrinfo *each = found; each != NULL && !connected; each = each->ai_next) {
        channel_close_socket(channel);
        connected =
            channel_make_socket(channel, each->ai_family) && channel_connect_tcp(channel, each);
        if (channel->fault == CHANNEL_INTERRUPTED) {
            break;
        }
    }
    freeaddrinfo(found);
    return connected;
}

static bool channel_shake_hands(struct channel *channel, const struct url *url, struct tls *tls) {
    channel->tls = tls_session_create(tls, channel->fd, url->host);
    if (channel->tls == NULL) {
        return channel_lack_memory(channel);
    }
    for (;;) {
        short events = 0;
        ssize_t result = tls_session_shake_hands(channel->tls, &events);
        if (result > 0) {
            return true;
        }
        if (result < 0 && errno == EAGAIN) {
            if (clock_monotonic_ms() >= channel->deadline_ms) {
                channel_fail(channel, CHANNEL_TIMED_OUT, ETIMEDOUT);
            }
            if (channel->fault != CHANNEL_WELL || !channel_wait(channel, events)) {
                break;
            }
            continue;
        }
        /* A server that is being restarted closes the connection and gives no reason. */
        bool hung_up = result == 0 || errno == ECONNRESET || errno == EPIPE;
        channel_fail(channel, hung_up ? CHANNEL_REFUSED : CHANNEL_UNREACHABLE,
                     result == 0 ? 0 : errno);
        break;
    }
    if (channel->fault == CHANNEL_TIMED_OUT) {
        channel->fault = CHANNEL_UNREACHABLE;
    }
    return false;
}

void channel_expect_timeout(struct channel *channel, int timeout_ms) {
    const struct timeval limit = {.tv_sec = timeout_ms / 1000,
                                  .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
    if (channel->tls == NULL &&
        setsockopt(channel->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
        fcntl(channel->fd, F_SETFL, 0) == 0) {
        channel->receive_timeout_ms = timeout_ms;
    }
}

bool channel_open(struct channel *channel, const struct url *url, struct tls *tls,
                  uint64_t deadline_ms) {
    channel->receive_timeout_ms = 0;
    channel->fault = CHANNEL_WELL;
    channel->system_error = 0;
    channel->reason[0] = '\0';
    channel->deadline_ms = deadline_ms;
    channel->is_local = url->path[0] != '\0';
    channel->input.size = 0;
    channel->taken = 0;
    bool connected = channel->is_local ? channel_make_socket(channel, AF_UNIX) &&
                                             channel_connect_local(channel, url)
                                       : channel_open_tcp(channel, url);
    return connected && (tls == NULL || channel_shake_hands(channel, url, tls));
}

static void channel_end(struct channel *channel, bool notify) {
    tls_session_destroy(channel->tls, notify && channel->fd >= 0);
    channel->tls = NULL;
    channel_close_socket(channel);
}

void channel_close(struct channel *channel) {
    channel_end(channel, channel->fault == CHANNEL_WELL);
}

void channel_abandon(struct channel *channel) {
    channel_end(channel, false);
}

void channel_finish(struct channel *channel) {
    buffer_finish(&channel->output);
    buffer_finish(&channel->input);
}

void channel_trim(struct channel *channel) {
    if (channel->output.capacity > CHANNEL_KEPT_BYTES) {
        buffer_finish(&channel->output);
    }
    if (channel->input.capacity > CHANNEL_KEPT_BYTES) {
        buffer_finish(&channel->input);
        channel->taken = 0;
    }
}

bool channel_is_readable(const struct channel *channel) {
    struct pollfd ready = {.fd = channel->fd, .events = POLLIN};
    return poll(&ready, 1, 0) > 0;
}

void channel_begin(struct channel *channel, uint64_t deadline_ms) {
    channel->deadline_ms = deadline_ms;
    channel->output.size = 0;
    channel->input.size = 0;
    channel->taken = 0;
    channel->sent = 0;
    channel->late = 0;
    channel->stopped = false;
    channel->was_reset = false;
}

void channel_put(struct channel *channel, const void *data, size_t size) {
    if (!buffer_append(&channel->output, data, size)) {
        channel_lack_memory(channel);
    }
}

void channel_put_string(struct channel *channel, const char *string) {
    channel_put(channel, string, strlen(string));
}

void channel_put_number(struct channel *channel, uint64_t number) {
    if (!buffer_append_u64(&channel->output, number)) {
        channel_lack_memory(channel);
    }
}

/* Sends without a wait. A failure is no fault yet: if the other end has closed, its last reply can
 * still be received. `*events`: what to wait for if there is more to send. */
static void channel_push(struct channel *channel, short *events) {
    while (channel->sent < channel->output.size && !channel->stopped) {
        const char *data = channel->output.data + channel->sent;
        size_t left = channel->output.size - channel->sent;
        ssize_t result = channel->tls != NULL
                             ? tls_session_write(channel->tls, data, left, events)
                             : send(channel->fd, data, left, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (result > 0) {
            channel->sent += (size_t)result;
        } else if (result < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            *events |= channel->tls != NULL ? 0 : POLLOUT;
            return;
        } else if (result == 0 || errno != EINTR) {
            channel->stopped = true;
        }
    }
}

bool channel_start(struct channel *channel) {
    short events = 0;
    if (channel->fault == CHANNEL_WELL) {
        channel_push(channel, &events);
    }
    return channel->fault == CHANNEL_WELL;
}

/* Like recv, but also takes the descriptors that come with the bytes. */
static ssize_t channel_receive_files(struct channel *channel, char *to, size_t room) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof channel->files->numbers)];
    } control;
    struct channel_files *files = channel->files;
    struct iovec part = {.iov_base = to, .iov_len = room};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t result = recvmsg(channel->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    struct cmsghdr *each = result > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    for (; each != NULL; each = CMSG_NXTHDR(&message, each)) {
        if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof files->numbers[0];
        for (size_t i = 0; i < count; i++) {
            int number;
            memcpy(&number, CMSG_DATA(each) + i * sizeof number, sizeof number);
            if (files->count < CHANNEL_FILES_MAX) {
                files->numbers[files->count++] = number;
            } else {
                close(number);
            }
        }
    }
    return result;
}

/* Whether a receive may block for the socket's own timeout: nothing is left to send meanwhile, and
 * the deadline is not earlier. */
static bool channel_may_block(const struct channel *channel) {
    return channel->receive_timeout_ms > 0 &&
           (channel->sent == channel->output.size || channel->stopped) &&
           clock_monotonic_ms() + (uint64_t)channel->receive_timeout_ms <=
               channel->deadline_ms + CHANNEL_CLOCK_MS;
}

/* False if the other end keeps sending after the deadline, so fast that no call ever waits. Bytes
 * that came before the deadline may be read after it, because other replies were read first, or
 * because this process was stopped. */
static bool channel_is_in_time(struct channel *channel, size_t got) {
    if (clock_monotonic_ms() < channel->deadline_ms) {
        return true;
    }
    channel->late += got;
    return channel->late <= CHANNEL_LATE_MAX || channel_fail(channel, CHANNEL_TIMED_OUT, ETIMEDOUT);
}

/* Receives at least 1 byte and at most `room`. False after a fault. */
static bool channel_receive(struct channel *channel, char *to, size_t room, size_t *got) {
    while (channel->fault == CHANNEL_WELL) {
        short events = 0;
        channel_push(channel, &events);
        ssize_t result =
            channel->tls != NULL ? tls_session_read(channel->tls, to, room, &events)
            : channel->files != NULL
                ? channel_receive_files(channel, to, room)
                : recv(channel->fd, to, room, channel_may_block(channel) ? 0 : MSG_DONTWAIT);
        if (result > 0) {
            *got = (size_t)result;
            return channel_is_in_time(channel, *got);
        }
        if (result < 0 && errno == EAGAIN && clock_monotonic_ms() >= channel->deadline_ms) {
            /* with TLS, records without data cause no wait that could time out */
            channel_fail(channel, CHANNEL_TIMED_OUT, ETIMEDOUT);
        } else if (result < 0 && errno == EAGAIN) {
            channel_wait(channel, channel->tls != NULL ? events : (short)(events | POLLIN));
        } else if (result < 0 && errno == EINTR) {
            channel_is_interrupted(channel);
        } else {
            channel->was_reset = result < 0 && errno == ECONNRESET;
            channel_fail(channel, CHANNEL_BROKEN, result < 0 ? errno : 0);
        }
    }
    return false;
}

static bool channel_fill(struct channel *channel) {
    struct buffer *input = &channel->input;
    size_t got;
    /* drop what was taken; otherwise the buffer would keep all replies */
    if (channel->taken > 0) {
        input->size -= channel->taken;
        memmove(input->data, input->data + channel->taken, input->size);
        channel->taken = 0;
    }
    if (!buffer_reserve(input, CHANNEL_READ_BYTES)) {
        return channel_lack_memory(channel);
    }
    if (!channel_receive(channel, input->data + input->size, input->capacity - input->size, &got)) {
        return false;
    }
    input->size += got;
    return true;
}

bool channel_take_line(struct channel *channel, struct bytes *line) {
    size_t looked = 0;
    while (channel->fault == CHANNEL_WELL) {
        size_t size = channel->input.size - channel->taken;
        if (size > looked) {
            char *begin = channel->input.data + channel->taken;
            char *end = memchr(begin + looked, '\n', size - looked);
            if (end != NULL) {
                channel->taken += (size_t)(end - begin) + 1;
                end -= end > begin && end[-1] == '\r';
                *end = '\0';
                *line = bytes_from(begin, (size_t)(end - begin));
                return true;
            }
        }
        looked = size;
        if (size > CHANNEL_LINE_MAX) {
            return channel_refuse(channel, "a line of more than 64 KiB");
        }
        if (!channel_fill(channel)) {
            return false;
        }
    }
    return false;
}

bool channel_take(struct channel *channel, size_t size, const char **data) {
    while (channel->input.size - channel->taken < size) {
        if (!channel_fill(channel)) {
            return false;
        }
    }
    *data = channel->input.data + channel->taken;
    channel->taken += size;
    return true;
}

bool channel_copy(struct channel *channel, char *to, size_t size) {
    for (size_t done = 0; done < size;) {
        size_t here = channel->input.size - channel->taken;
        if (here > 0) {
            here = here < size - done ? here : size - done;
            if (to != NULL) {
                memcpy(to + done, channel->input.data + channel->taken, here);
            }
            channel->taken += here;
            done += here;
        } else if (to != NULL && size - done >= CHANNEL_READ_BYTES) {
            if (!channel_receive(channel, to + done, size - done, &here)) {
                return false;
            }
            done += here;
        } else if (!channel_fill(channel)) {
            return false;
        }
    }
    return channel->fault == CHANNEL_WELL;
}

bool channel_is_drained(const struct channel *channel) {
    return channel->taken == channel->input.size;
}

enum channel_sent channel_sent(const struct channel *channel) {
    if (channel->sent == 0) {
        return CHANNEL_SENT_NOTHING;
    }
    /* The kernel resets a Unix socket only if the other end closed it without reading all bytes.
     * Over TCP, a reset may come from anywhere on the way, at any time. */
    bool unread = channel->is_local && channel->was_reset;
    return channel->sent < channel->output.size || unread ? CHANNEL_SENT_PART : CHANNEL_SENT_ALL;
}
