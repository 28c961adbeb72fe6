/* A connection that a worker serves together with others (connection_prepare_receive and the
 * functions after it): its bytes and states are those of a connection that is served alone. */
#include "connection_pair.h"

#include "net/budget.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static char received[LOAN_BYTES];
static struct transfer transfer;

/* Receives bytes for the connection, as the worker does. */
static void receive_ahead(void) {
    pair.connection->readable = true;
    assert_true(connection_can_receive_ahead(pair.connection, &pair.loan));
    connection_prepare_receive(pair.connection, &pair.loan, received, &transfer);
    transfer.result = recv(transfer.fd, transfer.data, transfer.size, MSG_DONTWAIT);
    if (transfer.result < 0) {
        transfer.result = -errno;
    }
}

/* Serves the connection with the bytes that were received. */
static enum connection_next serve_received(void) {
    char *own = pair.loan.input;
    pair.loan.input = received;
    pair.loan.received = &transfer;
    pair.loan.may_defer = true;
    enum connection_next next = connection_serve(pair.connection, &pair.loan, &pair.progress);
    assert_null(pair.loan.received);
    pair.loan.input = own;
    pair.loan.may_defer = false;
    return next;
}

static enum connection_next finish(ssize_t result) {
    return connection_finish_send(pair.connection, &pair.loan, &pair.loan.replies, result,
                                  &pair.progress);
}

static void replies_wait_for_the_worker_that_sends_them(void **state) {
    (void)state;
    client_send_string("e3\ne4\n");
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_SENDING);
    assert_int_equal(pair.loan.replies.size, 7);
    assert_int_equal(client_take(), 0);
    assert_int_equal(finish(7), CONNECTION_IDLE);
    assert_true(pair.progress);
    assert_int_equal(pair.loan.replies.size, 0);
    assert_int_equal(pair.loan.bytes_written, 7);
    assert_int_equal(pair.loan.bytes_read, 6);
    assert_null(pair.connection->input.data);
}

static void what_the_socket_does_not_take_is_sent_later(void **state) {
    (void)state;
    client_send_string("e10\n");
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_SENDING);
    assert_int_equal(finish(4), CONNECTION_STALLED);
    assert_int_equal(pair.connection->output.size, 6);
    pair.connection->writable = true;
    assert_int_equal(connection_serve(pair.connection, &pair.loan, &pair.progress),
                     CONNECTION_IDLE);
    assert_int_equal(client_take(), 6);
}

static void a_full_socket_keeps_all_replies(void **state) {
    (void)state;
    const int results[] = {-EAGAIN, -EINTR};
    for (unsigned i = 0; i < 2; i++) {
        client_send_string("e10\n");
        receive_ahead();
        assert_int_equal(serve_received(), CONNECTION_SENDING);
        assert_int_equal(finish(results[i]), CONNECTION_STALLED);
        assert_int_equal(pair.connection->output.size, 10);
        pair.connection->writable = true;
        assert_int_equal(connection_serve(pair.connection, &pair.loan, &pair.progress),
                         CONNECTION_IDLE);
        assert_int_equal(client_take(), 10);
    }
}

static void a_send_that_fails_ends_the_connection(void **state) {
    (void)state;
    client_send_string("e10\n");
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_SENDING);
    assert_int_equal(finish(-EPIPE), CONNECTION_END);
    assert_int_equal(pair.loan.replies.size, 0);
}

static void a_receive_that_fails_ends_the_connection(void **state) {
    (void)state;
    receive_ahead();
    assert_int_equal(transfer.result, -EAGAIN);
    assert_int_equal(serve_received(), CONNECTION_IDLE);
    receive_ahead();
    transfer.result = -ECONNRESET;
    assert_int_equal(serve_received(), CONNECTION_END);
    assert_true(pair.connection->failed);
}

static void an_interrupted_receive_is_made_again(void **state) {
    (void)state;
    receive_ahead();
    client_send_string("e3\n");
    transfer.result = -EINTR;
    assert_int_equal(serve_received(), CONNECTION_SENDING);
    assert_int_equal(finish(3), CONNECTION_IDLE);
}

static void the_end_of_the_stream_is_received_too(void **state) {
    (void)state;
    client_send_string("e3\n");
    client_close();
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_SENDING);
    pair.connection->input_ending = true;
    assert_int_equal(finish(3), CONNECTION_IDLE);
    receive_ahead();
    assert_int_equal(transfer.result, 0);
    assert_int_equal(serve_received(), CONNECTION_END);
}

static void a_request_in_pieces_is_put_together(void **state) {
    (void)state;
    const char *request = "e12\n";
    for (unsigned i = 0; request[i] != '\0'; i++) {
        client_send(request + i, 1);
        receive_ahead();
        assert_int_equal(serve_received(),
                         request[i] == '\n' ? CONNECTION_SENDING : CONNECTION_IDLE);
    }
    assert_int_equal(pair.loan.replies.size, 12);
    assert_int_equal(finish(12), CONNECTION_IDLE);
}

static void the_half_of_a_request_behind_the_replies_is_kept(void **state) {
    (void)state;
    client_send_string("e3\ne1");
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_SENDING);
    memset(received, 'z', sizeof received); /* another connection uses the buffer */
    assert_int_equal(finish(3), CONNECTION_IDLE);
    client_send_string("0\n");
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_SENDING);
    assert_int_equal(pair.loan.replies.size, 10);
    assert_int_equal(finish(10), CONNECTION_IDLE);
}

static void large_replies_are_sent_by_the_connection_itself(void **state) {
    (void)state;
    client_send_string("e20000\n");
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 20000);
}

static void the_last_replies_are_sent_before_the_connection_closes(void **state) {
    (void)state;
    client_send_string("e3\nq\n");
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_LINGER);
    assert_int_equal(client_take(), 3);
    assert_true(client_sees_end());
    assert_false(connection_can_receive_ahead(pair.connection, &pair.loan));
}

static void replies_that_wait_for_the_disk_wait(void **state) {
    (void)state;
    disk.asked_for = true;
    disk.status = STATUS_PENDING;
    client_send_string("e3\n");
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_HELD);
    assert_int_equal(client_take(), 0);
    pair.connection->readable = true;
    assert_false(connection_can_receive_ahead(pair.connection, &pair.loan));
    disk.asked_for = false;
    disk.status = STATUS_OK;
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 3);
}

static void a_request_that_waits_for_room_waits(void **state) {
    (void)state;
    client_send_string("e3\np\n");
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_PARKED);
    assert_int_equal(client_take(), 3);
    pair.connection->readable = true;
    assert_false(connection_can_receive_ahead(pair.connection, &pair.loan));
    room.there = true;
    room.turn++;
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 1);
}

static void a_large_request_is_not_received_ahead(void **state) {
    (void)state;
    client_send_string("v60000\n");
    receive_ahead();
    assert_int_equal(serve_received(), CONNECTION_IDLE);
    pair.connection->readable = true;
    assert_false(connection_can_receive_ahead(pair.connection, &pair.loan));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_PAIR(replies_wait_for_the_worker_that_sends_them),
        WITH_PAIR(what_the_socket_does_not_take_is_sent_later),
        WITH_PAIR(a_full_socket_keeps_all_replies),
        WITH_PAIR(a_send_that_fails_ends_the_connection),
        WITH_PAIR(a_receive_that_fails_ends_the_connection),
        WITH_PAIR(an_interrupted_receive_is_made_again),
        WITH_PAIR(the_end_of_the_stream_is_received_too),
        WITH_PAIR(a_request_in_pieces_is_put_together),
        WITH_PAIR(the_half_of_a_request_behind_the_replies_is_kept),
        WITH_PAIR(large_replies_are_sent_by_the_connection_itself),
        WITH_PAIR(the_last_replies_are_sent_before_the_connection_closes),
        WITH_PAIR(replies_that_wait_for_the_disk_wait),
        WITH_PAIR(a_request_that_waits_for_room_waits),
        WITH_PAIR(a_large_request_is_not_received_ahead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
