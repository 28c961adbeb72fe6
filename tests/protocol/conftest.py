"""Servers for the protocol tests.

A test that takes `connection` runs three times: on Debian's memcached, which proves that the test
expects memcached's behaviour, and on both pools of stayd. The servers live as long as the pytest
session. Each test begins with an empty pool, and two things are checked at its end: the connection is
in step (a reply too many or too few fails the test that caused it), and the server runs.
"""

import contextlib

import pytest

from support.preload import has_sanitizer
from support.servers import Memcached, Stayd


def is_without_stayd(item):
    """Whether the test runs on memcached only."""
    target = getattr(item, "callspec", None) and item.callspec.params.get("target")
    return target == "memcached" or (
        "memcached" in item.fixturenames and "stayd" not in item.fixturenames)


def pytest_collection_modifyitems(config, items):
    """Under a sanitizer, leaves out the tests that run on memcached only: memcached has no sanitizer, and
    the plain run has these tests."""
    if has_sanitizer():
        left_out = [item for item in items if is_without_stayd(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not is_without_stayd(item)]


class Target:
    """A server, and the pool of it that the test uses."""

    def __init__(self, server, pool):
        self.server = server
        self.pool = pool
        self._connections = []

    def connect(self, **options):
        """A new connection to the pool over TCP; it is closed when the test ends."""
        self._connections.append(self.server.connect(self.pool, **options))
        return self._connections[-1]

    def value_of_refused(self, value):
        """The data to send after a storage line that is refused: none to memcached, which would run the
        data as requests."""
        return b"" if self.pool is None else value + b"\r\n"

    def expect_refused_without_length(self, request, reply, earlier=None):
        """Sends a storage line that is refused and does not say how long its data is.

        Both servers send the same reply, except that a memcached before 1.6.45 may send `earlier`.
        memcached then goes on reading; stayd closes the connection.
        """
        if earlier is not None and self.pool is None:
            with self.connect() as connection:
                said = connection.ask(request + b"\r\n") + b"\r\n"
            assert said in (reply, earlier)
            reply = said
        with self.connect() as connection:
            connection.ask(request + b"\r\n", reply)
            if self.pool is None:
                connection.expect_in_step()
            else:
                connection.expect_closed()
        with self.connect() as connection:
            connection.ask(request + b"\r\n" + self.value_of_refused(b"flush_all"), reply)

    def close(self):
        """Closes what the test opened and did not close."""
        for connection in self._connections:
            connection.close()


@pytest.fixture(scope="session")
def _servers():
    """Starts each kind of server when it is first asked for and ends all with the session."""
    with contextlib.ExitStack() as stack:
        started = {}

        def get(kind):
            if kind not in started:
                started[kind] = stack.enter_context(kind())
            return started[kind]

        yield get


@pytest.fixture(params=["memcached", "stayd-cache", "stayd-sessions"])
def target(request, _servers):
    """Each server that must behave alike, with its pool emptied."""
    if request.param == "memcached":
        server, pool = _servers(Memcached), None
    else:
        server, pool = _servers(Stayd), request.param.partition("-")[2]
    yield from _emptied(Target(server, pool))


@pytest.fixture(params=["cache", "sessions"])
def stayd_target(request, _servers):
    """Each pool of stayd, emptied: for behaviour that differs from memcached's on purpose."""
    yield from _emptied(Target(_servers(Stayd), request.param))


def _emptied(target):
    with target.connect() as connection:
        connection.ask(b"flush_all\r\n", b"OK\r\n")
    yield target
    target.close()
    assert target.server.process.poll() is None, f"the server died:\n{target.server.log}"
    target.server.check_sanitizers()


@pytest.fixture
def connection(target):
    """A connection to `target`, which must be in step when the test ends."""
    yield from _in_step(target)


@pytest.fixture
def stayd_connection(stayd_target):
    """A connection to `stayd_target`, which must be in step when the test ends."""
    yield from _in_step(stayd_target)


def _in_step(target):
    with target.connect() as connection:
        yield connection
        connection.expect_in_step()


@pytest.fixture
def own_connection(connection):
    """A connection for a test that may ask for a delayed flush. Afterwards a pending flush is cancelled.

    A flush without a delay replaces one that waits, in memcached and in stayd.
    """
    yield connection
    connection.ask(b"flush_all\r\n", b"OK\r\n")
