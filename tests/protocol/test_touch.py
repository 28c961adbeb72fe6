"""touch, gat and gats."""

import pytest

BAD_EXPIRY = b"CLIENT_ERROR invalid exptime argument\r\n"


def remaining(connection, key):
    """The item's remaining seconds as `mg t` tells it; -1 for no expiry."""
    line = connection.ask(b"mg %b t\r\n" % key)
    assert line.startswith(b"HD t"), line
    return int(line[4:])


def test_touch_sets_the_expiry_and_nothing_else(connection):
    connection.set(b"k", b"v", flags=3)
    cas = connection.ask(b"mg k c\r\n")
    connection.ask(b"touch k 100\r\n", b"TOUCHED\r\n")
    assert remaining(connection, b"k") in (99, 100)
    connection.ask(b"get k\r\n", b"VALUE k 3 1\r\nv\r\nEND\r\n")
    assert connection.ask(b"mg k c\r\n") == cas


def test_touch_with_zero_takes_the_expiry_away(connection):
    connection.set(b"k", b"v", expiry=100)
    connection.ask(b"touch k 0\r\n", b"TOUCHED\r\n")
    assert remaining(connection, b"k") == -1


def test_touch_with_a_negative_expiry_ends_the_item(connection):
    connection.set(b"k", b"v")
    connection.ask(b"touch k -1\r\n", b"TOUCHED\r\n")
    connection.ask(b"get k\r\n", b"END\r\n")


def test_touch_of_a_missing_key_is_not_found(connection):
    connection.ask(b"touch k 10\r\n", b"NOT_FOUND\r\n")


def test_touch_does_not_bring_an_expired_item_back(connection):
    connection.set(b"k", b"v", expiry=-1)
    connection.ask(b"touch k 100\r\n", b"NOT_FOUND\r\n")
    connection.ask(b"get k\r\n", b"END\r\n")


@pytest.mark.parametrize("command", [b"touch k x", b"touch k 1x", b"touch k 1.5"], ids=repr)
def test_touch_with_a_bad_expiry_changes_nothing(connection, command):
    connection.set(b"k", b"v")
    connection.ask(command + b"\r\n", BAD_EXPIRY)
    assert remaining(connection, b"k") == -1


def test_gat_returns_the_items_and_sets_their_expiry(connection):
    connection.set(b"a", b"1", flags=5)
    connection.set(b"b", b"2", expiry=10)
    connection.ask(b"gat 100 a x b\r\n", b"VALUE a 5 1\r\n1\r\nVALUE b 0 1\r\n2\r\nEND\r\n")
    assert remaining(connection, b"a") in (99, 100)
    assert remaining(connection, b"b") in (99, 100)
    connection.ask(b"gat 0 a\r\n", b"VALUE a 5 1\r\n1\r\nEND\r\n")
    assert remaining(connection, b"a") == -1


def test_gats_adds_the_same_cas_number_as_gets(connection):
    connection.set(b"a", b"1")
    connection.send(b"gets a\r\n")
    reply = connection.read_until(b"END\r\n")
    connection.ask(b"gats 100 a\r\n", reply)
    assert remaining(connection, b"a") in (99, 100)


def test_gat_with_a_bad_expiry_is_refused(connection):
    connection.ask(b"gat x a\r\n", BAD_EXPIRY)
    connection.ask(b"gats x a\r\n", BAD_EXPIRY)


def test_a_touched_item_keeps_a_large_value(connection):
    value = bytes(range(256)) * 1000
    connection.set(b"k", value)
    connection.ask(b"touch k 100\r\n", b"TOUCHED\r\n")
    assert connection.get(b"k") == value
