#include "connection_pair.h"

#include "base/number.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

unsigned process_calls;

void proto_connection_init(struct proto_connection *connection, struct proto_service *given) {
    *connection = (struct proto_connection){.service = given};
}

void proto_connection_finish(struct proto_connection *connection) {
    connection->service = NULL;
}

struct pool_room room;

bool pool_should_retry(const struct pool *pool, uint64_t room_turn) {
    (void)pool;
    return room.turn != room_turn;
}

bool proto_needs_room(const struct proto_connection *connection) {
    return connection->needs_room;
}

bool proto_waits(const struct proto_connection *connection) {
    return connection->reload != 0;
}

enum proto_incoming proto_get_incoming(const struct proto_connection *connection,
                                       struct bytes input) {
    (void)connection;
    (void)input;
    return PROTO_INCOMING_LINE;
}

enum proto_next proto_process(struct proto_connection *connection, struct store_thread *thread,
                              struct bytes input, size_t *consumed, size_t *wanted,
                              struct buffer *replies) {
    *consumed = 0;
    process_calls++;
    while (*consumed < input.size) {
        const char *request = input.data + *consumed;
        size_t left = input.size - *consumed;
        if (replies->size >= PROTO_REPLY_BATCH || connection->turn_left == 0 ||
            thread->work_bytes >= connection->turn_work) {
            return PROTO_FLUSH;
        }
        const char *end = memchr(request, '\n', left);
        if (end == NULL) {
            *wanted = left + 1;
            return PROTO_READ;
        }
        size_t line = (size_t)(end - request) + 1;
        uint64_t number;
        if (!number_parse_u64(bytes_from(request + 1, line - 2), &number)) {
            number = 0;
        }
        if (request[0] == 'q') {
            *consumed += line;
            return PROTO_CLOSE;
        }
        if (request[0] == 'p' && !room.there && !connection->refuses_room) {
            thread->room_turn = room.turn;
            connection->needs_room = true;
            return PROTO_NEEDS_ROOM;
        }
        if (request[0] == 'p') {
            buffer_append(replies, connection->refuses_room ? "n" : "y", 1);
            connection->refuses_room = false;
            connection->needs_room = false;
        }
        if (request[0] == 'l') {
            *consumed += line;
            /* the word itself, because the connection wipes it */
            connection->login.password = bytes_from(request, 1);
            return PROTO_LOGIN;
        }
        if (request[0] == 'v') {
            if (left < line + number) {
                *wanted = line + number;
                return PROTO_READ;
            }
            line += number;
            buffer_append(replies, "v", 1);
        } else if (request[0] == 'w') {
            store_thread_charge(thread, number);
        } else if (number > 0) {
            assert_true(buffer_reserve(replies, number));
            memset(replies->data + replies->size, 'x', number);
            replies->size += number;
        }
        *consumed += line;
        connection->turn_left--;
    }
    *wanted = 1;
    return PROTO_READ;
}

bool proto_finish_login(struct proto_connection *connection, struct store_thread *thread,
                        bool admitted, struct buffer *replies) {
    (void)connection;
    (void)thread;
    return buffer_append_string(replies, admitted ? "in" : "out");
}

bool proto_refuse_input(const struct proto_connection *connection, struct buffer *replies) {
    (void)connection;
    return buffer_append_string(replies, "SERVER_ERROR out of memory reading request\r\n");
}

enum auth_verdict auth_begin(struct auth_pool *pool, int fd, struct bytes user,
                             struct bytes password, struct auth_mailbox *mailbox, void *owner,
                             struct auth_check **check) {
    (void)pool;
    (void)fd;
    (void)user;
    (void)password;
    (void)mailbox;
    *check = owner; /* any pointer but NULL */
    return AUTH_NONE;
}

void auth_abandon(struct auth_check *check) {
    (void)check;
}

struct pool_disk disk;

uint64_t pool_take_ticket(struct pool *pool, struct store_thread *thread) {
    (void)pool;
    (void)thread;
    return disk.asked_for ? ++disk.tickets : 0;
}

enum status pool_check_ticket(struct pool *pool, uint64_t ticket) {
    (void)pool;
    assert_in_range(ticket, 1, disk.tickets);
    return disk.status;
}

struct pair pair;

struct store_thread store_thread;
struct proto_server server;
struct proto_service service = {.server = &server};
static struct listener listener = {.service = &service};

void limit_memory(uint64_t bytes) {
    share_divide(&server.limits.memory.bytes, bytes, 1);
}

void open_pair_of(int type) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds), 0);
    memset(&pair, 0, sizeof pair);
    server.limits.requests_per_turn = 100000;
    limit_memory(64 << 20);
    pair.connection = connection_create(fds[0], &listener, NULL);
    assert_non_null(pair.connection);
    pair.client = fds[1];
    pair.loan.input = pair.input;
    pair.loan.store = &store_thread;
    pair.loan.input_bytes = sizeof pair.input;
    process_calls = 0;
    disk.asked_for = false;
    disk.tickets = 0;
    disk.status = STATUS_OK;
    room.there = false;
}

int open_pair(void **state) {
    (void)state;
    open_pair_of(SOCK_STREAM);
    return 0;
}

int close_pair(void **state) {
    (void)state;
    connection_destroy(pair.connection);
    /* the connection has returned all memory that was counted */
    assert_int_equal(server.limits.memory.bytes.used, 0);
    buffer_finish(&pair.loan.replies);
    if (pair.client >= 0) {
        close(pair.client);
    }
    return 0;
}

void client_close(void) {
    close(pair.client);
    pair.client = -1;
}

enum connection_next serve(void) {
    struct pollfd polled = {.fd = pair.connection->fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    poll(&polled, 1, 0);
    pair.connection->readable |= (polled.revents & (POLLIN | POLLHUP | POLLERR)) != 0;
    pair.connection->input_ending |= (polled.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    pair.connection->writable |= (polled.revents & (POLLOUT | POLLHUP | POLLERR)) != 0;
    return connection_serve(pair.connection, &pair.loan, &pair.progress);
}

enum connection_next serve_all(void) {
    enum connection_next next = serve();
    while (next == CONNECTION_READY) {
        next = connection_serve(pair.connection, &pair.loan, &pair.progress);
    }
    return next;
}

void client_send(const char *data, size_t size) {
    assert_int_equal(send(pair.client, data, size, MSG_NOSIGNAL), size);
}

void client_send_string(const char *text) {
    client_send(text, strlen(text));
}

size_t client_take(void) {
    static char data[LARGE];
    size_t total = 0;
    ssize_t size;
    while ((size = recv(pair.client, data, sizeof data, 0)) > 0) {
        total += (size_t)size;
    }
    return total;
}

bool client_sees_end(void) {
    char byte;
    return recv(pair.client, &byte, 1, 0) == 0;
}
