"""Bad input: the daemon keeps running, other clients are not affected, and the memory stays bounded.

At the end of every test, another connection finds the item that it stored before.
"""

import contextlib
import random
import select
import socket
import threading
import time

import pytest

from support.servers import Stayd, together, wait_until


@pytest.fixture
def witness(target):
    """A connection that must not be affected: its item is there before and after the test."""
    with target.connect() as connection:
        connection.set(b"witness", b"unharmed", flags=5)
        yield connection
        connection.ask(b"get witness\r\n", b"VALUE witness 5 8\r\nunharmed\r\nEND\r\n")
        with target.connect() as another:
            another.ask(b"get witness\r\n", b"VALUE witness 5 8\r\nunharmed\r\nEND\r\n")


@pytest.fixture
def hostile(target):
    """A connection that may end up in any state."""
    with target.connect() as connection:
        yield connection


@pytest.mark.parametrize("seed", range(20))
def test_garbage_bytes_do_no_harm(witness, hostile, seed):
    generator = random.Random(seed)
    with contextlib.suppress(OSError):
        for _ in range(20):
            hostile.send(generator.randbytes(generator.choice([1, 7, 100, 4096, 30000])))
        hostile.send(b"\r\n")


@pytest.mark.parametrize("seed", range(20))
def test_garbage_made_of_the_protocols_own_words_does_no_harm(witness, hostile, seed):
    generator = random.Random(seed)
    words = [
        b"get", b"set", b"add", b"cas", b"append", b"incr", b"touch", b"gat", b"delete", b"mg",
        b"ms", b"md", b"ma", b"me", b"mn", b"stats", b"verbosity", b"version", b"k", b"k2", b"0",
        b"1", b"-1", b"4", b"99999999999999999999", b"4294967296", b"noreply", b"v", b"q", b"T30",
        b"N30", b"MA", b"C1", b"I", b"b", b"O1", b"E5", b"\x00", b"\xff", b"YQ==", b"\r", b"",
    ]
    lines = []
    for _ in range(2000):
        line = b" ".join(generator.choice(words) for _ in range(generator.randrange(9)))
        lines.append(line + generator.choice([b"\r\n", b"\r\n", b"\r\n", b"\n", b" "]))
    reader = threading.Thread(target=swallow, args=(hostile,))
    reader.start()
    with contextlib.suppress(OSError):
        hostile.send(b"".join(lines))
        hostile.socket.shutdown(socket.SHUT_WR)
    reader.join()


def swallow(connection):
    """Reads to the end, and throws away what it reads."""
    with contextlib.suppress(OSError, EOFError):
        while True:
            connection._fill(time.monotonic() + 10)
            connection.buffer.clear()


@pytest.mark.parametrize("half", [
    b"g", b"get", b"get k", b"get k\r", b"set k 0 0 5", b"set k 0 0 5\r", b"set k 0 0 5\r\n",
    b"set k 0 0 5\r\nhel", b"set k 0 0 5\r\nhello", b"set k 0 0 5\r\nhello\r", b"ms k 5\r\nhel",
    b"mg k v", b"set k 0 0 3000000\r\n" + b"x" * 1_000_000,
    b"set k 0 0 500000\r\n" + b"x" * 400_000,
], ids=lambda half: repr(half[:24]))
@pytest.mark.parametrize("ending", ["close", "reset"])
def test_a_client_that_vanishes_in_the_middle_changes_nothing(witness, hostile, half, ending):
    hostile.set(b"k", b"old")
    before = int(witness.stats()["curr_connections"])
    hostile.send(half)
    getattr(hostile, ending)()
    wait_until(lambda: int(witness.stats()["curr_connections"]) < before, what="the close")
    if b"3000000" not in half:
        assert witness.get(b"k") == b"old"


@pytest.mark.parametrize("length", [
    b"-1", b"2147483648", b"4294967295", b"9223372036854775808", b"18446744073709551615",
    b"99999999999999999999999999", b"x", b"1x", b"", b"-", b"+", b"0x10",
], ids=repr)
@pytest.mark.parametrize("command", [b"set k 0 0 %b\r\nv\r\n", b"ms k %b\r\nv\r\n"], ids=repr)
def test_a_length_that_lies_is_answered_with_an_error(target, witness, hostile, command, length):
    """stayd sends only this reply: it does not run the value as a request, and closes the connection."""
    hostile.send(command % length + b"mn\r\n")
    if target.pool is None:
        reply = hostile.read_until(b"MN\r\n")
        hostile.expect_in_step()
    else:
        reply = hostile.read_to_end()
        assert reply.count(b"\r\n") == 1
    assert reply.startswith((b"ERROR", b"CLIENT_ERROR")), reply


@pytest.mark.parametrize("length", [2_000_000_000, 2_147_483_645])
def test_a_huge_length_allocates_nothing(target, witness, hostile, length):
    """The value is discarded as it arrives, so the daemon keeps no memory for it."""
    before = target.server.resident_bytes()
    hostile.send(b"set k 0 0 %d\r\n" % length + b"x" * 10_000_000)
    witness.expect_in_step()
    assert target.server.resident_bytes() - before < 8 << 20


def test_a_client_that_sends_its_bytes_one_by_one_is_served_and_holds_up_nobody(witness, hostile):
    """Sends a byte each 2 ms. Meanwhile the witness makes round trips, which must not wait for this
    client."""
    slow = b"set k 3 0 40\r\n" + b"y" * 40 + b"\r\nget k\r\n"
    slowest = 0.0
    for index in range(len(slow)):
        hostile.send(slow[index:index + 1])
        started = time.monotonic()
        witness.expect_in_step()
        slowest = max(slowest, time.monotonic() - started)
        select.select([], [], [], 0.002)
    hostile.expect(b"STORED\r\nVALUE k 3 40\r\n" + b"y" * 40 + b"\r\nEND\r\n")
    assert slowest < 1.0


def send_until_stuck(connection, request, stuck_s=0.3):
    """Sends `request` again and again until the server has taken nothing for `stuck_s`.

    Returns how many bytes were sent. Reads no reply.
    """
    connection.socket.setblocking(False)
    sent, block = 0, request * max(1, 65536 // len(request))
    position = 0
    poll = select.poll()  # poll takes descriptors of any number, select does not
    poll.register(connection.socket, select.POLLOUT)
    while True:
        writable = poll.poll(stuck_s * 1000)
        if not writable:
            return sent
        try:
            count = connection.socket.send(block[position:])
        except BlockingIOError:
            continue
        position = (position + count) % len(block)
        sent += count
        assert sent < 1 << 30, "the server takes requests without end from one who does not read"


@pytest.mark.parametrize("pool", ["cache", "sessions"])
def test_a_client_that_never_reads_costs_bounded_memory_and_is_then_closed(pool):
    """send_timeout is how long a connection may stay without progress while replies wait."""
    together(*(lambda one=one: never_read(pool, *one) for one in [
        (500_000, b"get k\r\n"),
        (500_000, b"get" + b" k" * 32 + b"\r\n"),
        (500_000, b"mg k v\r\n"),
        (10, b"get k\r\n"),
        (10, b"foo\r\n"),
        (10, b"stats\r\n"),
    ]))


def never_read(pool, value_bytes, request_bytes):
    """The test above for one request, with a daemon of its own."""
    with Stayd(server={"send_timeout": "1s"}) as stayd:
        with stayd.connect(pool) as witness, stayd.connect(pool) as hostile:
            witness.set(b"k", b"v" * value_bytes)
            witness.get(b"k")
            before = stayd.resident_bytes()
            send_until_stuck(hostile, request_bytes)
            grown = stayd.resident_bytes() - before
            assert grown < 16 << 20, f"{grown >> 20} MiB for one client that does not read"
            assert witness.get(b"k") == b"v" * value_bytes
            poll = select.poll()
            poll.register(hostile.socket, select.POLLHUP | select.POLLERR)
            count = int(witness.stats()["curr_connections"])
            assert count == 2 or (count == 1 and poll.poll(0)), "counted as long as it is open"
            assert poll.poll(8000), "still open 8 s after a send_timeout of 1 s"
            wait_until(lambda: int(witness.stats()["curr_connections"]) == 1)
            assert stayd.resident_bytes() - before < 16 << 20


def test_a_client_that_stops_in_the_middle_of_a_large_request_is_closed():
    """Not closed: a client that continues slowly, and a client whose unfinished request takes little
    memory."""
    with Stayd(server={"send_timeout": "1s"}) as stayd:
        with (stayd.connect("cache") as stopped, stayd.connect("cache") as slow,
              stayd.connect("cache") as small):
            small.send(b"set s 0 0 5\r\nva")
            value = b"v" * 100_000
            for connection in (stopped, slow):
                connection.send(b"set k 0 0 100000\r\n" + value[:40_000])
            closed = select.poll()
            closed.register(stopped.socket, select.POLLHUP | select.POLLIN)
            sent = 40_000
            while not closed.poll(300):
                slow.send(value[sent:sent + 1000])
                sent += 1000
                assert sent < 90_000, "still open 15 s after a send_timeout of 1 s"
            assert sent > 42_000
            stopped.expect_closed()
            slow.ask(value[sent:] + b"\r\n", b"STORED\r\n")
            small.ask(b"lue\r\n", b"STORED\r\n")


def test_many_clients_that_never_read_cost_bounded_memory():
    with Stayd(server={"send_timeout": "1m"}) as stayd:
        with stayd.connect("sessions") as witness:
            witness.set(b"k", b"v" * 500_000)
            witness.get(b"k")
            before = stayd.resident_bytes()
            for _ in range(10):
                hostile = stayd.connect("sessions")
                send_until_stuck(hostile, b"get k k k k\r\n", stuck_s=0.05)
            assert stayd.resident_bytes() - before < 10 * (2 << 20)
            assert witness.get(b"k") == b"v" * 500_000


def test_a_client_that_reads_slowly_but_steadily_is_not_closed():
    """The client takes more than twice the send_timeout for one reply, and always makes progress."""
    with Stayd(server={"send_timeout": "1s"}) as stayd, stayd.connect("cache") as connection:
        value = bytes(range(256)) * 3000
        connection.set(b"k", value)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        count = 16
        connection.send(b"get k\r\n" * count)
        expected = b"VALUE k 0 %d\r\n%b\r\nEND\r\n" % (len(value), value) * count
        received = bytearray()
        started = time.monotonic()
        while len(received) < len(expected):
            due = started + 3.0 * len(received) / len(expected)
            select.select([], [], [], max(0.0, due - time.monotonic()))
            piece = connection.socket.recv(65536)
            assert piece, f"closed after {len(received)} of {len(expected)} bytes"
            received += piece
        assert time.monotonic() - started > 2.5
        assert received == expected
        connection.expect_in_step()


def test_a_writer_of_endless_noreply_stores_is_answered_nothing_and_served(witness, hostile):
    hostile.send(b"set k 0 0 10 noreply\r\n0123456789\r\n" * 50_000)
    hostile.expect_in_step()
    assert witness.get(b"k") == b"0123456789"


def test_a_stream_of_zero_bytes_does_no_harm(witness, hostile):
    with contextlib.suppress(OSError):
        hostile.send(b"\x00" * 1_000_000)


def test_a_stream_of_empty_lines_does_no_harm(witness, hostile):
    reader = threading.Thread(target=swallow, args=(hostile,))
    reader.start()
    with contextlib.suppress(OSError):
        hostile.send(b"\r\n" * 200_000)
        hostile.socket.shutdown(socket.SHUT_WR)
    reader.join()


@pytest.mark.parametrize("opening", [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nset k 0 0 1\r\nv\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"*1\r\n$4\r\nPING\r\n",
    b"\x00\x00\x00\x00\x00\x01\x00\x00flush_all\r\n",
], ids=["http", "http-post", "tls", "redis", "udp"])
def test_another_protocol_does_no_harm(witness, hostile, opening):
    with contextlib.suppress(OSError, EOFError, TimeoutError):
        hostile.send(opening)
        hostile.read_line(timeout=0.1)
