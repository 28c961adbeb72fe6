/* Connections whose requests wait: for the disk, and for room in the pool (connection_pair.h). */
#include "connection_pair.h"

static void replies_are_held_until_their_writes_are_on_the_disk(void **state) {
    (void)state;
    disk.asked_for = true;
    disk.status = STATUS_PENDING;
    client_send_string("e3\ne4\n");
    assert_int_equal(serve_all(), CONNECTION_HELD);
    assert_int_equal(client_take(), 0);
    assert_false(connection_may_send(pair.connection));
    client_send_string("e5\n");
    assert_int_equal(serve_all(), CONNECTION_HELD);
    assert_int_equal(disk.tickets, 1); /* not read meanwhile, so that replies stay in order */

    disk.asked_for = false;
    disk.status = STATUS_OK;
    assert_true(connection_may_send(pair.connection));
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
    assert_true(connection_may_send(pair.connection)); /* the connection does not wait for ever */
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

static void a_request_without_room_is_parked_behind_its_replies_and_run_again(void **state) {
    (void)state;
    client_send_string("e3\np\ne2\n");
    assert_int_equal(serve_all(), CONNECTION_PARKED);
    assert_int_equal(client_take(), 3); /* the requests before it are answered */
    client_send_string("e7\n");         /* the requests behind it wait */
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
    assert_int_equal(serve_all(), CONNECTION_PARKED); /* the second one, whose time begins now */
    assert_true(pair.progress);
    assert_int_equal(client_take(), 1);
    connection_refuse_room(pair.connection);
    assert_int_equal(serve_all(), CONNECTION_IDLE);
    assert_int_equal(client_take(), 1);
}

/* Otherwise the wake-up would be lost, and the request would wait until the next wake-up. */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_PAIR(replies_are_held_until_their_writes_are_on_the_disk),
        WITH_PAIR(writes_that_the_disk_refused_are_not_acknowledged),
        WITH_PAIR(a_batch_without_replies_is_held_too),
        WITH_PAIR(a_request_without_room_is_parked_behind_its_replies_and_run_again),
        WITH_PAIR(a_request_that_has_waited_for_room_too_long_is_refused_alone),
        WITH_PAIR(room_that_comes_while_replies_are_held_is_not_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
