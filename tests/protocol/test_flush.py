"""flush_all, at once and with a delay. The delayed ones wait for real seconds."""

import time

import pytest

from support.servers import Memcached, Stayd, together, wait_until

BAD_DELAY = b"CLIENT_ERROR invalid exptime argument\r\n"


def test_flush_all_forgets_every_item(connection):
    for number in range(500):
        connection.send(b"set k%d 0 0 1 noreply\r\nv\r\n" % number)
    connection.ask(b"flush_all\r\n", b"OK\r\n")
    for number in range(500):
        assert connection.get(b"k%d" % number) is None


def test_what_is_stored_in_the_same_instant_after_a_flush_stays(connection):
    for _ in range(20):
        connection.ask(
            b"set k 0 0 1\r\na\r\nflush_all\r\nget k\r\nset k 0 0 1\r\nb\r\nget k\r\n",
            b"STORED\r\nOK\r\nEND\r\nSTORED\r\nVALUE k 0 1\r\nb\r\nEND\r\n",
        )


def test_a_flushed_item_is_missing_to_every_command(connection):
    connection.set(b"k", b"1")
    connection.ask(b"flush_all\r\n", b"OK\r\n")
    connection.ask(b"touch k 0\r\n", b"NOT_FOUND\r\n")
    connection.ask(b"incr k 1\r\n", b"NOT_FOUND\r\n")
    connection.ask(b"append k 0 0 1\r\nx\r\n", b"NOT_STORED\r\n")
    connection.ask(b"replace k 0 0 1\r\nx\r\n", b"NOT_STORED\r\n")
    connection.ask(b"delete k\r\n", b"NOT_FOUND\r\n")
    connection.ask(b"mg k\r\n", b"EN\r\n")
    connection.ask(b"add k 0 0 1\r\nx\r\n", b"STORED\r\n")


@pytest.mark.parametrize("delay", [b"0", b"-1", b"-10"])
def test_a_delay_that_is_not_in_the_future_flushes_at_once(connection, delay):
    connection.set(b"k", b"v")
    connection.ask(b"flush_all " + delay + b"\r\n", b"OK\r\n")
    connection.ask(b"get k\r\n", b"END\r\n")


@pytest.mark.parametrize("argument", [b"x", b"1x"])
def test_a_delay_that_is_no_number_flushes_nothing(connection, argument):
    connection.set(b"k", b"v")
    connection.ask(b"flush_all " + argument + b"\r\n", BAD_DELAY)
    assert connection.get(b"k") == b"v"


def test_a_far_flush_takes_nothing_yet(own_connection):
    own_connection.set(b"k", b"v")
    own_connection.ask(b"flush_all 1000\r\n", b"OK\r\n")
    assert own_connection.get(b"k") == b"v"
    own_connection.set(b"l", b"v")
    assert own_connection.get(b"l") == b"v"


def test_a_delayed_flush_comes_when_it_is_due_and_takes_what_was_stored_before():
    """A delayed flush removes all items that were stored before it falls due, also those stored after the
    command. It does not remove later items."""
    together(
        lambda: delayed_flush(Memcached, None),
        lambda: delayed_flush(Stayd, "cache"),
        lambda: delayed_flush(Stayd, "sessions"),
    )


def delayed_flush(kind, pool):
    """The test above, on one server."""
    with kind() as server:
        connection = server.connect(pool)
        connection.set(b"before", b"v")
        asked = time.time()
        connection.ask(b"flush_all 2\r\n", b"OK\r\n")
        connection.set(b"meanwhile", b"v")
        assert connection.get(b"before") == b"v"
        looked = [asked]  # when each read was sent; the last read but one still found the item

        def is_gone():
            looked.append(time.time())
            return connection.get(b"before") is None

        wait_until(is_gone, 10, "the flush")
        assert time.time() - asked > 0.9, "a flush in 2 s (+/- 1) came too early"
        assert looked[-2] - asked < 3.2, "a flush in 2 s (+/- 1) came too late"
        assert connection.get(b"meanwhile") is None
        if kind is Memcached:  # its flush also removes items of the second in which it is due
            wait_until(lambda: connection.set(b"after", b"v") and connection.get(b"after"), 3)
        connection.set(b"after", b"v")
        assert connection.get(b"after") == b"v"
        due = asked + 4
        wait_until(lambda: time.time() > due or connection.get(b"after") is None, 5)
        assert connection.get(b"after") == b"v", "the flush came twice"


def test_a_delayed_flush_is_exact_to_the_second():
    with Stayd() as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"k", b"v")
        asked = time.time()
        connection.ask(b"flush_all 2\r\n", b"OK\r\n")
        due = int(asked) + 2
        while time.time() < due:
            value, read = connection.get(b"k"), time.time()
            assert value == b"v" or read >= due, f"flushed {due - read:.3f} s too early"
        late = due + 0.1
        wait_until(lambda: time.time() > late, 5)
        assert connection.get(b"k") is None


def test_a_later_flush_replaces_one_that_waits():
    with Stayd() as stayd:
        connection = stayd.connect("cache")
        connection.set(b"k", b"v")
        connection.ask(b"flush_all 1\r\n", b"OK\r\n")
        connection.ask(b"flush_all 1000\r\n", b"OK\r\n")
        until = time.time() + 2.2
        wait_until(lambda: time.time() > until or connection.get(b"k") is None, 5)
        assert connection.get(b"k") == b"v"
