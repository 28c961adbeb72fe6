"""incr and decr."""

import pytest

from support.servers import Memcached, Stayd

NON_NUMERIC = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
BAD_DELTA = b"CLIENT_ERROR invalid numeric delta argument\r\n"


def test_incr_and_decr_return_the_new_number(connection):
    connection.set(b"n", b"10")
    connection.ask(b"incr n 5\r\n", b"15\r\n")
    connection.ask(b"decr n 4\r\n", b"11\r\n")
    connection.ask(b"get n\r\n", b"VALUE n 0 2\r\n11\r\nEND\r\n")


def test_arithmetic_on_a_missing_key_is_not_found(connection):
    connection.ask(b"incr n 1\r\n", b"NOT_FOUND\r\n")
    connection.ask(b"decr n 1\r\n", b"NOT_FOUND\r\n")
    connection.ask(b"get n\r\n", b"END\r\n")


def test_a_number_that_grows_gets_longer(connection):
    connection.set(b"n", b"9")
    connection.ask(b"incr n 1\r\n", b"10\r\n")
    connection.ask(b"incr n 999990\r\n", b"1000000\r\n")
    connection.ask(b"get n\r\n", b"VALUE n 0 7\r\n1000000\r\nEND\r\n")


def test_a_number_that_shrinks_is_right_but_for_padding(connection):
    """protocol.txt: a decremented number may be space-padded at the end."""
    connection.set(b"n", b"1000")
    connection.ask(b"decr n 1\r\n", b"999\r\n")
    assert connection.get(b"n").rstrip(b" ") == b"999"
    connection.ask(b"incr n 2\r\n", b"1001\r\n")
    assert connection.get(b"n") == b"1001"


def test_decr_stops_at_zero(connection):
    connection.set(b"n", b"3")
    connection.ask(b"decr n 4\r\n", b"0\r\n")
    connection.ask(b"decr n 1\r\n", b"0\r\n")


@pytest.mark.parametrize("kind, pool", [(Memcached, None), (Stayd, "cache"), (Stayd, "sessions")])
def test_incr_wraps_at_64_bits(kind, pool):
    """Runs on a fresh server, because memcached looks for a minus in old memory behind such numbers."""
    with kind() as server, server.connect(pool) as connection:
        connection.set(b"n", b"18446744073709551615")
        connection.ask(b"incr n 1\r\n", b"0\r\n")
        connection.set(b"n", b"18446744073709551614")
        connection.ask(b"incr n 1\r\n", b"18446744073709551615\r\n")
        connection.ask(b"incr n 18446744073709551615\r\n", b"18446744073709551614\r\n")
        connection.set(b"n", b"18446744073709551615")
        connection.ask(b"ma n v\r\n", b"VA 1\r\n0\r\n")


@pytest.mark.parametrize(
    "value", [b"x", b"1x", b"-1", b"x1", b"18446744073709551616", b"1.5", b"0x10"], ids=repr
)
def test_a_value_that_is_no_number_is_left_alone(connection, value):
    connection.set(b"n", value)
    connection.ask(b"incr n 1\r\n", NON_NUMERIC)
    connection.ask(b"decr n 1\r\n", NON_NUMERIC)
    assert connection.get(b"n") == value


@pytest.mark.parametrize(
    "value",
    [b" 5", b"5 ", b"  5  ", b"05", b"0" * 20 + b"5", b"\r\n5", b"+5", b" +05 ", b"5\x00x",
     b"5 and more", b"5\r\n6", b"0" * 100 + b"5", b" " * 3000 + b"5", b"5" + b" " * 3000],
    ids=lambda value: repr(value[:12]),
)
def test_a_number_at_the_start_counts_and_is_padded_to_the_old_length(connection, value):
    """White space, a plus and zeros may stand before the number, and white space and any bytes behind it,
    as in memcached. protocol.txt says that the padding is "at the end", and does not say how long it
    is."""
    connection.set(b"n", value)
    connection.ask(b"incr n 1\r\n", b"6\r\n")
    assert connection.get(b"n") == b"6".ljust(len(value))
    connection.ask(b"ma n MD D2 v\r\n", b"VA 1\r\n4\r\n")
    assert connection.get(b"n") == b"4".ljust(len(value))
    connection.ask(b"incr n 1000000\r\n", b"1000004\r\n")
    assert connection.get(b"n") == b"1000004".ljust(len(value))


def test_a_value_of_any_length_can_be_counted(stayd_connection):
    """memcached refuses arithmetic on an item of more than 512 KiB."""
    stayd_connection.set(b"n", b"10" + b" " * 999_998)
    stayd_connection.ask(b"decr n 1\r\n", b"9\r\n")
    assert stayd_connection.get(b"n") == b"9" + b" " * 999_999


def test_a_minus_makes_a_number_of_zero_alone(connection):
    for value, reply in ((b"-0", b"1\r\n"), (b" -00 ", b"1\r\n"), (b"-1", NON_NUMERIC)):
        connection.set(b"n", value)
        connection.ask(b"incr n 1\r\n", reply)


def test_a_minus_before_a_number_beyond_63_bits_makes_none(stayd_connection):
    """memcached reads this value as 1."""
    stayd_connection.set(b"n", b"-18446744073709551615")
    stayd_connection.ask(b"incr n 1\r\n", NON_NUMERIC)


@pytest.mark.parametrize("value", [b"", b" ", b"\r\n"], ids=repr)
def test_a_blank_value_is_no_number(stayd_connection, value):
    """In such a value memcached finds a number by chance: it looks for digits in the memory behind the
    item."""
    stayd_connection.set(b"n", value)
    stayd_connection.ask(b"incr n 1\r\n", NON_NUMERIC)
    stayd_connection.ask(b"ma n\r\n", NON_NUMERIC)
    assert stayd_connection.get(b"n") == value


@pytest.mark.parametrize("delta", [b"x", b"-1", b"1x", b"18446744073709551616", b"1.5"], ids=repr)
def test_a_delta_that_is_no_64_bit_number_is_refused(connection, delta):
    connection.set(b"n", b"10")
    connection.ask(b"incr n " + delta + b"\r\n", BAD_DELTA)
    connection.ask(b"decr n " + delta + b"\r\n", BAD_DELTA)
    assert connection.get(b"n") == b"10"


def test_arithmetic_keeps_flags_and_expiry(connection):
    connection.set(b"n", b"1", flags=42, expiry=100)
    connection.ask(b"incr n 100\r\n", b"101\r\n")
    connection.send(b"mg n f t\r\n")
    assert connection.read_line() in (b"HD f42 t100", b"HD f42 t99")


def test_arithmetic_changes_the_cas_number(connection):
    connection.set(b"n", b"1")
    before = connection.ask(b"mg n c\r\n")
    connection.ask(b"incr n 1\r\n", b"2\r\n")
    assert connection.ask(b"mg n c\r\n") != before


def test_increments_from_many_connections_all_count(target):
    connections = [target.connect() for _ in range(8)]
    connections[0].set(b"n", b"0")
    for one in connections:
        one.send(b"incr n 1 noreply\r\n" * 500)
    for one in connections:
        one.expect_in_step()
    assert connections[0].get(b"n") == b"4000"
