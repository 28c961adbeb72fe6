/* One connection over a socket pair, with a protocol that is as simple as can be:
 *
 *     e<n>\n            answers with n bytes
 *     v<n>\n<n bytes>   answers "v" once all are there
 *     w<n>\n            does n bytes of work, and answers nothing
 *     q\n               ends the connection
 *     l\n               logs in; the verdict comes when the test says so
 *
 * and a pool whose writes (each batch is one, while disk.asked_for says so) are durable when the
 * test says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/budget.h"
#include "net/connection.h"
#include "net/share.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOAN_BYTES = 64 << 10, LARGE = 1 << 20 };

static unsigned process_calls;

void proto_connection_init(struct proto_connection *connection, struct proto_service *service) {
    *connection = (struct proto_connection){.service = service};
}

void proto_connection_finish(struct proto_connection *connection) {
    connection->service = NULL;
}

/* The pool: `p` asks it for room. */
static struct {
    bool there;
    uint64_t turn;
} room;

bool pool_should_retry(const struct pool *pool, uint64_t room_turn) {
    (void)pool;
    return room.turn != room_turn;
}

bool proto_needs_room(const struct proto_connection *connection) {
    return connection->needs_room;
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
        size_t number = strtoul(request + 1, NULL, 10);
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
            connection->login.password = bytes_from(request, 1); /* the word itself: it is wiped */
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
            buffer_reserve(replies, number);
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
    *check = owner; /* any that is not NULL */
    return AUTH_NONE;
}

void auth_abandon(struct auth_check *check) {
    (void)check;
}

static struct {
    bool asked_for;     /* batches write something */
    uint64_t tickets;   /* given out */
    enum status status; /* of all of them */
} disk;

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

struct pair {
    struct connection *connection;
    struct connection_loan loan;
    char input[LOAN_BYTES];
    int client;
    bool progress;
};

static struct pair pair;

static struct store_thread store_thread;
static struct proto_server server;
static struct proto_service service = {.server = &server};
static struct listener listener = {.service = &service};

/* That all connections may have together: there is one pool. */
static void limit_memory(uint64_t bytes) {
    share_divide(&server.memory.bytes, bytes, 1);
    share_keep(&server.memory.bytes, &service.memory, 0);
}

static void open_pair_of(int type) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds), 0);
    memset(&pair, 0, sizeof pair);
    server.requests_per_turn = 100000;
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

static int open_pair(void **state) {
    (void)state;
    open_pair_of(SOCK_STREAM);
    return 0;
}

static int close_pair(void **state) {
    (void)state;
    connection_destroy(pair.connection);
    assert_int_equal(server.memory.bytes.used, 0); /* all that was counted is given back */
    buffer_finish(&pair.loan.replies);
    if (pair.client >= 0) {
        close(pair.client);
    }
    return 0;
}

static void client_close(void) {
    close(pair.client);
    pair.client = -1;
}

/* Looks at the socket as epoll would, and serves the connection once. */
static enum connection_next serve(void) {
    struct pollfd polled = {.fd = pair.connection->fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    poll(&polled, 1, 0);
    pair.connection->readable |= (polled.revents & (POLLIN | POLLHUP | POLLERR)) != 0;
    pair.connection->input_ending |= (polled.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    pair.connection->writable |= (polled.revents & (POLLOUT | POLLHUP | POLLERR)) != 0;
    return connection_serve(pair.connection, &pair.loan, &pair.progress);
}

/* One event, as epoll tells of edges only, and all the turns that follow from it. */
static enum connection_next serve_all(void) {
    enum connection_next next = serve();
    while (next == CONNECTION_READY) {
        next = connection_serve(pair.connection, &pair.loan, &pair.progress);
    }
    return next;
}

static void client_send(const char *data, size_t size) {
    assert_int_equal(send(pair.client, data, size, MSG_NOSIGNAL), size);
}

static void client_send_string(const char *text) {
    client_send(text, strlen(text));
}

/* Takes all that is there; returns how much. */
static size_t client_take(void) {
    static char data[LARGE];
    size_t total = 0;
    ssize_t size;
    while ((size = recv(pair.client, data, sizeof data, 0)) > 0) {
        total += (size_t)size;
    }
    return total;
}

static bool client_sees_end(void) {
    char byte;
    return recv(pair.client, &byte, 1, 0) == 0;
}

static void an_idle_connection_owns_no_buffers_and_is_small(void **state) {
    (void)state;
    client_send_string("e3\ne4\n");
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 7);
    assert_null(pair.connection->input.data);
    assert_null(pair.connection->output.data);
    assert_true(sizeof *pair.connection < 512);
}

static void a_request_that_comes_byte_by_byte_is_answered_when_it_is_whole(void **state) {
    (void)state;
    const char *request = "v5\nhello";
    for (size_t i = 0; i < strlen(request); i++) {
        assert_int_equal(client_take(), 0);
        client_send(request + i, 1);
        assert_int_equal(serve_all(), CONNECTION_IDLE);
    }
    assert_int_equal(client_take(), 1);
    assert_null(pair.connection->input.data);
}

static void a_request_is_not_parsed_again_before_what_it_lacks_can_be_there(void **state) {
    (void)state;
    client_send_string("v1000\n");
    serve_all();
    unsigned calls = process_calls;
    for (size_t i = 0; i < 999; i++) {
        client_send("x", 1);
        assert_int_equal(serve_all(), CONNECTION_IDLE);
    }
    assert_int_equal(process_calls, calls);
    client_send("x", 1);
    serve_all();
    assert_int_equal(process_calls, calls + 1);
    assert_int_equal(client_take(), 1);
}

static void the_requests_of_one_read_are_answered_with_one_send(void **state) {
    (void)state;
    close_pair(NULL);
    open_pair_of(SOCK_SEQPACKET); /* keeps writes apart */
    client_send_string("e10\ne20\nv2\nabe1\n");
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    char data[100];
    assert_int_equal(recv(pair.client, data, sizeof data, 0), 32);
    assert_int_equal(recv(pair.client, data, sizeof data, 0), -1);
}

static void a_large_value_costs_its_own_size_and_nothing_once_it_is_stored(void **state) {
    (void)state;
    static char piece[10000];
    size_t sent = 0;
    client_send_string("v1000000\n");
    while (sent < 1000000) {
        client_send(piece, sizeof piece);
        sent += sizeof piece;
        enum connection_next next = serve_all();
        bool is_large = pair.connection->input.capacity > BUDGET_SMALL_BYTES;
        assert_int_equal(next, is_large ? CONNECTION_PARTIAL : CONNECTION_IDLE);
        assert_true(pair.connection->input.size <= sent + 9);
        assert_true(pair.connection->input.capacity <= 2 * 1000000 + 1024);
    }
    assert_int_equal(client_take(), 1);
    assert_null(pair.connection->input.data);
}

static void what_follows_a_large_value_is_answered_too(void **state) {
    (void)state;
    static char piece[100000];
    client_send_string("v200000\n");
    serve_all();
    for (int i = 0; i < 2; i++) {
        client_send(piece, sizeof piece);
        serve_all();
    }
    client_send_string("e5\n");
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 6);
}

static void a_client_that_takes_no_replies_is_not_read_from(void **state) {
    (void)state;
    client_send_string("e1000000\n");
    assert_int_equal(serve_all(), CONNECTION_STALLED);
    uint64_t read_before = pair.loan.bytes_read;
    size_t owned = pair.connection->output.capacity;
    for (int i = 0; i < 100; i++) {
        client_send_string("e1000000\n");
        assert_int_equal(serve_all(), CONNECTION_STALLED);
    }
    assert_int_equal(pair.loan.bytes_read, read_before);
    assert_int_equal(pair.connection->output.capacity, owned);
}

static void a_client_that_takes_its_replies_later_gets_all_of_them(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++) {
        client_send_string("e1000000\nv3\nabc");
    }
    size_t taken = 0;
    while (taken < 10 * 1000001) {
        enum connection_next next = serve();
        assert_true(next != CONNECTION_END);
        size_t now = client_take();
        assert_true(now > 0 || next != CONNECTION_STALLED || pair.progress);
        taken += now;
    }
    assert_int_equal(taken, 10 * 1000001);
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_null(pair.connection->output.data);
}

static void many_replies_are_not_collected_before_they_are_sent(void **state) {
    (void)state;
    char requests[6 * 1000];
    for (int i = 0; i < 1000; i++) {
        memcpy(requests + 6 * i, "e9999\n", 6);
    }
    client_send(requests, sizeof requests);
    assert_int_equal(serve_all(), CONNECTION_STALLED);
    assert_true(pair.connection->output.size <= PROTO_REPLY_BATCH + 9999);
    assert_true(pair.connection->input.size > 0);
}

/* Takes replies in the place of a client that is always fast enough. */
static void one_turn_is_a_bounded_amount_of_work(void **state) {
    (void)state;
    const int large = 8 << 20;
    setsockopt(pair.connection->fd, SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof large);
    char requests[6 * 1000];
    for (int i = 0; i < 1000; i++) {
        memcpy(requests + 6 * i, "e9999\n", 6);
    }
    client_send(requests, sizeof requests);
    size_t taken = 0;
    for (int turns = 0; taken < 9999 * 1000; turns++) {
        uint64_t before = pair.loan.bytes_written;
        enum connection_next next = serve();
        assert_true(next == CONNECTION_READY || next == CONNECTION_STALLED ||
                    next == CONNECTION_IDLE);
        assert_true(pair.loan.bytes_written - before < 3 << 20);
        taken += client_take();
        assert_true(turns < 1000);
    }
    assert_int_equal(taken, 9999 * 1000);
}

static void requests_with_much_work_give_way_after_each(void **state) {
    (void)state;
    char requests[9 * 100];
    for (int i = 0; i < 100; i++) {
        memcpy(requests + 9 * i, "w1000000\n", 9);
    }
    client_send(requests, sizeof requests);
    uint64_t before = store_thread.work_bytes;
    int turns = 1;
    while (serve() == CONNECTION_READY) {
        turns++;
    }
    assert_in_range(turns, 50, 101);
    assert_in_range(store_thread.work_bytes - before, 100 * 1000000,
                    100 * 1000000 + sizeof requests);
}

static void endless_small_requests_give_way_after_one_read(void **state) {
    (void)state;
    static char requests[3 * 50000];
    for (int i = 0; i < 50000; i++) {
        memcpy(requests + 3 * i, "e1\n", 3);
    }
    client_send(requests, sizeof requests);
    assert_int_equal(serve(), CONNECTION_READY);
    assert_true(pair.loan.bytes_read <= LOAN_BYTES);
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 50000);
}

static void a_client_that_shuts_its_side_down_gets_its_replies(void **state) {
    (void)state;
    client_send_string("e5\ne1000000\ne7\nhalf a requ");
    shutdown(pair.client, SHUT_WR);
    size_t taken = 0;
    while (serve_all() == CONNECTION_STALLED) {
        taken += client_take();
    }
    taken += client_take();
    assert_int_equal(taken, 1000012);
    assert_int_equal(serve(), CONNECTION_END);
}

static void the_end_is_seen_when_it_came_with_the_last_bytes(void **state) {
    (void)state;
    client_send_string("e5\n");
    shutdown(pair.client, SHUT_WR);
    assert_int_equal(serve_all(), CONNECTION_END);
    assert_int_equal(client_take(), 5);
}

static void the_end_in_the_middle_of_a_value_is_the_end(void **state) {
    (void)state;
    client_send_string("v1000000\nabc");
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    client_close();
    assert_int_equal(serve_all(), CONNECTION_END);
}

static void the_last_reply_before_a_close_survives_what_the_client_still_sends(void **state) {
    (void)state;
    client_send_string("e5\nq\ne6\n");
    assert_int_equal(serve_all(), CONNECTION_LINGER);
    assert_int_equal(client_take(), 5);
    assert_true(client_sees_end());
    client_send_string("e7\n");
    assert_int_equal(serve_all(), CONNECTION_LINGER);
    assert_true(client_sees_end());
    client_close();
    assert_int_equal(serve_all(), CONNECTION_END);
}

static void a_close_waits_for_replies_that_the_client_has_not_taken(void **state) {
    (void)state;
    client_send_string("e1000000\nq\n");
    size_t taken = 0;
    enum connection_next next;
    while ((next = serve_all()) == CONNECTION_STALLED) {
        taken += client_take();
    }
    assert_int_equal(next, CONNECTION_LINGER);
    taken += client_take();
    assert_int_equal(taken, 1000000);
}

static void replies_are_held_until_their_writes_are_on_the_disk(void **state) {
    (void)state;
    disk.asked_for = true;
    disk.status = STATUS_PENDING;
    client_send_string("e3\ne4\n");
    assert_int_equal(serve_all(), CONNECTION_HELD);
    assert_int_equal(client_take(), 0);
    client_send_string("e5\n");
    assert_int_equal(serve_all(), CONNECTION_HELD);
    assert_int_equal(disk.tickets, 1); /* what comes meanwhile is not read: replies stay in order */

    disk.asked_for = false;
    disk.status = STATUS_OK;
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 3 + 4 + 5);
}

static void writes_that_the_disk_refused_are_not_acknowledged(void **state) {
    (void)state;
    disk.asked_for = true;
    disk.status = STATUS_PENDING;
    client_send_string("e3\n");
    assert_int_equal(serve_all(), CONNECTION_HELD);
    disk.status = STATUS_IO;
    assert_int_equal(serve_all(), CONNECTION_END);
    assert_int_equal(client_take(), 0);
}

static void a_batch_without_replies_is_held_too(void **state) {
    (void)state;
    disk.asked_for = true;
    disk.status = STATUS_PENDING;
    client_send_string("e0\n");
    assert_int_equal(serve_all(), CONNECTION_HELD);
    disk.asked_for = false;
    disk.status = STATUS_OK;
    client_send_string("e2\n");
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 2);
}

static void one_turn_answers_a_bounded_number_of_requests(void **state) {
    (void)state;
    server.requests_per_turn = 20;
    char requests[3 * 1000];
    for (int i = 0; i < 1000; i++) {
        memcpy(requests + 3 * i, "e1\n", 3);
    }
    client_send(requests, sizeof requests);
    for (size_t turn = 1; turn < 1000 / 20; turn++) {
        assert_int_equal(serve(), CONNECTION_READY);
        assert_int_equal(client_take(), 20);
        assert_int_equal(pair.loan.yields, turn);
    }
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 20);
}

static void what_a_connection_owns_is_counted_exactly(void **state) {
    (void)state;
    struct proto_memory *memory = &server.memory;
    client_send_string("v100000\n");
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(memory->kinds[PROTO_MEMORY_INPUT].buffers, 1);
    assert_int_equal(memory->kinds[PROTO_MEMORY_INPUT].bytes, pair.connection->input.capacity);
    static char value[100000];
    client_send(value, sizeof value);
    client_send_string("e1000000\n");
    assert_int_equal(serve_all(), CONNECTION_STALLED);
    assert_int_equal(memory->kinds[PROTO_MEMORY_INPUT].bytes, 0);
    assert_int_equal(memory->kinds[PROTO_MEMORY_OUTPUT].bytes, pair.connection->output.capacity);
    assert_int_equal(memory->kinds[PROTO_MEMORY_OUTPUT].buffers, 1);
    assert_int_equal(memory->bytes.used, pair.connection->output.capacity);
    client_take();
    while (serve_all() == CONNECTION_STALLED) {
        client_take();
    }
    assert_int_equal(memory->bytes.used, 0);
}

static void memory_is_counted_as_bytes_come_not_as_they_are_announced(void **state) {
    (void)state;
    client_send_string("v1000000\n");
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_true(server.memory.bytes.used <= 2 * LOAN_BYTES);
}

static void a_large_request_beyond_the_limit_is_refused_with_a_word(void **state) {
    (void)state;
    limit_memory(300000);
    client_send_string("e5\nv1000000\n");
    static char piece[10000];
    enum connection_next next = CONNECTION_IDLE;
    for (int i = 0; i < 100 && (next == CONNECTION_IDLE || next == CONNECTION_PARTIAL); i++) {
        client_send(piece, sizeof piece);
        next = serve_all();
        assert_true(server.memory.bytes.used <= 300000);
    }
    assert_int_equal(next, CONNECTION_LINGER);
    const char *said = "xxxxxSERVER_ERROR out of memory reading request\r\n";
    char data[100];
    assert_int_equal(recv(pair.client, data, sizeof data, 0), strlen(said));
    assert_memory_equal(data, said, strlen(said));
    assert_int_equal(server.memory.bytes.used, 0);
    assert_int_equal(server.memory.kinds[PROTO_MEMORY_INPUT].refused, 1);
}

static void what_comes_behind_a_refused_pipeline_is_not_run(void **state) {
    (void)state;
    static char pipeline[20000] = "l\n";
    memset(pipeline + 2, 'e', sizeof pipeline - 2);
    limit_memory(1000);
    client_send(pipeline, sizeof pipeline);
    assert_int_equal(serve_all(), CONNECTION_LOGIN_PENDING);
    client_send_string("1\ne5\n"); /* the end of what was thrown away */
    assert_int_equal(serve_all(), CONNECTION_LOGIN_PENDING);
    connection_take_verdict(pair.connection, AUTH_ADMITTED);
    assert_int_equal(serve_all(), CONNECTION_LINGER);
    const char *said = "SERVER_ERROR out of memory reading request\r\n";
    char data[100];
    assert_int_equal(recv(pair.client, data, sizeof data, 0), strlen(said));
    assert_memory_equal(data, said, strlen(said));
}

static void small_requests_go_on_although_the_limit_is_reached(void **state) {
    (void)state;
    limit_memory(1000);
    share_take(&server.memory.bytes, &service.memory, 1000, true);
    static char value[10000];
    client_send_string("v10000\n");
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    client_send(value, sizeof value - 1);
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    client_send(value, 1);
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 1);
    share_give(&server.memory.bytes, &service.memory, 1000);
}

static void replies_that_wait_for_their_client_count_and_end_it_beyond_the_limit(void **state) {
    (void)state;
    limit_memory(100000);
    client_send_string("e1000000\n");
    assert_int_equal(serve_all(), CONNECTION_END);
    assert_int_equal(server.memory.kinds[PROTO_MEMORY_OUTPUT].refused, 1);
    assert_int_equal(server.memory.bytes.used, 0);
}

static void a_client_that_is_gone_ends_the_connection(void **state) {
    (void)state;
    client_send_string("e1000000\n");
    assert_int_equal(serve_all(), CONNECTION_STALLED);
    client_close();
    assert_int_equal(serve_all(), CONNECTION_END);
}

static void a_request_without_room_is_parked_behind_its_replies_and_run_again(void **state) {
    (void)state;
    client_send_string("e3\np\ne2\n");
    assert_int_equal(serve_all(), CONNECTION_PARKED);
    assert_int_equal(client_take(), 3); /* what came before it is answered */
    client_send_string("e7\n");         /* and what comes behind it waits */
    assert_int_equal(serve_all(), CONNECTION_PARKED);
    assert_int_equal(client_take(), 0);
    assert_false(connection_may_have_room(pair.connection));
    room.turn++;
    assert_true(connection_may_have_room(pair.connection));
    assert_int_equal(serve_all(), CONNECTION_PARKED); /* it was not enough */
    assert_false(connection_may_have_room(pair.connection));
    room.turn++;
    room.there = true;
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 1 + 2 + 7);
}

static void a_request_that_has_waited_for_room_too_long_is_refused_alone(void **state) {
    (void)state;
    client_send_string("p\np\n");
    assert_int_equal(serve_all(), CONNECTION_PARKED);
    connection_refuse_room(pair.connection);
    assert_int_equal(serve_all(), CONNECTION_PARKED); /* the second, whose time begins */
    assert_true(pair.progress);
    assert_int_equal(client_take(), 1);
    connection_refuse_room(pair.connection);
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 1);
}

/* Else the notice would be lost, and the request would wait for the next. */
static void room_that_comes_while_replies_are_held_is_not_missed(void **state) {
    (void)state;
    disk.asked_for = true;
    disk.status = STATUS_PENDING;
    client_send_string("e3\np\n");
    assert_int_equal(serve_all(), CONNECTION_HELD);
    room.turn++;
    room.there = true;
    disk.asked_for = false;
    disk.status = STATUS_OK;
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 3 + 1);
}

static void a_large_request_is_parked_at_its_own_cost(void **state) {
    (void)state;
    static char pipeline[20000] = "p\n";
    memset(pipeline + 2, 'e', sizeof pipeline - 3);
    pipeline[sizeof pipeline - 1] = '\n';
    limit_memory(1000);
    client_send(pipeline, sizeof pipeline);
    assert_int_equal(serve_all(), CONNECTION_LINGER); /* there is no memory to park it in */
}

int main(void) {
#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        WITH_PAIR(an_idle_connection_owns_no_buffers_and_is_small),
        WITH_PAIR(a_request_that_comes_byte_by_byte_is_answered_when_it_is_whole),
        WITH_PAIR(a_request_is_not_parsed_again_before_what_it_lacks_can_be_there),
        WITH_PAIR(the_requests_of_one_read_are_answered_with_one_send),
        WITH_PAIR(a_large_value_costs_its_own_size_and_nothing_once_it_is_stored),
        WITH_PAIR(what_follows_a_large_value_is_answered_too),
        WITH_PAIR(a_client_that_takes_no_replies_is_not_read_from),
        WITH_PAIR(a_client_that_takes_its_replies_later_gets_all_of_them),
        WITH_PAIR(many_replies_are_not_collected_before_they_are_sent),
        WITH_PAIR(one_turn_is_a_bounded_amount_of_work),
        WITH_PAIR(requests_with_much_work_give_way_after_each),
        WITH_PAIR(endless_small_requests_give_way_after_one_read),
        WITH_PAIR(a_client_that_shuts_its_side_down_gets_its_replies),
        WITH_PAIR(the_end_is_seen_when_it_came_with_the_last_bytes),
        WITH_PAIR(the_end_in_the_middle_of_a_value_is_the_end),
        WITH_PAIR(the_last_reply_before_a_close_survives_what_the_client_still_sends),
        WITH_PAIR(a_close_waits_for_replies_that_the_client_has_not_taken),
        WITH_PAIR(replies_are_held_until_their_writes_are_on_the_disk),
        WITH_PAIR(writes_that_the_disk_refused_are_not_acknowledged),
        WITH_PAIR(a_batch_without_replies_is_held_too),
        WITH_PAIR(one_turn_answers_a_bounded_number_of_requests),
        WITH_PAIR(what_a_connection_owns_is_counted_exactly),
        WITH_PAIR(memory_is_counted_as_bytes_come_not_as_they_are_announced),
        WITH_PAIR(a_large_request_beyond_the_limit_is_refused_with_a_word),
        WITH_PAIR(what_comes_behind_a_refused_pipeline_is_not_run),
        WITH_PAIR(small_requests_go_on_although_the_limit_is_reached),
        WITH_PAIR(replies_that_wait_for_their_client_count_and_end_it_beyond_the_limit),
        WITH_PAIR(a_client_that_is_gone_ends_the_connection),
        WITH_PAIR(a_request_without_room_is_parked_behind_its_replies_and_run_again),
        WITH_PAIR(a_request_that_has_waited_for_room_too_long_is_refused_alone),
        WITH_PAIR(room_that_comes_while_replies_are_held_is_not_missed),
        WITH_PAIR(a_large_request_is_parked_at_its_own_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
