"""The client over pymemcache: how it opens, keeps and closes its connections."""

import collections
import gc
import os
import resource
import socket
import threading

import pytest
import stayd
from support.raw import together

pytestmark = pytest.mark.usefixtures("inside_pymemcache")


def test_localhost_is_tried_on_every_address_it_has(daemon, monkeypatch):
    """pymemcache alone tries only the first address, which is ::1 on many machines."""
    port = daemon.port("sessions")

    def both(host, port, *_, **__):
        yield socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)
        yield socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)

    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: list(both(*a, **k)))
    with stayd.Client(f"memcached://localhost:{port}/") as client:
        client.set("k", b"1")


def test_many_idle_connections_are_all_found_dead_after_a_restart(own_daemon):
    with stayd.Client(own_daemon.url("sessions")) as client:
        barrier = threading.Barrier(8)

        def hold():
            connection = client._connections.take()
            connection.version()
            barrier.wait(10)
            client._connections.give_back(connection)

        together(*[hold] * 8)
        assert client._connections.idle_count == 8
        own_daemon.kill9()
        own_daemon.start()
        for number in range(8):
            assert client.add(f"k{number}", b"1") is True


def test_connections_above_the_limit_are_an_error_that_names_it(daemon):
    with stayd.Client(daemon.url("sessions"), max_connections=1) as client:
        taken = client._connections.take()
        with pytest.raises(stayd.ConnectionError, match="max_connections"):
            client.get("k")
        client._connections.give_back(taken)
        assert client.get("k") is None


def test_close_closes_every_connection_that_is_not_in_use(daemon):
    with stayd.Client(daemon.url("sessions")) as client:
        client.version()
        client._connections._idle_timeout_s = float("inf")
        assert client._connections.idle_count == 1
        client.close()
        assert client._connections.idle_count == 0


def test_the_limit_holds_for_a_request_that_comes_while_another_ends(daemon):
    takers = []

    class Slow(collections.deque):
        """Runs another thread after a connection was given back and before the list contains it."""

        def append(self, connection):
            takers.append(threading.Thread(target=connections.take))
            takers[-1].start()
            takers[-1].join(0.2)
            super().append(connection)

    with stayd.Client(daemon.url("sessions"), max_connections=1) as client:
        connections = client._connections
        connections._idle = Slow()
        client.version()
        takers[0].join(10)
        assert len(connections._taken) + connections.idle_count == 1


def test_a_fresh_connection_takes_the_place_of_an_idle_one(daemon):
    """A request that is sent again gets a connection that no other request has used."""
    with stayd.Client(daemon.url("sessions"), max_connections=2) as client:
        connections = client._connections
        both = [connections.take(), connections.take()]
        for connection in both:
            connections.give_back(connection)
        assert connections.take(fresh=True) not in both
        assert len(connections._taken) + connections.idle_count == 2


class Interrupt(BaseException):
    """Like KeyboardInterrupt, or like SystemExit in a worker that took too long."""


def test_a_request_that_was_interrupted_leaves_no_answer_to_the_next(monkeypatch):
    def interrupt(*_):
        raise Interrupt

    monkeypatch.setattr("stayd.connection.Connection._receive", interrupt)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        with stayd.Client(f"memcached://127.0.0.1:{listener.getsockname()[1]}/") as client:
            with pytest.raises(Interrupt):
                client.get("first")
            monkeypatch.undo()
            first, _ = listener.accept()
            answers = []
            thread = threading.Thread(target=lambda: answers.append(client.get("second")))
            thread.start()
            second, _ = listener.accept()
            first.close()
            second.sendall(b"VALUE second 0 1\r\n2\r\nEND\r\n")
            thread.join(10)
            second.close()
    assert answers == [b"2"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", None])
def test_without_a_descriptor_it_is_this_process_that_fails(own_daemon, inside_pymemcache, host):
    """The resolver opens a file to look up `localhost`. The daemon counts as up throughout the test."""
    port = own_daemon.port("sessions")
    url = own_daemon.unix_url("sessions") if host is None else f"memcached://{host}:{port}/"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # so that no object of an earlier test closes a descriptor during this test
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    taken = []
    with stayd.Client(url) as client:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, limits[1]))
            with pytest.raises(OSError):
                while True:
                    taken.append(os.dup(0))
            for _ in range(3):
                with pytest.raises(stayd.ConnectionError, match="this process cannot open"):
                    client.get("k")
            assert client._connections.availability.outage is None
        finally:
            for number in taken:
                os.close(number)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert client.get("k") is None
