"""A clean stop: SIGTERM, SIGINT or SIGUSR1, exit code 0, and everything there when it starts again."""

import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import pytest

from support.servers import Stayd, together, wait_until
from support.workload import Workload


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_stop_under_load_exits_with_0_and_loses_nothing_acknowledged(signal_number):
    generator = random.Random(signal_number)
    with Stayd(sessions={"memory": "16M", "item_max": "64K"}) as stayd:
        workload = Workload(lambda: stayd.connect("sessions"), seed=5)
        for _ in range(3):
            codes = []

            def stop():
                time.sleep(generator.uniform(0.1, 0.5))  # the moment of the stop
                codes.append(stayd.terminate(signal_number))

            workload.run_until(stop)
            assert codes == [0], stayd.log
            stayd.start()
            workload.verify(stayd.connect("sessions"))


def test_a_stop_closes_all_connections_and_takes_its_sockets_away():
    together(lambda: stop_with(signal.SIGTERM), lambda: stop_with(signal.SIGINT))


def stop_with(signal_number):
    """One part of the test above, with one signal."""
    with Stayd() as stayd:
        idle = [stayd.connect(pool) for pool in ("cache", "sessions") for _ in range(20)]
        half = stayd.connect("sessions")
        half.send(b"set k 0 0 100\r\nhalf")
        stuck = stayd.connect("sessions")
        stuck.set(b"large", b"x" * 900_000)
        stuck.send(b"get large\r\n" * 50)
        paths = [pathlib.Path(stayd.socket(pool)) for pool in ("cache", "sessions")]
        started = time.monotonic()
        assert stayd.terminate(signal_number) == 0
        assert time.monotonic() - started < 5, "a client that does not read holds up the stop"
        for connection in idle:
            connection.expect_closed()
        assert not any(path.exists() for path in paths)
        for pool in ("cache", "sessions"):
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", stayd.port(pool)), 1)


def test_a_stop_right_after_the_start_is_clean():
    with Stayd() as stayd:
        for _ in range(3):
            assert stayd.restart() == 0


def test_a_signal_while_it_starts_ends_it_cleanly():
    """At any moment of a start, the signal leads to exit status 0, or kills a daemon that has no handler
    yet."""
    with Stayd(sessions={"memory": "64M"}) as stayd:
        stayd.connect("sessions").set(b"k", b"v")
        stayd.terminate()
        for milliseconds in (0, 1, 2, 4, 8, 16):
            process = subprocess.Popen(stayd.command(), stderr=subprocess.DEVNULL,
                                       env=stayd.environment(), cwd=stayd.directory)
            time.sleep(milliseconds / 1000)  # the moment of the signal
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in (0, -signal.SIGTERM), f"after {milliseconds} ms"
        stayd.start()
        assert stayd.connect("sessions").get(b"k") == b"v"


def test_a_signal_ends_a_start_before_its_pools_are_recovered():
    with Stayd() as stayd:
        stayd.connect("sessions").set(b"k", b"v")
        stayd.kill9()

        def signal_self():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            os.kill(os.getpid(), signal.SIGTERM)  # waits, also across exec

        done = subprocess.run(stayd.command(), stderr=subprocess.PIPE, env=stayd.environment(),
                              cwd=stayd.directory, preexec_fn=signal_self, timeout=60)
        assert done.returncode == 0
        assert b"stopping" in done.stderr and b"recovered" not in done.stderr
        stayd.start()
        assert stayd.connect("sessions").get(b"k") == b"v"


def test_a_second_signal_does_no_harm():
    with Stayd() as stayd:
        stayd.connect("sessions").set(b"k", b"v")
        for _ in range(5):
            stayd.process.send_signal(signal.SIGTERM)
        assert stayd.terminate() == 0
        stayd.start()
        assert stayd.connect("sessions").get(b"k") == b"v"


def test_what_was_stored_before_is_there_after_with_all_that_belongs_to_it():
    with Stayd() as stayd:
        connection = stayd.connect("sessions")
        items = {}
        for number in range(2000):
            value = bytes([number & 255]) * (number * 7 % 3000)
            expiry = [0, 100_000, 1_000_000][number % 3]
            connection.ask(
                b"ms k%d %d F%d T%d\r\n%b\r\n" % (number, len(value), number, expiry, value),
                b"HD\r\n",
            )
        connection.ask(b"md k5 I\r\n", b"HD\r\n")
        connection.ask(b"mg won N1000\r\n", b"HD W\r\n")
        numbers = [number for number in range(2000) if number != 5]
        request = b"".join(b"mg k%d v f c s u\r\n" % number for number in numbers)

        def everything():
            connection = stayd.connect("sessions")
            connection.send(request + b"mn\r\n")
            return connection.read_until(b"\r\nMN\r\n")

        items = everything()
        assert stayd.restart() == 0
        assert everything() == items
        connection = stayd.connect("sessions")
        connection.ask(b"mg k5\r\n", b"HD X W\r\n")
        connection.ask(b"mg won\r\n", b"HD Z\r\n")
        assert 99_900 < int(connection.ask(b"mg k1 t\r\n")[4:]) <= 100_000


def test_standard_error_tells_of_start_and_stop():
    with Stayd() as stayd:
        wait_until(lambda: "sessions" in stayd.log and "cache" in stayd.log)
        lines = stayd.log.count("\n")
        stayd.terminate()
        assert stayd.log.count("\n") > lines
