/* The memory of a connection, and what happens when there is none (connection_pair.h). */
#include "connection_pair.h"

#include <string.h>
#include <sys/socket.h>

static void what_a_connection_owns_is_counted_exactly(void **state) {
    (void)state;
    struct proto_memory *memory = &server.limits.memory;
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
    assert_true(server.limits.memory.bytes.used <= 2 * LOAN_BYTES);
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
        assert_true(server.limits.memory.bytes.used <= 300000);
    }
    assert_int_equal(next, CONNECTION_LINGER);
    const char *said = "xxxxxSERVER_ERROR out of memory reading request\r\n";
    char data[100];
    assert_int_equal(recv(pair.client, data, sizeof data, 0), strlen(said));
    assert_memory_equal(data, said, strlen(said));
    assert_int_equal(server.limits.memory.bytes.used, 0);
    assert_int_equal(server.limits.memory.kinds[PROTO_MEMORY_INPUT].refused, 1);
}

static void what_comes_behind_a_refused_pipeline_is_not_run(void **state) {
    (void)state;
    static char pipeline[20000] = "l\n";
    memset(pipeline + 2, 'e', sizeof pipeline - 2);
    limit_memory(1000);
    client_send(pipeline, sizeof pipeline);
    assert_int_equal(serve_all(), CONNECTION_LOGIN_PENDING);
    client_send_string("1\ne5\n"); /* the last byte of what the connection throws away */
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
    share_take(&server.limits.memory.bytes, &service.memory, 1000, true);
    static char value[10000];
    client_send_string("v10000\n");
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    client_send(value, sizeof value - 1);
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    client_send(value, 1);
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 1);
    share_give(&server.limits.memory.bytes, &service.memory, 1000);
}

static void replies_that_wait_for_their_client_count_and_end_it_beyond_the_limit(void **state) {
    (void)state;
    limit_memory(100000);
    client_send_string("e1000000\n");
    assert_int_equal(serve_all(), CONNECTION_END);
    assert_int_equal(server.limits.memory.kinds[PROTO_MEMORY_OUTPUT].refused, 1);
    assert_int_equal(server.limits.memory.bytes.used, 0);
}

static void a_large_request_is_parked_at_its_own_cost(void **state) {
    (void)state;
    static char pipeline[20000] = "p\n";
    memset(pipeline + 2, 'e', sizeof pipeline - 3);
    pipeline[sizeof pipeline - 1] = '\n';
    limit_memory(1000);
    client_send(pipeline, sizeof pipeline);
    assert_int_equal(serve_all(), CONNECTION_LINGER); /* no memory to park it in */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_PAIR(what_a_connection_owns_is_counted_exactly),
        WITH_PAIR(memory_is_counted_as_bytes_come_not_as_they_are_announced),
        WITH_PAIR(a_large_request_beyond_the_limit_is_refused_with_a_word),
        WITH_PAIR(what_comes_behind_a_refused_pipeline_is_not_run),
        WITH_PAIR(small_requests_go_on_although_the_limit_is_reached),
        WITH_PAIR(replies_that_wait_for_their_client_count_and_end_it_beyond_the_limit),
        WITH_PAIR(a_large_request_is_parked_at_its_own_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
