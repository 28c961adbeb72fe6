"""The clients of one pool cannot take the connections or the memory of another pool's clients."""

import contextlib
import socket
import subprocess
import threading
import time

import pytest

from support import certificates
from support.servers import Stayd, stayd_binary, wait_until


def crowd(stayd, pool, count):
    """Connects so often. Returns the connections that are served, and the number of those that were
    refused."""
    served, refused = [], 0
    for _ in range(count):
        connection = stayd.connect(pool)
        connection.send(b"mn\r\n")
        try:
            connection.expect(b"MN\r\n")
            served.append(connection)
        except (AssertionError, OSError):
            refused += 1
    return served, refused


def test_sixty_idle_clients_of_one_pool_leave_places_for_those_of_another():
    with Stayd(server={"max_connections": 50}) as stayd:
        assert stayd.health() == (200, "ok\n")
        crowd(stayd, "cache", 60)
        served, refused = crowd(stayd, "sessions", 10)
        assert (len(served), refused) == (10, 0)
        status, text = stayd.health()
        assert status == 503
        assert "pool cache turned clients away" in text and "sessions" not in text
        assert "refusing connections to pool cache" in stayd.log


def test_the_log_names_the_limit_of_the_pool_where_that_is_the_one():
    with Stayd(cache={"max_connections": 5}) as stayd:
        served, refused = crowd(stayd, "cache", 7)
        assert (len(served), refused) == (5, 2)
        assert "it has 5 of its 5 connections" in stayd.log


def test_clients_that_never_finish_their_handshake_keep_no_place_from_others(tmp_path):
    """Also when other pools have taken all connections that are not reserved."""
    made = certificates.make(tmp_path)
    tls = {"tls_cert": made["server.pem"], "tls_key": made["server.key"]}
    with Stayd(cache=tls, server={"max_connections": 50}) as stayd:
        crowd(stayd, "sessions", 60)
        host, port = stayd.address("cache").rsplit(":", 1)
        silent = [socket.create_connection((host, int(port)), 10) for _ in range(40)]
        context = certificates.context(made)

        def shakes_hands():
            with contextlib.suppress(OSError):
                with socket.create_connection((host, int(port)), 5) as plain:
                    with context.wrap_socket(plain, server_hostname="127.0.0.1"):
                        return True
            return False

        wait_until(shakes_hands, 5, what="a client to finish its handshake")
        for connection in silent:
            connection.close()


def test_a_pool_has_no_more_clients_than_its_own_limit():
    with Stayd(server={"max_connections": 50}, cache={"max_connections": 3}) as stayd:
        served, refused = crowd(stayd, "cache", 5)
        assert (len(served), refused) == (3, 2)
        assert len(crowd(stayd, "sessions", 30)[0]) == 30
        served[0].finish()
        wait_until(lambda: len(crowd(stayd, "cache", 1)[0]) == 1)


def test_a_pools_limit_above_that_of_all_pools_is_a_fault(tmp_path):
    path = tmp_path / "stayd.conf"
    path.write_text("[server]\nmax_connections = 5\n[pool a]\nlisten = unix:a\nmax_connections = 6\n")
    checked = subprocess.run([stayd_binary(), "--check", "-c", path], capture_output=True, text=True)
    assert checked.returncode == 2
    assert f"{path}:5" in checked.stderr and "raise max_connections in [server]" in checked.stderr


class Drip:
    """Clients in the middle of a large set that send a byte now and then, until the end of the
    `with`. A client that is disconnected connects again."""

    def __init__(self, stayd, pool, count, every):
        self.stayd, self.pool, self.count, self.every = stayd, pool, count, every
        self.done = threading.Event()
        self.connected = threading.Semaphore(0)
        self.threads = []

    def _drip(self):
        while not self.done.is_set():
            try:
                with self.stayd.connect(self.pool) as connection:
                    connection.send(b"set slow 0 0 1000000\r\n" + b"x" * 600_000)
                    self.connected.release()
                    while not self.done.wait(self.every):
                        connection.send(b"x")
            except OSError:
                self.done.wait(0.02)

    def __enter__(self):
        self.threads = [threading.Thread(target=self._drip) for _ in range(self.count)]
        for thread in self.threads:
            thread.start()
        for _ in range(self.count // 2):
            assert self.connected.acquire(timeout=20), "a client that drips has not come in"
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


def try_set(stayd, pool, size):
    """Whether a value of this size is stored."""
    with stayd.connect(pool) as connection:
        try:
            return connection.set(b"honest", b"v" * size) == b"STORED"
        except (OSError, EOFError):
            return False


@pytest.mark.parametrize("pool", ["cache", "sessions"])
def test_clients_that_send_a_byte_now_and_then_keep_no_memory_from_others(pool):
    """The attackers use the same pool or another, and together ask for more memory than there is. A
    request that has just begun is closed for no other, so for a moment the attackers' own pool may
    have no memory: its client then tries again."""
    with Stayd(server={"connection_memory": "8M", "threads": 1}) as stayd:
        with Drip(stayd, "cache", 16, every=0.5):
            for _ in range(10):
                wait_until(lambda: try_set(stayd, pool, 300_000), 5, what="an honest value to be stored")
            if pool == "sessions":
                assert all(try_set(stayd, pool, 300_000) for _ in range(20))


def test_a_large_request_that_hardly_goes_on_is_cut_off():
    with Stayd(server={"send_timeout": "1s"}) as stayd:
        connection = stayd.connect("cache")
        connection.send(b"set k 0 0 1000000\r\n" + b"x" * 20_000)
        with pytest.raises((OSError, EOFError)):
            for _ in range(2000):
                connection.send(b"x")
                connection.socket.settimeout(0.02)
                try:
                    if connection.socket.recv(1) == b"":
                        raise EOFError
                except TimeoutError:
                    pass


def test_a_large_request_that_goes_on_is_waited_for():
    """A request may take longer than send_timeout while it arrives at the minimum rate."""
    with Stayd(server={"send_timeout": "1s"}) as stayd:
        connection = stayd.connect("cache")
        connection.send(b"set k 0 0 1000000\r\n")
        began = time.monotonic()
        for _ in range(100):
            connection.send(b"x" * 10_000)
            time.sleep(0.02)
        assert time.monotonic() - began > 1.5
        connection.ask(b"\r\n", b"STORED\r\n")


@pytest.mark.parametrize("request_line", [b"get a\r\n", b"bad\r\n", b"set a 0 0 1\r\na\r\n"])
def test_a_stranger_who_keeps_talking_is_gone_when_the_time_to_log_in_is_over(tmp_path, request_line):
    users = tmp_path / "users"
    users.write_text("ann:secret\n")
    users.chmod(0o600)
    with Stayd(server={"send_timeout": "1s"}, cache={"auth_file": users}) as stayd:
        with stayd.connect("cache") as stranger:
            began = time.monotonic()
            with pytest.raises((OSError, EOFError)):
                while time.monotonic() < began + 20:
                    stranger.send(request_line * 100)
                    for _ in range(100):
                        stranger.read_line()
            assert time.monotonic() < began + 15
        with stayd.connect("cache") as one:
            login = b"ann secret"
            one.ask(b"set x 0 0 %d\r\n%b\r\n" % (len(login), login), b"STORED\r\n")
            one.expect_in_step()
