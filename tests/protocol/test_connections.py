"""Connections: how many there may be, and that the end of one does not affect the others."""

import os
import socket

import pytest

from support import preload
from support.servers import Memcached, Raw, Stayd, wait_until

REFUSED = b"ERROR Too many open connections\r\n"


def open_files(server):
    """How many file descriptors the process has open."""
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def connections_now(connection):
    """curr_connections as the server reports it, with the connection that asks."""
    return int(connection.stats()["curr_connections"])


def test_connections_beyond_the_limit_are_refused_with_a_message():
    """The limit counts TCP and Unix sockets, and all pools, together. The connections within it are not
    affected."""
    limit = 12
    with Stayd(server={"max_connections": limit}) as stayd:
        first = stayd.connect("cache")
        taken = [first]
        while len(taken) < limit:
            pool = ("cache", "sessions")[len(taken) % 2]
            taken.append((stayd.connect, stayd.connect_socket)[len(taken) // 2 % 2](pool))
            taken[-1].expect_in_step()
        for connect in (stayd.connect, stayd.connect_socket):
            for pool in ("cache", "sessions"):
                with connect(pool) as refused:
                    assert refused.read_to_end() == REFUSED
        for connection in taken:
            connection.expect_in_step()
        assert int(first.stats()["rejected_connections"]) == 4
        taken.pop().close()
        wait_until(lambda: connections_now(first) == limit - 1)
        with stayd.connect("sessions") as again:
            again.expect_in_step()


def test_a_client_that_sees_its_connection_closed_finds_room_for_the_next():
    """This holds even if the thread that closed the connection is not scheduled for a while."""
    library = preload.library("protocol/slow_close.c")
    if library is None:
        pytest.skip("a sanitizer's library must be the first to be loaded")
    environment = {"LD_PRELOAD": str(library)}
    with Stayd(server={"max_connections": 1}, environment=environment) as stayd:
        for connect in (stayd.connect, stayd.connect_socket) * 3:
            with connect("sessions") as connection:
                connection.expect_in_step()
                connection.finish()


def test_memcached_refuses_in_the_same_words():
    with Memcached(["-c", "40", "-t", "1"]) as memcached:
        taken = []
        while len(taken) <= 40:
            connection = memcached.connect()
            try:
                connection.expect_in_step()
            except AssertionError:
                connection.close()
                break
            taken.append(connection)
        assert 10 < len(taken) <= 40
        with memcached.connect() as refused:
            assert refused.read_to_end() == REFUSED


def test_a_flood_beyond_the_limit_leaves_no_descriptor_behind():
    with Stayd(server={"max_connections": 20}) as stayd:
        keeper = stayd.connect("sessions")
        wait_until(lambda: connections_now(keeper) == 1)
        before = open_files(stayd)
        for _ in range(5):
            flood = [Raw(("127.0.0.1", stayd.port("cache"))) for _ in range(60)]
            keeper.expect_in_step()
            for connection in flood:
                connection.close()
        wait_until(lambda: connections_now(keeper) == 1)
        wait_until(lambda: open_files(stayd) <= before, what="the descriptors' return")
        keeper.expect_in_step()


def test_many_connections_are_served_at_once(target):
    connections = [target.connect() for _ in range(200)]
    for index, connection in enumerate(connections):
        connection.send(b"set k%d 0 0 3\r\n%03d\r\n" % (index, index))
    for connection in connections:
        connection.expect(b"STORED\r\n")
    for index, connection in enumerate(connections):
        assert connection.get(b"k%d" % (199 - index)) == b"%03d" % (199 - index)
    for connection in connections:
        connection.close()


def test_what_one_connection_stored_every_other_sees_at_once(target):
    writer = target.connect()
    readers = [target.connect() for _ in range(8)]
    for number in range(200):
        writer.ask(b"set k 0 0 3\r\n%03d\r\n" % number, b"STORED\r\n")
        assert readers[number % 8].get(b"k") == b"%03d" % number


def test_connecting_and_leaving_many_times_leaks_nothing(stayd_target):
    keeper = stayd_target.connect()
    wait_until(lambda: connections_now(keeper) == 1, what="the end of earlier connections")
    before = open_files(stayd_target.server)
    for number in range(500):
        with stayd_target.connect() as connection:
            if number % 3 == 0:
                connection.expect_in_step()
            elif number % 3 == 1:
                connection.send(b"set k 0 0 100\r\nhalf")
                connection.reset()
    wait_until(lambda: open_files(stayd_target.server) <= before, what="the descriptors' return")
    wait_until(lambda: connections_now(keeper) == 1, what="the end of all connections but one")


def test_a_client_that_shuts_its_sending_side_still_gets_its_replies(target):
    with target.connect() as connection:
        connection.send(b"set k 0 0 1\r\nv\r\n" * 100 + b"get k\r\n")
        connection.socket.shutdown(socket.SHUT_WR)
        expected = b"STORED\r\n" * 100 + b"VALUE k 0 1\r\nv\r\nEND\r\n"
        assert connection.read_to_end() == expected
