"""Many requests in one write: the server answers them in order, with one write.

TCP shows how many writes a server made. On loopback a segment holds nearly 32 KiB, so every smaller
write arrives as one segment, and the kernel counts the segments (TCP_INFO).
"""

import socket
import struct
import threading

import pytest

DATA_SEGMENTS_IN = 152
"""Offset of tcpi_data_segs_in in struct tcp_info (linux/tcp.h)."""


def segments_received(connection):
    """How many TCP segments with data this end has received."""
    info = connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return struct.unpack_from("I", info, DATA_SEGMENTS_IN)[0]


def test_the_measure_counts_one_segment_for_each_write(connection):
    before = segments_received(connection)
    for _ in range(10):
        connection.expect_in_step()
    assert segments_received(connection) - before == 10


@pytest.mark.parametrize("request_bytes, reply", [
    (b"mg k v k\r\n", b"VA 1 kk\r\nv\r\n"),
    (b"set k 0 0 1\r\nv\r\n", b"STORED\r\n"),
    (b"touch k 0\r\n", b"TOUCHED\r\n"),
    (b"foo\r\n", b"ERROR\r\n"),
], ids=repr)
def test_a_few_requests_in_one_write_get_one_write(connection, request_bytes, reply):
    connection.set(b"k", b"v")
    before = segments_received(connection)
    connection.ask(request_bytes * 10, reply * 10)
    assert segments_received(connection) - before == 1


@pytest.mark.parametrize("count, size", [(100, 1), (100, 220), (14, 2000), (500, 10)])
def test_many_requests_in_one_write_get_one_write(stayd_connection, count, size):
    """memcached serves other connections after 20 requests. stayd first answers all requests that it has
    read."""
    connection = stayd_connection
    connection.set(b"k", b"v" * size)
    before = segments_received(connection)
    reply = b"VALUE k 0 %d\r\n%b\r\nEND\r\n" % (size, b"v" * size)
    connection.ask(b"get k\r\n" * count, reply * count)
    assert segments_received(connection) - before == 1


def test_requests_of_all_kinds_in_one_write_get_one_write(stayd_connection):
    connection = stayd_connection
    before = segments_received(connection)
    connection.ask(
        b"set k 0 0 2\r\n10\r\nget k none k\r\nincr k 1\r\nset q 0 0 1 noreply\r\nx\r\n"
        b"mg k v\r\nfoo\r\n"
        b"set k x 0 1\r\ny\r\ndelete k\r\nversionx\r\nms m 1\r\ny\r\nma m\r\nmn\r\n",
        b"STORED\r\nVALUE k 0 2\r\n10\r\nVALUE k 0 2\r\n10\r\nEND\r\n11\r\nVA 2\r\n11\r\nERROR\r\n"
        b"CLIENT_ERROR bad command line format\r\nDELETED\r\nERROR\r\nHD\r\n"
        b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\nMN\r\n",
    )
    assert segments_received(connection) - before == 1


def test_replies_come_in_the_order_of_the_requests(connection):
    requests, replies = [], []
    for number in range(2000):
        requests.append(b"set k%d 0 0 4\r\n%04d\r\n" % (number, number))
        replies.append(b"STORED\r\n")
        other = number // 2
        requests.append(b"get k%d\r\n" % other)
        replies.append(b"VALUE k%d 0 4\r\n%04d\r\nEND\r\n" % (other, other))
    sender = threading.Thread(target=connection.send, args=(b"".join(requests),))
    sender.start()
    connection.expect(b"".join(replies))
    sender.join()


def test_a_hundred_thousand_requests_in_one_write_are_all_answered(connection):
    connection.set(b"n", b"0")
    sender = threading.Thread(target=connection.send, args=(b"incr n 1\r\n" * 100_000,))
    sender.start()
    connection.expect(b"".join(b"%d\r\n" % number for number in range(1, 100_001)), timeout=30)
    sender.join()


def test_a_client_may_send_all_before_it_reads_anything(connection):
    """As much as the socket buffers hold: 20,000 requests, and then their replies."""
    connection.set(b"k", b"v")
    connection.send(b"get k\r\n" * 20_000)
    connection.expect(b"VALUE k 0 1\r\nv\r\nEND\r\n" * 20_000)


def test_a_value_that_arrives_in_pieces_among_pipelined_requests_is_whole(connection):
    value = bytes(range(256)) * 1024
    stream = b"".join(
        b"set k%d 0 0 %d\r\n%b\r\nget k%d\r\n" % (n, len(value), value, n) for n in range(4)
    )
    expected = b"".join(
        b"STORED\r\nVALUE k%d 0 %d\r\n%b\r\nEND\r\n" % (n, len(value), value) for n in range(4)
    )

    def send():
        position, step = 0, 1
        while position < len(stream):
            connection.send(stream[position:position + step])
            position, step = position + step, step * 3 % 65521 + 1

    sender = threading.Thread(target=send)
    sender.start()
    connection.expect(expected)
    sender.join()


def test_pipelines_on_many_connections_do_not_mix(target):
    connections = [target.connect() for _ in range(32)]
    for index, connection in enumerate(connections):
        connection.send(b"".join(
            b"set c%d-%d 0 0 8\r\n%08d\r\n" % (index, n, index * 1000 + n) for n in range(100)
        ))
    for connection in connections:
        connection.expect(b"STORED\r\n" * 100)
    for index, connection in enumerate(connections):
        connection.send(b"".join(b"get c%d-%d\r\n" % (index, n) for n in range(100)))
    for index, connection in enumerate(connections):
        connection.expect(b"".join(
            b"VALUE c%d-%d 0 8\r\n%08d\r\nEND\r\n" % (index, n, index * 1000 + n)
            for n in range(100)
        ))
