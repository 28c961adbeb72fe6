"""`io`: how the daemon moves the bytes of connections, by epoll alone or with io_uring.

With STAYD_IO=uring in the environment (support/servers.py), all other tests run over io_uring.
scripts/test runs those that depend on it in this way.
"""

import subprocess

import pytest

from support import preload
from support.servers import Stayd, stayd_binary, wait_until

BUILT_WITH_URING = b"io_uring: built with liburing" in subprocess.run(
    [stayd_binary(), "-V"], stdout=subprocess.PIPE, check=True).stdout

CLIENTS = 80  # clients of one thread: more than one system call serves


def io_of(stayd):
    """The value of `io` that the daemon reports."""
    with stayd.connect() as connection:
        return connection.stats(b"settings")["io"]


@pytest.fixture(name="uring")
def a_daemon_over_uring():
    """A daemon with one thread. Skips where the system does not allow io_uring."""
    with Stayd(server={"threads": 1, "io": "uring"}) as stayd:
        if io_of(stayd) != "uring":
            pytest.skip("no io_uring: " + stayd.log.splitlines()[0])
        yield stayd


def test_the_setting_is_what_stats_settings_tells(uring):
    assert "io_uring" not in uring.log
    for setting in ("epoll", "auto"):
        with Stayd(server={"io": setting}) as stayd:
            assert io_of(stayd) == "epoll"
            assert "io_uring" not in stayd.log


def test_a_system_that_forbids_io_uring_is_served_by_epoll_with_one_line_in_the_log():
    library = preload.library("protocol/no_uring.c")
    if library is None:
        pytest.skip("a sanitizer's library must be the first to be loaded")
    why = "Operation not permitted" if BUILT_WITH_URING else "built without liburing"
    with Stayd(server={"threads": 2, "io": "uring"},
               environment={"LD_PRELOAD": str(library)}) as stayd:
        assert io_of(stayd) == "epoll"
        stayd.connect("sessions").expect_in_step()
        assert stayd.log.count("io_uring") == 1
        assert "using epoll instead" in stayd.log and why in stayd.log


def test_many_clients_at_once_get_their_own_replies(uring):
    """Replies of all sizes: sent in groups, alone, and in pieces."""
    clients = [uring.connect(("cache", "sessions")[i % 2]) for i in range(CLIENTS)]
    for size in (1, 300, 10_000, 60_000):
        values = [b"%d " % i * size for i in range(CLIENTS)]
        for i, client in enumerate(clients):
            client.send(b"set k%d 0 0 %d\r\n%b\r\n" % (i, len(values[i]), values[i]))
        for client in clients:
            client.expect(b"STORED\r\n")
        for i, client in enumerate(clients):
            client.send((b"get k%d\r\nget none\r\n" % i) * 3)
        for i, client in enumerate(clients):
            found = b"VALUE k%d 0 %d\r\n%b\r\nEND\r\n" % (i, len(values[i]), values[i])
            client.expect((found + b"END\r\n") * 3)


def test_a_client_that_breaks_off_does_not_disturb_its_group(uring):
    clients = [uring.connect() for _ in range(CLIENTS)]
    for round_number in range(3):
        for i, client in enumerate(clients):
            client.send(b"get none\r\n" * (1 + round_number))
            if i % 7 == round_number:
                client.close()
        for client in clients:
            if client.socket.fileno() >= 0:
                client.expect(b"END\r\n" * (1 + round_number))
        clients = [client for client in clients if client.socket.fileno() >= 0]
    wait_until(lambda: int(clients[0].stats()["curr_connections"]) == len(clients))
