"""get and gets; gat and gats are in test_touch.py."""

import pytest


def test_a_missing_key_gives_only_the_end(connection):
    connection.ask(b"get k\r\n", b"END\r\n")
    connection.ask(b"gets k\r\n", b"END\r\n")


def test_get_returns_the_keys_that_exist_in_the_order_asked(connection):
    connection.set(b"a", b"1")
    connection.set(b"c", b"3", flags=9)
    connection.ask(b"get c b a\r\n", b"VALUE c 9 1\r\n3\r\nVALUE a 0 1\r\n1\r\nEND\r\n")


def test_a_key_asked_twice_is_answered_twice(connection):
    connection.set(b"a", b"1")
    connection.ask(b"get a a\r\n", b"VALUE a 0 1\r\n1\r\nVALUE a 0 1\r\n1\r\nEND\r\n")


def test_gets_adds_a_cas_number_to_each_item(connection):
    connection.set(b"a", b"1")
    connection.set(b"b", b"2")
    connection.send(b"gets a b\r\n")
    first = connection.read_line().split(b" ")
    connection.expect(b"1\r\n")
    second = connection.read_line().split(b" ")
    connection.expect(b"2\r\nEND\r\n")
    assert first[:4] == [b"VALUE", b"a", b"0", b"1"] and second[:4] == [b"VALUE", b"b", b"0", b"1"]
    assert 0 < int(first[4]) < 2**64 and 0 < int(second[4]) < 2**64
    assert first[4] != second[4]


@pytest.mark.parametrize("count", [20, 24, 25, 100, 1000])
def test_a_multi_get_of_many_keys_is_answered_whole(connection, count):
    keys = [b"some-rather-long-key-%d" % number for number in range(count)]
    for key in keys[::2]:
        connection.send(b"set %b 0 0 %d noreply\r\n%b\r\n" % (key, len(key), key))
    found = b"".join(b"VALUE %b 0 %d\r\n%b\r\n" % (key, len(key), key) for key in keys[::2])
    connection.ask(b"get " + b" ".join(keys) + b"\r\n", found + b"END\r\n")


def test_large_values_in_one_multi_get_come_back_whole(connection):
    values = {b"k%d" % n: bytes([65 + n]) * 300_000 for n in range(8)}
    for key, value in values.items():
        assert connection.set(key, value) == b"STORED"
    connection.ask(
        b"get " + b" ".join(values) + b"\r\n",
        b"".join(b"VALUE %b 0 300000\r\n%b\r\n" % item for item in values.items()) + b"END\r\n",
    )


def test_a_command_name_is_lower_case(connection):
    connection.ask(b"GET k\r\n", b"ERROR\r\n")
    connection.ask(b"Set k\r\n", b"ERROR\r\n")
