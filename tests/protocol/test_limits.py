"""Limits of keys, values and request lines: after a refusal the connection is in step, or closed."""

import pytest

from support.servers import Memcached, Stayd

BAD_LINE = b"CLIENT_ERROR bad command line format\r\n"
TOO_LARGE = b"SERVER_ERROR object too large for cache\r\n"

ONE_KEY_COMMANDS = [b"get %b", b"gets %b", b"gat 0 %b", b"gats 0 %b", b"touch %b 0", b"delete %b",
                    b"incr %b 1", b"decr %b 1", b"mg %b v", b"md %b", b"ma %b"]


@pytest.mark.parametrize("command", ONE_KEY_COMMANDS, ids=repr)
def test_a_key_of_251_bytes_is_refused(connection, command):
    connection.ask(command % (b"k" * 251) + b"\r\n", BAD_LINE)


@pytest.mark.parametrize("command", ONE_KEY_COMMANDS, ids=repr)
def test_a_key_of_250_bytes_is_taken(connection, command):
    key = b"k" * 250
    connection.set(key, b"7")
    connection.send(command % key + b"\r\nmn\r\n")
    reply = connection.read_until(b"MN\r\n")
    assert b"ERROR" not in reply and b"NOT_FOUND" not in reply and reply != b"END\r\nMN\r\n"


REFUSED_WITH_LENGTH = [
    *(verb + b" " + b"k" * 251 + b" 0 0 9" for verb in (b"set", b"add", b"replace", b"append",
                                                       b"prepend")),
    b"cas " + b"k" * 251 + b" 0 0 9 1", b"ms " + b"k" * 251 + b" 9", b"set k x 0 9",
    b"set k -1 0 9", b"set k 0 x 9", b"set k 1x 0 9", b"cas k 0 0 9 x",
]
"""Storage lines that are refused, and that say that a value of nine bytes follows."""


@pytest.mark.parametrize("line", REFUSED_WITH_LENGTH, ids=lambda line: repr(line[:12]))
def test_a_storage_line_with_a_bad_key_or_number_is_refused(target, connection, line):
    connection.ask(line + b"\r\n" + target.value_of_refused(b"x" * 9), BAD_LINE)
    connection.ask(b"get k\r\n", b"END\r\n")


@pytest.mark.parametrize("line", REFUSED_WITH_LENGTH, ids=lambda line: repr(line[:12]))
def test_the_value_behind_a_refused_storage_line_is_not_run(stayd_connection, line):
    """A user who can choose a client's key and value must not be able to run commands with a key that is
    too long."""
    stayd_connection.set(b"k", b"old")
    stayd_connection.ask(line + b"\r\nflush_all\r\n", BAD_LINE)
    stayd_connection.expect_in_step()
    assert stayd_connection.get(b"k") == b"old"


def test_memcached_runs_the_value_behind_a_refused_storage_line():
    """This test shows why stayd differs from memcached here."""
    with Memcached() as server, server.connect() as connection:
        connection.set(b"k", b"old")
        connection.ask(b"set " + b"x" * 251 + b" 0 0 9\r\nflush_all\r\n", BAD_LINE + b"OK\r\n")
        assert connection.get(b"k") is None


def test_a_long_value_behind_a_refused_line_is_thrown_away_without_a_buffer(stayd_target):
    connection, witness = stayd_target.connect(), stayd_target.connect()
    before = stayd_target.server.resident_bytes()
    connection.send(b"set " + b"k" * 251 + b" 0 0 40000000\r\n")
    for _ in range(40):
        connection.send(b"mn\r\n" * 250_000)
    connection.expect(BAD_LINE)
    assert stayd_target.server.resident_bytes() - before < 8 << 20
    connection.send(b"\r\n")
    connection.expect_in_step()
    witness.expect_in_step()


def test_a_key_of_250_bytes_is_stored_and_read(connection):
    key = b"k" * 250
    assert connection.set(key, b"v") == b"STORED"
    connection.ask(b"get %b\r\n" % key, b"VALUE %b 0 1\r\nv\r\nEND\r\n" % key)


def test_a_base64_key_longer_than_250_bytes_is_refused(connection):
    connection.ask(b"mg %b b v\r\n" % (b"A" * 252), BAD_LINE)
    connection.ask(b"mg %b b\r\n" % (b"A" * 248), b"EN\r\n")


def test_a_long_key_among_others_is_refused_and_the_connection_goes_on(connection):
    connection.set(b"a", b"1")
    connection.send(b"get a " + b"k" * 251 + b" a\r\nmn\r\n")
    reply = connection.read_until(b"MN\r\n")
    assert reply.endswith(BAD_LINE + b"MN\r\n")


@pytest.mark.parametrize("length", [
    b"-1", b"-2147483648", b"2147483648", b"2147483647", b"9223372036854775807",
    b"9223372036854775808", b"18446744073709551616", b"99999999999999999999999", b"x", b"1x",
    b"0x1", b"1.5", b"-",
], ids=repr)
def test_a_length_that_is_none_is_refused_and_ends_the_connection(target, connection, length):
    """Without a length, nobody can know where the next request begins."""
    connection.set(b"k", b"old")
    target.expect_refused_without_length(b"set k 0 0 " + length, BAD_LINE)
    target.expect_refused_without_length(b"ms k " + length, BAD_LINE)
    assert connection.get(b"k") == b"old"


@pytest.mark.parametrize("line", [
    b"set", b"set k", b"set k 0", b"set k 0 0", b"set  0 0 1", b"cas k 0 0 1",
], ids=repr)
def test_a_storage_line_with_too_few_words_is_an_error_and_ends_the_connection(target, line):
    target.expect_refused_without_length(line, BAD_LINE, earlier=b"ERROR\r\n")


@pytest.mark.parametrize("line", [
    b"set k 0 0 1 noreply more", b"cas k 0 0 1 1 noreply more",
], ids=repr)
def test_a_storage_line_with_too_many_words_is_an_error_and_ends_the_connection(target, line):
    target.expect_refused_without_length(line, b"ERROR\r\n")


@pytest.mark.parametrize("line, reply", [
    (b"set the key 0 300 11", BAD_LINE),
    (b"set the key 0 300 11 noreply", b"ERROR\r\n"),
    (b"cas the key 0 300 11 5", BAD_LINE),
    (b"ms the key 11", BAD_LINE),
    (b"ms k 2 11", b"CLIENT_ERROR invalid flag\r\n"),
    (b"set k\n 0 300 11", BAD_LINE),
    (b" set k 0 300 11", b"ERROR\r\n"),
], ids=repr)
def test_a_key_with_a_space_or_a_line_end_does_not_let_its_value_be_run(stayd_target, line, reply):
    """The space moves the words, so that the word in the length's place is not the length."""
    stayd_target.connect().set(b"k", b"old")
    with stayd_target.connect() as connection:
        connection.send(line + b"\r\n\r\nflush_all\r\n\r\nmn\r\n")
        assert connection.read_to_end() == reply
    assert stayd_target.connect().get(b"k") == b"old"


@pytest.mark.parametrize("data", [b"vwxyz", b"vwxyz and more"], ids=repr)
def test_a_value_longer_than_announced_is_refused(connection, data):
    """The server reads as many bytes as announced, and two more. It takes the rest for a request, which is
    unknown."""
    connection.set(b"k", b"old")
    connection.ask(
        b"set k 0 0 1\r\n" + data + b"\r\n", b"CLIENT_ERROR bad data chunk\r\nERROR\r\n"
    )
    connection.ask(b"ms k 1\r\n" + data + b"\r\n", b"CLIENT_ERROR bad data chunk\r\nERROR\r\n")
    assert connection.get(b"k") in (None, b"old")


def test_a_value_shorter_than_announced_takes_what_follows_for_its_rest(connection):
    """The server reads two bytes, and two more for the line end. So the "m" of mn counts as part of the
    line end."""
    connection.ask(b"set k 0 0 2\r\na\r\nmnop\r\n", b"CLIENT_ERROR bad data chunk\r\nERROR\r\n")
    assert connection.get(b"k") is None


def test_a_value_too_large_is_thrown_away_and_the_connection_goes_on(connection):
    connection.set(b"k", b"old")
    for command in (b"set k 0 0 %d", b"add k 0 0 %d", b"replace k 0 0 %d", b"append k 0 0 %d",
                    b"prepend k 0 0 %d", b"cas k 0 0 %d 1", b"ms k %d"):
        connection.send(command % 3_000_000 + b"\r\n" + b"mn\r\n" * 750_000 + b"\r\n")
        connection.expect(TOO_LARGE)
        connection.expect_in_step()


def test_a_set_too_large_takes_the_old_value_out_of_a_cache_and_leaves_it_in_a_pool_that_keeps(
        target, connection):
    """memcached drops the old value: no value is better than one that the client tried to replace. But
    evict = no means that no live item is lost, so a session that has grown too large keeps its old
    value."""
    for line in (b"set k 0 0 3000000\r\n", b"ms k 3000000\r\n"):
        connection.set(b"k", b"old")
        connection.ask(line + b"x" * 3_000_000 + b"\r\n", TOO_LARGE)
        assert connection.get(b"k") == (b"old" if target.pool == "sessions" else None)


def test_an_add_or_append_too_large_leaves_the_old_value(connection):
    connection.set(b"k", b"old")
    connection.ask(b"add k 0 0 3000000\r\n" + b"x" * 3_000_000 + b"\r\n", TOO_LARGE)
    connection.ask(b"append k 0 0 3000000\r\n" + b"x" * 3_000_000 + b"\r\n", TOO_LARGE)
    assert connection.get(b"k") == b"old"


def test_appending_beyond_the_limit_leaves_the_old_value(connection):
    value = b"x" * 600_000
    connection.set(b"k", value)
    reply = connection.ask(b"append k 0 0 600000\r\n" + value + b"\r\n")
    assert reply in (b"NOT_STORED", TOO_LARGE[:-2])
    assert connection.get(b"k") == value


def test_item_max_is_the_largest_item():
    """item_max counts key and value."""
    with Stayd(cache={"item_max": "10K"}, sessions={"item_max": "10K"}) as stayd:
        for pool in ("cache", "sessions"):
            connection = stayd.connect(pool)
            largest = b"x" * (10 * 1024 - 1)
            assert connection.set(b"k", largest) == b"STORED"
            assert connection.get(b"k") == largest
            assert connection.set(b"l", largest + b"x") == TOO_LARGE[:-2]
            assert connection.get(b"l") is None
            connection.expect_in_step()


def test_item_max_may_be_raised():
    with Stayd(sessions={"item_max": "4M", "memory": "64M"}) as stayd:
        connection = stayd.connect("sessions")
        value = bytes(range(256)) * (4 * 1024 * 4 - 1)
        assert connection.set(b"k", value) == b"STORED"
        assert connection.get(b"k") == value


def test_a_line_of_2048_bytes_is_read(connection):
    for command, reply in ((b"%b", b"ERROR\r\n"), (b"get k%b", b"END\r\n")):
        padding = b" " * (2048 - len(command % b"") - 2)
        if reply == b"ERROR\r\n":
            padding = b"x" * len(padding)
        connection.ask(command % padding + b"\r\n", reply)


def test_a_longer_multi_get_goes_on(connection):
    """memcached has no limit for `get`, and clients send hundreds of keys of 100 bytes in one line."""
    keys = [b"%0100d" % number for number in range(400)]
    connection.set(keys[399], b"v")
    connection.ask(b"get " + b" ".join(keys) + b"\r\n", b"VALUE %b 0 1\r\nv\r\nEND\r\n" % keys[399])
    connection.ask(b"gets " + b" ".join(keys[:399]) + b"\r\n", b"END\r\n")


@pytest.mark.parametrize("start", [b"x", b"set k 0 0 ", b"mg k ", b"delete ", b"\x00", b"mn "])
def test_an_endless_line_is_refused_before_it_takes_memory(stayd_target, start):
    with stayd_target.connect() as connection:
        try:
            connection.send(start + b"x" * 1_000_000)
        except OSError:
            pass
        reply = connection.read_to_end()
        assert reply == b"" or reply.startswith((b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")), reply
        assert len(reply) < 200
    with stayd_target.connect() as connection:
        connection.expect_in_step()


@pytest.mark.parametrize("byte", [*range(0x0A), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])
def test_a_control_byte_in_a_key_is_refused(stayd_connection, byte):
    """protocol.txt: "the key must not include control characters"; memcached lets them through.

    Django and pymemcache refuse them before they are sent, because other servers misread them.
    """
    connection = stayd_connection
    key = b"a%cb" % byte
    for command in (b"get %b", b"delete %b", b"touch %b 0", b"incr %b 1", b"gat 0 %b", b"mg %b v",
                    b"md %b", b"ma %b", b"set %b 0 0 1\r\nv", b"ms %b 1\r\nv"):
        line = connection.ask(command % key + b"\r\n")
        assert line.startswith((b"CLIENT_ERROR", b"ERROR")), (command, line)
        connection.expect_in_step()


def test_a_carriage_return_within_a_key_is_refused(stayd_connection):
    line = stayd_connection.ask(b"get a\rb\r\n")
    assert line.startswith(b"CLIENT_ERROR")


def test_memcached_itself_has_a_limit_on_lines_without_an_end():
    """This is why stayd may close the connection: memcached closes it, too."""
    with Memcached() as server, server.connect() as connection:
        try:
            connection.send(b"x" * 1_000_000)
        except OSError:
            pass
        connection.expect_closed()
