/* How one connection reads requests and answers them, and how it ends (connection_pair.h). */
#include "connection_pair.h"

#include "net/budget.h"

#include <string.h>
#include <sys/socket.h>

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

/* Reads replies, in place of a client that is always fast enough. */
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

static void one_turn_answers_a_bounded_number_of_requests(void **state) {
    (void)state;
    server.limits.requests_per_turn = 20;
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

static void a_client_that_is_gone_ends_the_connection(void **state) {
    (void)state;
    client_send_string("e1000000\n");
    assert_int_equal(serve_all(), CONNECTION_STALLED);
    client_close();
    assert_int_equal(serve_all(), CONNECTION_END);
}

int main(void) {
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
        WITH_PAIR(one_turn_answers_a_bounded_number_of_requests),
        WITH_PAIR(a_client_that_is_gone_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
