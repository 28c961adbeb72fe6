"""A client cannot take more than its share from the others: turns, memory, idle connections, floods."""

import os
import random
import resource
import socket
import threading
import time

from support.processor import processor_seconds
from support.servers import Raw, Stayd, wait_until

OUT_OF_MEMORY = b"SERVER_ERROR out of memory reading request\r\n"


def stat(connection, name):
    """One of the general statistics, as a number."""
    return int(connection.stats()[name])


def test_a_client_with_endless_requests_gets_one_turn_between_two_turns_of_another():
    """The test counts requests instead of time. Between two turns of one connection, the other connection
    has one turn, or two if their order changes."""
    turn = 20
    with Stayd(server={"threads": 1, "requests_per_turn": turn}) as stayd:
        hog, other = stayd.connect(), stayd.connect()
        other.set(b"n", b"0")
        done = threading.Event()

        def send_without_end():
            while not done.is_set():
                hog.send(b"incr n 1 noreply\r\n" * 5000)

        sender = threading.Thread(target=send_without_end)
        sender.start()
        try:
            jumps = []
            while sum(jump > 0 for jump in jumps) < 50:
                other.send(b"mg n v\r\n" * (10 * turn))
                numbers = []
                for _ in range(10 * turn):
                    other.read_line()
                    numbers.append(int(other.read_line()))
                jumps += [after - before for before, after in zip(numbers, numbers[1:])]
        finally:
            done.set()
            sender.join()
        assert max(jumps) <= 2 * turn
        assert stat(other, "conn_yields") > 50


def test_a_hundred_thousand_pipelined_requests_are_all_answered_in_order(stayd_target):
    connection = stayd_target.connect()
    connection.set(b"n", b"0")
    connection.socket.setblocking(True)
    sender = threading.Thread(target=connection.send, args=(b"incr n 1\r\n" * 100_000,))
    sender.start()
    connection.expect(b"".join(b"%d\r\n" % number for number in range(1, 100_001)), timeout=30)
    sender.join()


def test_all_replies_come_although_the_client_has_shut_its_sending_side(target):
    """The client sends more requests than one read, one turn and the socket's buffers hold."""
    connection = target.connect()
    connection.set(b"k", b"v" * 1000)

    def send():
        connection.socket.sendall(b"get k\r\n" * 30_000)
        connection.socket.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    received = connection.read_to_end(timeout=30)
    sender.join()
    one = b"VALUE k 0 1000\r\n" + b"v" * 1000 + b"\r\nEND\r\n"
    assert received == one * 30_000


def test_a_connection_is_closed_once_its_client_has_been_idle_for_too_long():
    with Stayd(server={"connection_idle_timeout": "1s"}) as stayd:
        idle = [stayd.connect("cache"), stayd.connect_socket("sessions"), stayd.connect("cache")]
        idle[0].expect_in_step()
        idle[2].send(b"set k 0 0 10\r\nhalf")
        busy = stayd.connect("cache")
        before = time.monotonic()
        while stat(busy, "curr_connections") > 1:
            assert time.monotonic() < before + 10
        assert time.monotonic() - before > 0.5
        for connection in idle:
            connection.expect_closed()
        # `busy` has been connected for longer than the limit, but has never been idle that long
        assert stat(busy, "idle_kicks") >= 3
        assert busy.stats(b"settings")["idle_timeout"] == "1"


def test_a_client_that_takes_no_replies_is_not_idle():
    """A client that takes no replies is closed after send_timeout. A client within both limits stays
    connected."""
    with Stayd(server={"connection_idle_timeout": "1s", "send_timeout": "1h"}) as stayd:
        stalled = stayd.connect("cache")
        stalled.set(b"k", b"v" * 1_000_000)
        stalled.send(b"get k\r\n" * 50)
        idle = stayd.connect("cache")
        idle.expect_closed()
        again = stayd.connect("cache")
        again.expect_closed()
        for _ in range(50):
            stalled.expect(b"VALUE k 0 1000000\r\n" + b"v" * 1_000_000 + b"\r\nEND\r\n")


def end_large_request(client):
    """Sends the last byte of a value; returns the reply, or nothing if the connection has been closed."""
    try:
        client.send(b"x\r\n")
        return client.read_line() + b"\r\n"
    except (OSError, EOFError):
        return bytes(client.buffer)


def test_large_requests_beyond_the_limit_are_refused_and_the_others_are_unharmed():
    """A request that finds no memory is refused, or a stopped request is closed to make room for it."""
    with Stayd(server={"connection_memory": "4M"}) as stayd:  # 1M of this is reserved for the other pool
        witness = stayd.connect("cache")
        clients = [stayd.connect("cache") for _ in range(6)]
        for number, client in enumerate(clients):
            try:
                client.send(b"set k%d 0 0 1000000\r\n" % number + b"x" * 999_999)
            except OSError:
                pass  # the daemon refused the request before all of it was sent
            wait_until(lambda: stat(witness, "read_buf_oom") == max(0, number - 2)
                       and stat(witness, "read_buf_bytes") >= 1_000_000 * min(number + 1, 3))
            assert stat(witness, "read_buf_bytes") <= 3 << 20
            witness.expect_in_step()
            assert witness.set(b"small", b"y" * 10_000) == b"STORED"
        replies = [end_large_request(client) for client in clients]
        assert replies.count(b"STORED\r\n") == 3
        # A stopped client that makes room for another is closed without a reply.
        assert set(replies) <= {b"STORED\r\n", OUT_OF_MEMORY, b""}
        for number, reply in enumerate(replies):
            expected = b"x" * 1_000_000 if reply == b"STORED\r\n" else None
            assert witness.get(b"k%d" % number) == expected
        for name in ("read_buf_bytes", "read_buf_count"):  # the daemon frees them after the reply
            wait_until(lambda name=name: stat(witness, name) == 0)
        told = stayd.log.count("closing connections: no memory for the 10000")
        assert told == (1 if OUT_OF_MEMORY in replies else 0)


def test_replies_that_nobody_takes_are_bounded_in_all():
    with Stayd(server={"connection_memory": "3M"}, cache={"item_max": "2M"}) as stayd:
        witness = stayd.connect("cache")
        witness.set(b"k", b"v" * 1_900_000)
        witness.set(b"small", b"v" * 10_000)  # its reply fits into the buffers of every socket
        lazy = [stayd.connect("cache") for _ in range(6)]
        for connection in lazy:
            connection.send(b"get k\r\n" * 20)
        wait_until(lambda: stat(witness, "response_obj_oom") >= 4)
        wait_until(lambda: "closing connections: no memory for" in stayd.log)
        assert stayd.log.count("closing connections: no memory for") == 1
        assert 0 < stat(witness, "response_obj_bytes") <= 3 << 20
        assert witness.get(b"small") == b"v" * 10_000
        for connection in lazy:
            connection.reset()
        wait_until(lambda: stat(witness, "curr_connections") == 1)
        assert witness.get(b"k") == b"v" * 1_900_000  # there is memory for it again
        assert stat(witness, "response_obj_bytes") == stat(witness, "response_obj_count") == 0


def test_after_a_storm_of_clients_that_vanish_every_figure_is_back_where_it_was():
    chance = random.Random(7)
    with Stayd() as stayd:
        keeper = stayd.connect("sessions")
        keeper.set(b"k", b"v" * 500_000)
        wait_until(lambda: stat(keeper, "curr_connections") == 1)
        before = len(os.listdir(f"/proc/{stayd.pid}/fd"))
        total = stat(keeper, "total_connections")
        opened = 0
        for _ in range(10):
            storm = [Raw(("127.0.0.1", stayd.port("sessions"))) for _ in range(40)]
            opened += len(storm)
            for connection in storm:
                connection.send(chance.choice([
                    b"", b"ge", b"get k\r\n" * 20, b"set s 0 0 900000\r\n" + b"x" * 300_000,
                    b"set s 0 0 1\r\nx\r\n", b"quit\r\n", b"\x80\x01garbage", b"x" * 3000,
                ]))
            for connection in storm:
                chance.choice([connection.reset, connection.close,
                               lambda c=connection: c.socket.shutdown(socket.SHUT_WR)])()
            for connection in storm:
                connection.close()
        wait_until(lambda: stat(keeper, "total_connections") == total + opened)
        wait_until(lambda: stat(keeper, "curr_connections") == 1)
        numbers = keeper.stats()
        assert numbers["read_buf_bytes"] == numbers["read_buf_count"] == "0"  # all are closed
        wait_until(lambda: len(os.listdir(f"/proc/{stayd.pid}/fd")) == before)


def test_without_file_descriptors_clients_wait_and_are_served_once_there_are_some_again():
    with Stayd() as stayd:
        keeper = stayd.connect("cache")
        wait_until(lambda: stat(keeper, "curr_connections") == 1)
        soft, hard = resource.prlimit(stayd.pid, resource.RLIMIT_NOFILE)
        files = [int(fd) for fd in os.listdir(f"/proc/{stayd.pid}/fd")]
        limit = max(files) + 1
        free = limit - len(files)  # descriptors of earlier clients, free again
        resource.prlimit(stayd.pid, resource.RLIMIT_NOFILE, (limit, hard))
        waiting = [stayd.connect("cache") for _ in range(10)]
        for connection in waiting:
            connection.send(b"mn\r\n")
        wait_until(lambda: "cannot accept connections for now: Too many open files" in stayd.log)
        spent, began = processor_seconds(stayd.pid), time.monotonic()
        while time.monotonic() < began + 0.5:  # measures a duration; waits for nothing
            keeper.expect_in_step()
            time.sleep(0.05)
        assert processor_seconds(stayd.pid) - spent < 0.2, "it spins instead of waiting"
        assert stat(keeper, "curr_connections") <= 1 + free
        resource.prlimit(stayd.pid, resource.RLIMIT_NOFILE, (soft, hard))
        for connection in waiting:
            connection.expect(b"MN\r\n")
        assert stat(keeper, "curr_connections") == 11
        assert stayd.log.count("cannot accept connections") == 1
