"""The binary protocol on real connections, to memcached and to both pools of stayd.

tests/unit/test_proto_binary_*.c test more, without a socket.
"""

import re
import socket

import pytest

from support import binary
from support.binary import (
    EXISTS, INVALID, NON_NUMERIC, NOT_FOUND, NOT_STORED, OK, TOO_LARGE, UNKNOWN_COMMAND,
    ask, count, expect_in_step, read_response, request, responses, seconds, store,
)
from support.servers import Stayd


@pytest.fixture
def binary_connection(target):
    """A binary connection to each server, which must be in step when the test ends."""
    with target.connect() as connection:
        yield connection
        expect_in_step(connection)


def test_both_protocols_see_the_same_items_on_one_port(target, binary_connection):
    stored = ask(binary_connection, binary.SET, b"k", store(flags=7), b"value")
    assert stored.status == OK and stored.cas > 0
    with target.connect() as text:
        text.ask(b"gets k\r\n", b"VALUE k 7 5 %d\r\nvalue\r\nEND\r\n" % stored.cas)
        text.ask(b"set k 9 0 1\r\nx\r\n", b"STORED\r\n")
    got = ask(binary_connection, binary.GETK, b"k")
    assert (got.extras, got.key, got.value) == (b"\0\0\0\x09", b"k", b"x")
    assert got.cas != stored.cas


def test_a_pipeline_is_answered_in_order_and_quietly(binary_connection):
    binary_connection.send(
        request(binary.SETQ, b"a", store(), b"1")
        + request(binary.GETKQ, b"none", opaque=1)
        + request(binary.GETKQ, b"a", opaque=2)
        + request(binary.ADDQ, b"a", store(), b"2", opaque=3)
        + request(binary.INCREMENTQ, b"a", count())
        + request(binary.GETQ, b"a", opaque=4)
        + request(binary.DELETEQ, b"a")
        + request(binary.DELETEQ, b"a", opaque=5)
        + request(binary.NOOP, opaque=6))
    seen = [read_response(binary_connection) for _ in range(5)]
    assert [(one.opcode, one.status, one.value, one.opaque) for one in seen] == [
        (binary.GETKQ, OK, b"1", 2),
        (binary.ADDQ, EXISTS, b"Data exists for key.", 3),
        (binary.GETQ, OK, b"2", 4),
        (binary.DELETEQ, NOT_FOUND, b"Not found", 5),
        (binary.NOOP, OK, b"", 6),
    ]


def test_a_pipeline_that_comes_byte_by_byte_is_answered_the_same(binary_connection):
    binary_connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pipeline = (request(binary.SET, b"a", store(), b"1") + request(binary.GET, b"a")
                + request(0x66, value=b"value") + request(binary.GETK, b"b"))
    for position in range(len(pipeline)):
        binary_connection.send(pipeline[position:position + 1])
    seen = [read_response(binary_connection) for _ in range(4)]
    assert [(one.status, one.value) for one in seen[:2]] == [(OK, b""), (OK, b"1")]
    assert seen[3][1:5] == (NOT_FOUND, b"", b"b", b"")


@pytest.mark.parametrize("size", [0, 1, 1000, 16_384, 100_000, 1_000_000])
def test_values_of_any_size_come_back(binary_connection, size):
    value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert ask(binary_connection, binary.SET, b"k", store(), value).status == OK
    assert ask(binary_connection, binary.GET, b"k").value == value


def test_a_value_too_large_is_refused_and_the_connection_goes_on(binary_connection):
    for opcode, extras in ((binary.SET, store()), (binary.ADDQ, store()), (binary.APPEND, b"")):
        refused = ask(binary_connection, opcode, b"k", extras, b"\x80" * 1_200_000)
        assert (refused.status, refused.value) == (TOO_LARGE, b"Too large.")
        expect_in_step(binary_connection)


def test_statuses_are_memcacheds(binary_connection):
    for expected, arguments in [
        ((NOT_FOUND, b"Not found"), (binary.GET, b"k")),
        ((NOT_FOUND, b"Not found"), (binary.REPLACE, b"k", store(), b"v")),
        ((NOT_STORED, b"Not stored."), (binary.APPEND, b"k", b"", b"v")),
        ((OK, b""), (binary.SET, b"k", store(), b"v")),
        ((EXISTS, b"Data exists for key."), (binary.ADD, b"k", store(), b"v")),
        ((NON_NUMERIC, b"Non-numeric server-side value for incr or decr"),
         (binary.INCREMENT, b"k", count())),
        ((NOT_FOUND, b"Not found"), (binary.DECREMENT, b"none", count(expiry=0xFFFFFFFF))),
        ((OK, b"\0\0\0\0\0\0\0\x05"), (binary.DECREMENT, b"n", count(initial=5))),
        ((UNKNOWN_COMMAND, b"Unknown command"), (0x77,)),
        ((UNKNOWN_COMMAND, b"Unknown command"), (binary.SASL_LIST,)),
        ((UNKNOWN_COMMAND, b"Unknown command"), (binary.SASL_AUTH, b"PLAIN", b"", b"\0u\0p")),
    ]:
        response = ask(binary_connection, *arguments)
        assert (response.status, response.value) == expected, arguments


@pytest.mark.parametrize("lie", [
    dict(opcode=binary.GET, key_size=5),
    dict(opcode=binary.GET, key=b"k", body_size=0),
    dict(opcode=binary.SET, key=b"k", extras=store(), body_size=8),
    dict(opcode=binary.NOOP, extras_size=255),
])
def test_sizes_that_do_not_add_up_close_the_connection(target, lie):
    with target.connect() as connection:
        connection.send(request(**lie) + b"\0" * 300)
        refused = read_response(connection)
        assert (refused.status, refused.value) == (UNKNOWN_COMMAND, b"Unknown command")
        connection.expect_closed()


@pytest.mark.parametrize("lie", [
    dict(opcode=binary.GET),
    dict(opcode=binary.GET, key=b"k" * 251),
    dict(opcode=binary.GET, key=b"k", value=b"v"),
    dict(opcode=binary.GET, key=b"k", extras=b"e"),
    dict(opcode=binary.GET, key=b"k", body_size=0xFFFFFFFF),
    dict(opcode=binary.SET, key=b"k", extras=b"e", value=b"v"),
    dict(opcode=binary.DELETE, key=b"k", value=b"v"),
    dict(opcode=binary.INCREMENT, key=b"k", extras=b"\0" * 4),
    dict(opcode=binary.APPEND, key=b"k", extras=store()),
    dict(opcode=binary.TOUCH, key=b"k"),
    dict(opcode=binary.NOOP, key=b"k"),
    dict(opcode=binary.VERSION, value=b"v"),
    dict(opcode=binary.QUIT, key=b"k"),
    dict(opcode=binary.FLUSH, extras=b"\0" * 8),
    dict(opcode=binary.STAT, extras=b"\0"),
    dict(opcode=binary.SASL_AUTH, value=b"\0u\0p"),
], ids=str)
def test_a_body_that_the_opcode_cannot_have_closes_the_connection(target, lie):
    with target.connect() as connection:
        connection.send(request(**lie) + b"\0" * 300)
        refused = read_response(connection)
        assert (refused.status, refused.value) == (INVALID, b"Invalid arguments")
        connection.expect_closed()


def test_a_bad_magic_closes_the_connection_without_a_word(target):
    with target.connect() as connection:
        expect_in_step(connection)
        connection.send(request(binary.NOOP, magic=0x81))
        connection.expect_closed()


def test_quit_answers_and_closes_and_quitq_closes(target):
    for opcode, said in ((binary.QUIT, 1), (binary.QUITQ, 0)):
        with target.connect() as connection:
            connection.send(request(opcode) + request(binary.NOOP))
            assert len(responses(connection.read_to_end())) == said


def test_stat_ends_with_an_empty_response(binary_connection):
    for group in (b"", b"settings", b"slabs", b"items", b"sizes"):
        pairs = {}
        binary_connection.send(request(binary.STAT, group, opaque=5))
        while (response := read_response(binary_connection)).key:
            assert response.opaque == 5 and response.status == OK
            pairs[response.key] = response.value
        assert response.value == b""
        if group == b"":
            assert re.fullmatch(rb"1\.6\.\d+", pairs[b"version"]) and pairs[b"pid"].isdigit()
        if group == b"settings":
            assert pairs[b"item_size_max"] == b"1048576"
    assert ask(binary_connection, binary.STAT, b"foo").status == NOT_FOUND
    assert ask(binary_connection, binary.STAT, b"reset").status == OK


def test_stat_detail_counts_by_prefix(binary_connection):
    assert ask(binary_connection, binary.STAT, b"reset").status == OK
    assert ask(binary_connection, binary.STAT, b"detail on").status == OK
    binary_connection.send(
        request(binary.SETQ, b"p:a", store(), b"v") + request(binary.GETQ, b"p:b")
        + request(binary.DELETEQ, b"p:a"))
    assert ask(binary_connection, binary.STAT, b"detail off").status == OK
    dump = ask(binary_connection, binary.STAT, b"detail dump")
    assert (dump.key, dump.value) == (
        b"detailed", b"PREFIX p get 1 hit 0 set 1 del 1\r\nEND\r\n")
    assert read_response(binary_connection)[2:5] == (b"", b"", b"")
    assert ask(binary_connection, binary.STAT, b"reset").status == OK  # forgets the prefixes


def test_touch_and_gat_see_an_expiry_that_is_over(binary_connection):
    past = seconds(1_000_000_000)
    for opcode in (binary.TOUCH, binary.GAT):
        assert ask(binary_connection, binary.SET, b"k", store(), b"v").status == OK
        assert ask(binary_connection, opcode, b"k", past).status == OK
        assert ask(binary_connection, binary.GET, b"k").status == NOT_FOUND


# Where stayd differs from memcached.


def test_what_memcached_would_take_for_requests_is_thrown_away(stayd_target):
    """Values behind opcodes that take none, and the body of an unknown opcode."""
    flush = request(binary.FLUSH)
    with stayd_target.connect() as connection:
        assert ask(connection, binary.SET, b"k", store(), b"v").status == OK
        connection.send(request(binary.TOUCH, b"k", seconds(0), flush)
                        + request(binary.GAT, b"k", seconds(0), flush)
                        + request(binary.STAT, b"foo", b"", flush)
                        + request(0x99, flush, flush, flush))
        assert [read_response(connection).status for _ in range(4)] == [
            OK, OK, NOT_FOUND, UNKNOWN_COMMAND]
        assert ask(connection, binary.GET, b"k").value == b"v"
        expect_in_step(connection)


def test_a_wrong_header_is_answered_before_its_body_comes(stayd_target):
    for lie, status in [
        (dict(opcode=binary.GET, key_size=65535, body_size=65535), INVALID),
        (dict(opcode=binary.GET, key_size=65535, body_size=1), UNKNOWN_COMMAND),
        (dict(opcode=binary.DELETE, key_size=10, extras_size=1, body_size=0xFFFFFFFF), INVALID),
    ]:
        with stayd_target.connect() as connection:
            connection.send(request(**lie))
            assert read_response(connection).status == status
            connection.expect_closed()


def test_two_gigabytes_are_announced_and_never_kept(stayd_target):
    with stayd_target.connect() as connection:
        connection.send(request(binary.SET, b"k", store(), body_size=0xFFFFFFFF))
        assert read_response(connection).status == TOO_LARGE
        before = stayd_target.server.resident_bytes()
        for _ in range(64):
            connection.send(b"\x80" * (1 << 20))
        assert stayd_target.server.resident_bytes() - before < 8 << 20


def test_verbosity_works(stayd_target):
    with stayd_target.connect() as connection:
        assert ask(connection, binary.VERBOSITY, b"", seconds(0)).status == OK


def test_a_full_pool_that_keeps_everything_says_out_of_memory():
    keys = {"memory": "16M", "item_max": "64K", "persist": "no"}
    with Stayd(sessions=keys) as server, server.connect("sessions") as connection:
        value = b"v" * 60_000
        for number in range(1000):
            response = ask(connection, binary.SET, b"%d" % number, store(), value)
            if response.status != OK:
                break
        assert (response.status, response.value) == (binary.NO_MEMORY, b"Out of memory")
        assert ask(connection, binary.GET, b"0").value == value
        expect_in_step(connection)
