"""gets and cas: no update is lost between a read and a write."""

import threading

import pytest


def cas_of(connection, key):
    """The item's CAS number (bytes)."""
    line = connection.ask(b"mg %b c\r\n" % key)
    assert line.startswith(b"HD c"), line
    return line[4:]


def test_cas_stores_when_nothing_changed_since(connection):
    connection.set(b"k", b"1")
    number = cas_of(connection, b"k")
    connection.ask(b"cas k 9 0 1 %b\r\n2\r\n" % number, b"STORED\r\n")
    connection.ask(b"get k\r\n", b"VALUE k 9 1\r\n2\r\nEND\r\n")


def test_cas_tells_that_the_item_changed(connection):
    connection.set(b"k", b"1")
    number = cas_of(connection, b"k")
    connection.set(b"k", b"2")
    connection.ask(b"cas k 0 0 1 %b\r\n3\r\n" % number, b"EXISTS\r\n")
    assert connection.get(b"k") == b"2"


def test_cas_of_a_missing_key_is_not_found(connection):
    connection.ask(b"cas k 0 0 1 1\r\nv\r\n", b"NOT_FOUND\r\n")
    connection.ask(b"get k\r\n", b"END\r\n")


def test_cas_of_a_deleted_and_stored_again_key_tells_that_it_changed(connection):
    connection.set(b"k", b"1")
    number = cas_of(connection, b"k")
    connection.ask(b"delete k\r\n", b"DELETED\r\n")
    connection.set(b"k", b"1")
    connection.ask(b"cas k 0 0 1 %b\r\n3\r\n" % number, b"EXISTS\r\n")


def test_a_cas_number_works_once(connection):
    connection.set(b"k", b"1")
    number = cas_of(connection, b"k")
    connection.ask(b"cas k 0 0 1 %b\r\n2\r\n" % number, b"STORED\r\n")
    connection.ask(b"cas k 0 0 1 %b\r\n3\r\n" % number, b"EXISTS\r\n")
    assert connection.get(b"k") == b"2"


@pytest.mark.parametrize("command", [
    b"set k 0 0 1\r\n1\r\n", b"replace k 0 0 1\r\n1\r\n", b"append k 0 0 1\r\n1\r\n",
    b"prepend k 0 0 1\r\n1\r\n", b"incr k 1\r\n", b"decr k 1\r\n", b"ms k 1\r\n1\r\n",
    b"ma k\r\n", b"md k I\r\n",
], ids=repr)
def test_every_change_gives_a_new_cas_number(connection, command):
    connection.set(b"k", b"1")
    number = cas_of(connection, b"k")
    connection.ask(command)
    line = connection.ask(b"mg k c\r\n")
    assert line.startswith(b"HD c") and line.split(b" ")[1][1:] != number


@pytest.mark.parametrize("command", [b"get k\r\n", b"touch k 100\r\n", b"gat 100 k\r\n"], ids=repr)
def test_reading_and_touching_keep_the_cas_number(connection, command):
    connection.set(b"k", b"1")
    number = cas_of(connection, b"k")
    connection.send(command + b"mn\r\n")
    connection.read_until(b"MN\r\n")
    assert cas_of(connection, b"k") == number


@pytest.mark.parametrize("number", [b"x", b"-1", b"18446744073709551616"], ids=repr)
def test_a_cas_number_that_is_none_is_refused(target, connection, number):
    connection.set(b"k", b"1")
    connection.send(b"cas k 0 0 2 " + number + b"\r\n" + target.value_of_refused(b"mn"))
    connection.expect(b"CLIENT_ERROR bad command line format\r\n")
    assert connection.get(b"k") == b"1"


def test_cas_without_a_number_is_an_error(target):
    target.expect_refused_without_length(b"cas k 0 0 2", b"CLIENT_ERROR bad command line format\r\n",
                                         earlier=b"ERROR\r\n")


def test_of_concurrent_cas_loops_no_increment_is_lost(target):
    writers, rounds = 4, 60
    target.connect().set(b"n", b"0")

    def count_up():
        with target.connect() as connection:
            for _ in range(rounds):
                while True:
                    connection.send(b"gets n\r\n")
                    number = connection.read_line().split(b" ")[4]
                    value = connection.read_line()
                    connection.expect(b"END\r\n")
                    new = b"%d" % (int(value) + 1)
                    reply = connection.ask(b"cas n 0 0 %d %b\r\n%b\r\n" % (len(new), number, new))
                    assert reply in (b"STORED", b"EXISTS")
                    if reply == b"STORED":
                        break

    threads = [threading.Thread(target=count_up) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.connect().get(b"n") == b"%d" % (writers * rounds)
