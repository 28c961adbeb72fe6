"""The daemon under systemd and for an administrator: signals, limits, and CPU time."""

import os
import pathlib
import resource
import signal
import socket
import subprocess
import threading
import time

import pytest

from support.notified import Notified
from support.preload import has_sanitizer
from support.servers import Raw, Stayd, free_port, stayd_binary, wait_until


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_systemd_is_told_when_the_daemon_is_ready_and_when_it_stops(tmp_path, kind):
    name = str(tmp_path / "notify") if kind == "file" else f"@stayd-test-{os.getpid()}"
    with Notified(name) as notified, Stayd(environment={"NOTIFY_SOCKET": name}) as stayd:
        assert notified.receive()["STATUS"] == "Opening pool cache"
        assert notified.receive()["STATUS"] == "Opening pool sessions"
        assert notified.receive() == {"READY": "1", "STATUS": "Serving 2 pools"}
        stayd.process.send_signal(signal.SIGHUP)
        assert notified.receive()["RELOADING"] == "1"
        assert notified.receive()["READY"] == "1"
        assert stayd.terminate() == 0
        assert notified.receive()["STOPPING"] == "1"


def test_ready_is_said_only_when_clients_are_served(tmp_path):
    name = str(tmp_path / "notify")
    with Notified(name) as notified, Stayd(environment={"NOTIFY_SOCKET": name}) as stayd:
        stayd.terminate()
        notified.wait_for("STOPPING")
        with subprocess.Popen(stayd.command(), env=stayd.environment(),
                              stderr=subprocess.DEVNULL) as process:
            notified.wait_for("READY")
            with stayd.connect("sessions") as connection:
                connection.expect_in_step()
            process.terminate()


def test_under_systemd_lines_begin_with_the_journals_priority():
    with Stayd(environment={"JOURNAL_STREAM": "1:2"}) as stayd:
        stayd.terminate()
        assert all(line.startswith("<6>") for line in stayd.log.splitlines()), stayd.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_it_cleanly(number):
    with Stayd() as stayd:
        sockets = [stayd.socket("cache"), stayd.socket("sessions")]
        assert all(os.path.exists(path) for path in sockets)
        assert stayd.terminate(number) == 0
        assert not any(os.path.exists(path) for path in sockets)


def test_more_signals_while_it_stops_are_no_crash():
    with Stayd() as stayd:
        stayd.connect("cache").send(b"get a")
        for _ in range(5):
            stayd.process.send_signal(signal.SIGTERM)
            stayd.process.send_signal(signal.SIGINT)
            stayd.process.send_signal(signal.SIGUSR1)
        assert stayd.terminate() == 0




def test_what_was_received_before_the_end_is_answered():
    with Stayd() as stayd:
        connections = [stayd.connect(pool) for pool in ("cache", "sessions") for _ in range(5)]
        for connection in connections:
            connection.expect_in_step()
        for connection in connections:
            connection.send(b"set k 0 0 1\r\nv\r\n" + b"mn\r\n" * 1000)
        stayd.process.send_signal(signal.SIGTERM)
        for connection in connections:
            assert connection.read_to_end() == b"STORED\r\n" + b"MN\r\n" * 1000
        assert stayd.terminate() == 0


def test_a_client_that_takes_nothing_does_not_hold_up_the_end():
    with Stayd() as stayd:
        connection = stayd.connect("cache")
        connection.set(b"k", b"v" * 1_000_000)
        connection.send(b"get k\r\n" * 100)
        begin = time.monotonic()
        assert stayd.terminate() == 0
        assert time.monotonic() - begin < 10


def test_without_file_descriptors_clients_wait_and_are_served_later():
    with Stayd(server={"admin": "no"}) as stayd:
        served = stayd.connect("cache")
        served.expect_in_step()
        used = len(os.listdir(f"/proc/{stayd.pid}/fd"))
        _, hard = resource.prlimit(stayd.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(stayd.pid, resource.RLIMIT_NOFILE, (used, hard))
        waiting = [stayd.connect("cache") for _ in range(3)]
        wait_until(lambda: "cannot accept connections" in stayd.log, what="the log line")
        served.expect_in_step()
        resource.prlimit(stayd.pid, resource.RLIMIT_NOFILE, (used + 100, hard))
        for connection in waiting:
            connection.expect_in_step()
        assert stayd.log.count("cannot accept connections") == 1


def run_as_nobody():
    """Runs in the child before it becomes the daemon: few descriptors, and no right to more."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def test_a_limit_of_files_that_cannot_be_raised_lowers_the_connections(tmp_path):
    if not is_reachable_by_all(stayd_binary()):
        pytest.skip("another user cannot run the daemon where it is built")
    port = free_port()
    log = tmp_path / "log"
    with open(log, "wb") as stderr:
        process = subprocess.Popen(
            [stayd_binary(), "-p", str(port), "-c", "1000"], stderr=stderr, preexec_fn=run_as_nobody
        )
    try:
        wait_until(
            lambda: "ready" in log.read_text() or process.poll() is not None, what="the start"
        )
        assert "max_connections is lowered from 1000 to" in log.read_text()
        with Raw(("127.0.0.1", port)) as connection:
            allowed = int(connection.stats()["max_connections"])
            assert 100 <= allowed < 300
            others = [Raw(("127.0.0.1", port)) for _ in range(allowed - 1)]
            others[-1].expect_in_step()
            with Raw(("127.0.0.1", port)) as refused:
                assert refused.read_to_end() == b"ERROR Too many open connections\r\n"
            for other in others:
                other.close()
    finally:
        process.terminate()
        assert process.wait(20) == 0


def is_reachable_by_all(path):
    """Whether everybody may use the file and every folder on the way to it."""
    path = pathlib.Path(path).resolve()
    return all(part.stat().st_mode & 0o001 for part in [path, *path.parents])


@pytest.mark.skipif(has_sanitizer(), reason="a sanitizer's memory says nothing")
def test_an_idle_connection_costs_less_than_a_kilobyte():
    count = 3000
    with Stayd(server={"max_connections": 2 * count}) as stayd:
        first = stayd.connect("cache")
        first.set(b"k", b"v" * 10_000)
        first.ask(b"get k\r\n", b"VALUE k 0 10000\r\n%b\r\nEND\r\n" % (b"v" * 10_000))
        before = stayd.resident_bytes()
        for _ in range(count):
            connection = stayd.connect("cache")
            connection.send(b"get k\r\n" * 3 + b"get")  # half a request remains
            connection.expect(b"VALUE k 0 10000\r\n%b\r\nEND\r\n" % (b"v" * 10_000) * 3)
            connection.send(b" k\r\n")
            connection.expect(b"VALUE k 0 10000\r\n%b\r\nEND\r\n" % (b"v" * 10_000))
        assert (stayd.resident_bytes() - before) / count < 1024


def flood(connection, stop):
    """Sends requests without end, and reads all replies."""
    def take():
        try:
            while connection.socket.recv(1 << 20):
                pass
        except OSError:
            pass

    connection.socket.settimeout(None)
    threading.Thread(target=take, daemon=True).start()
    try:
        while not stop.is_set():
            connection.socket.sendall(b"get none\r\n" * 20_000)
    except OSError:
        pass


def test_one_client_with_endless_requests_does_not_starve_the_others():
    with Stayd(server={"threads": 1}) as stayd:
        stop = threading.Event()
        flooding = stayd.connect("cache")
        other = stayd.connect("sessions")
        other.expect_in_step()
        thread = threading.Thread(target=flood, args=(flooding, stop))
        thread.start()
        try:
            begin = time.monotonic()
            for _ in range(100):
                other.expect_in_step()
            assert time.monotonic() - begin < 10
        finally:
            stop.set()
            flooding.socket.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_client_that_takes_no_replies_is_closed_after_send_timeout():
    with Stayd(server={"send_timeout": "1s"}) as stayd:
        connection = stayd.connect("cache")
        connection.set(b"k", b"v" * 1_000_000)
        connection.send(b"get k\r\n" * 50)
        stats = stayd.connect("sessions")
        wait_until(
            lambda: stats.stats()["curr_connections"] == "1", what="the end of the connection"
        )


def test_a_client_that_takes_its_replies_slowly_is_not_closed():
    with Stayd(server={"send_timeout": "1s"}) as stayd:
        connection = stayd.connect("cache")
        connection.set(b"k", b"v" * 1_000_000)
        begin = time.monotonic()
        connection.send(b"get k\r\n" * 20)
        reply = b"VALUE k 0 1000000\r\n" + b"v" * 1_000_000 + b"\r\nEND\r\n"
        taken = 0
        while taken < len(reply) * 20:
            pause = threading.Event()
            pause.wait(0.1)  # the slow pace that the test needs, not a wait for the server
            taken += len(connection.socket.recv(800_000))
        assert time.monotonic() - begin > 2
        connection.expect_in_step()
