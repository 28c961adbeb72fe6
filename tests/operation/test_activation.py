"""Listening sockets that systemd passes to the daemon and keeps open while the daemon restarts."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from support.activated import Activated, listening
from support.servers import Raw, Stayd, free_port, wait_until


class Visitor(threading.Thread):
    """Connects again and again, stores and reads an item on each connection."""

    def __init__(self, address, key):
        super().__init__()
        self.address, self.key = address, key
        self.served = self.cut = 0
        self.longest = 0.0
        self.refused = []
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            begin = time.monotonic()
            try:
                with Raw(self.address) as connection:
                    self.visit(connection)
            except (ConnectionRefusedError, FileNotFoundError, TimeoutError) as error:
                self.refused.append(error)
            except (OSError, EOFError):  # the daemon that had accepted the connection has ended
                self.cut += 1
            else:
                self.served += 1
            self.longest = max(self.longest, time.monotonic() - begin)

    def visit(self, connection):
        """Two requests."""
        connection.send(b"set %b 0 0 1\r\nv\r\nget %b\r\n" % (self.key, self.key))
        wanted = b"STORED\r\nVALUE %b 0 1\r\nv\r\nEND\r\n" % self.key
        if connection.read_exact(len(wanted)) != wanted:
            self.refused.append(wanted)


def test_no_client_is_refused_all_through_restarts_and_a_crash():
    with Activated(sessions={"memory": "16M"}) as stayd:
        visitors = [Visitor(address, b"k%d" % number) for number, address in enumerate(
            (stayd.socket("sessions"), ("127.0.0.1", stayd.port("sessions")),
             stayd.socket("cache"), ("127.0.0.1", stayd.port("cache"))))]
        for visitor in visitors:
            visitor.start()

        def wait_for_visits():
            served = [visitor.served for visitor in visitors]
            wait_until(lambda: all(visitor.served > before + 5 or visitor.refused
                                   for visitor, before in zip(visitors, served)), what="visits")

        try:
            wait_for_visits()
            for end in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
                stayd.restart(end)
                wait_for_visits()
        finally:
            for visitor in visitors:
                visitor.ended.set()
            for visitor in visitors:
                visitor.join()
        longest = max(visitor.longest for visitor in visitors)
        print(f"the longest visit, over three restarts: {1000 * longest:.0f} ms")
        assert [visitor.refused for visitor in visitors] == [[]] * 4
        assert [visitor.cut <= 2 * 3 for visitor in visitors] == [True] * 4
        kept = stayd.connect("sessions")
        kept.ask(b"get k0\r\n", b"VALUE k0 0 1\r\nv\r\nEND\r\n")


def test_a_client_that_comes_while_no_daemon_runs_is_served_by_the_next():
    with Activated() as stayd:
        stayd.terminate()
        with Raw(("127.0.0.1", stayd.port("sessions"))) as tcp, Raw(stayd.socket("cache")) as unix:
            tcp.send(b"mn\r\n")
            unix.send(b"mn\r\n")
            stayd.start()
            tcp.expect(b"MN\r\n")
            unix.expect(b"MN\r\n")


def test_sockets_without_names_are_found_by_their_addresses():
    with Activated(variables={"LISTEN_FDNAMES": None}) as stayd:
        stayd.connect("sessions").expect_in_step()


def test_the_daemon_opens_what_is_not_passed():
    with contextlib.closing(Activated()) as stayd:
        for item, _ in stayd.passed[1:]:
            item.close()
        os.unlink(stayd.socket("cache"))
        os.unlink(stayd.socket("sessions"))
        del stayd.passed[1:]
        stayd.start()
        passed, _ = stayd.passed[0]
        assert passed.getsockname()[1] == stayd.port("cache")
        stayd.connect_socket("sessions").expect_in_step()
        stayd.terminate()
        with Raw(("127.0.0.1", stayd.port("cache"))):  # the socket of `cache` is still open in this process
            pass
        with pytest.raises(ConnectionRefusedError):
            Raw(("127.0.0.1", stayd.port("sessions")))


def test_what_is_for_another_process_is_ignored():
    with Stayd(environment={"LISTEN_PID": "1", "LISTEN_FDS": "77", "LISTEN_FDNAMES": "x"}) as stayd:
        stayd.connect("sessions").expect_in_step()


def replace(position, make, name=None):
    """Passes another socket in the place of one."""
    def change(stayd):
        old, old_name = stayd.passed[position]
        stayd.passed[position] = (make(stayd, old), name or old_name)
    return change


def named(position, name):
    """Passes a socket under another name."""
    return replace(position, lambda stayd, old: old, name)


def connected(stayd, old):
    """One end of a connection."""
    pair = socket.socketpair()
    stayd._kept = pair[1]
    return pair[0]


def dual_stack(stayd, old):
    """A dual-stack socket on the port of `cache`: its address is [::]:PORT."""
    port = stayd.port("cache")
    old.close()
    text = stayd.config.replace(f"127.0.0.1:{port}", f"[::]:{port}")
    stayd.configure(text.replace("[pool cache]", "[pool cache]\ninsecure = yes"))
    made = socket.socket(socket.AF_INET6)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", port))
    made.listen()
    return made


def wide_open(stayd, old):
    """The same Unix socket, with rights for everybody."""
    os.chmod(stayd.socket("cache"), 0o666)
    return old


def variables(**changed):
    """Other variables."""
    return lambda stayd: stayd.variables.update(changed)


LIES = [
    (variables(LISTEN_FDS="5", LISTEN_FDNAMES=None), "descriptor 7 is not open"),
    (variables(LISTEN_FDS="many"), "LISTEN_FDS=many: not a number of sockets"),
    (variables(LISTEN_FDS="-1"), "LISTEN_FDS=-1: not a number of sockets"),
    (variables(LISTEN_FDS="100000"), "LISTEN_FDS=100000: not a number of sockets from 0 to 512"),
    (variables(LISTEN_PID="me"), "LISTEN_PID=me: not a process id"),
    (variables(LISTEN_FDNAMES="cache"), "has 1 names, and LISTEN_FDS says 4 sockets"),
    (variables(LISTEN_FDNAMES="cache:cache:sessions:sessions:"), "has 5 names"),
    (replace(0, lambda stayd, old: open(stayd.config_path)), "descriptor 3 is not a socket"),
    (replace(0, lambda stayd, old: socket.socket(type=socket.SOCK_DGRAM)),
     "descriptor 3 is not a stream socket; use ListenStream="),
    (replace(0, lambda stayd, old: socket.socket()), "descriptor 3 does not listen"),
    (replace(0, connected), "descriptor 3 does not listen; use Accept=no"),
    (replace(0, dual_stack), "takes IPv4 connections too; use BindIPv6Only=ipv6-only"),
    (replace(0, lambda stayd, old: listening(("127.0.0.1", free_port()))),
     "is passed for pool cache, and is not in `listen`"),
    (replace(1, lambda stayd, old: listening(str(stayd.run_dir / "other.sock"))),
     "other.sock is passed for pool cache, and is not in `listen`"),
    (replace(3, lambda stayd, old: old.dup() if old.close() else stayd.passed[2][0].dup()),
     "is passed twice"),
    (named(2, "cache"), "is passed for pool cache, and is an address of pool sessions; "
                        "set FileDescriptorName=sessions"),
    (named(2, "stayd.socket"), "under the name 'stayd.socket', and there is no such pool"),
    (replace(1, wide_open), "has mode 0666, and pool cache has socket_mode = 0660"),
]


@pytest.mark.parametrize("change, words", LIES, ids=[words[:40] for _, words in LIES])
def test_sockets_that_are_not_what_they_should_be_are_an_error_that_says_why(tmp_path, change, words):
    with contextlib.closing(Activated()) as stayd:
        change(stayd)
        with open(tmp_path / "log", "wb") as log:  # not a client: this process also has the sockets open
            process = stayd._spawn(log)
        assert process.wait(20) == 1
        assert words in (tmp_path / "log").read_text()
        assert list(stayd.data_dir.iterdir()) == []


def test_systemds_own_tool_starts_it_at_the_first_connection(tmp_path):
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        pytest.skip("there is no systemd-socket-activate")
    with contextlib.closing(Stayd()) as stayd:
        sockets = [stayd.address("cache"), stayd.socket("cache"), stayd.address("sessions")]
        with open(tmp_path / "log", "wb") as log:
            process = subprocess.Popen(
                [tool, *(f"--listen={address}" for address in sockets),
                 "--fdname=cache:cache:sessions", *stayd.command()], stderr=log, stdout=log)
        try:
            wait_until(lambda: (tmp_path / "log").read_text().count("Listening on") == 3
                       or process.poll() is not None, what="the sockets")
            os.chmod(stayd.socket("cache"), 0o660)
            with Raw(("127.0.0.1", stayd.port("sessions"))) as connection:
                connection.expect_in_step()
            with Raw(stayd.socket("cache")) as connection:
                connection.expect_in_step()
        finally:
            process.terminate()
            process.wait(20)
