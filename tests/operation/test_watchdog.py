"""systemd's watchdog: the daemon reports that all is well, except while a worker thread hangs."""

import contextlib
import pathlib

import pytest

from support import preload
from support.gate import gated
from support.notified import Notified
from support.servers import Stayd, wait_until

INTERVAL_US = 100_000


@contextlib.contextmanager
def watched(folder):
    """A daemon with a watchdog, and the socket that receives its messages."""
    library = preload.library("operation/hang.c")
    if library is None:
        pytest.skip("a sanitizer's library must be the first to be loaded")
    name = str(folder / "notify")
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": str(INTERVAL_US),
                   "LD_PRELOAD": str(library), "STAYD_HANG": str(folder)}
    with Notified(name) as notified, \
            Stayd(environment=environment, server={"threads": 1}) as stayd:
        notified.wait_for("READY")
        yield stayd, notified


def test_a_worker_that_hangs_stops_the_pings_until_it_goes_on(tmp_path):
    with watched(tmp_path) as (stayd, notified):
        notified.wait_for("WATCHDOG")
        notified.wait_for("WATCHDOG")
        (tmp_path / "hang").touch()

        def is_silent():
            """Two lines are logged, and no ping is sent between them."""
            notified.take_all()
            before = stayd.log.count("worker thread 1 does not answer")
            wait_until(lambda: stayd.log.count("worker thread 1 does not answer") > before + 1,
                       what="the log lines")
            return notified.take_all() == []

        wait_until(is_silent, what="the end of the pings")
        (tmp_path / "hang").unlink()
        notified.wait_for("WATCHDOG")
        stayd.connect("sessions").expect_in_step()


def worker_state(stayd):
    """The state of the worker thread, as /proc has it."""
    for task in pathlib.Path(f"/proc/{stayd.pid}/task").iterdir():
        name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        if name == "worker 0":
            return rest.split()[0]
    return None


def test_a_worker_that_waits_for_the_disk_does_not_stop_the_pings(tmp_path):
    with watched(tmp_path) as (stayd, notified):
        (tmp_path / "disk").touch()
        with stayd.connect("sessions") as connection:
            connection.send(b"mn\r\n")
            wait_until(lambda: worker_state(stayd) == "D", what="the wait for the disk")
            notified.take_all()
            for _ in range(4):
                notified.wait_for("WATCHDOG")
            assert worker_state(stayd) == "D"
            (tmp_path / "disk").unlink()
            connection.expect(b"MN\r\n")


def test_a_disk_that_hangs_does_not_stop_the_pings(tmp_path):
    name = str(tmp_path / "notify")
    with Notified(name) as notified, gated(sessions={"fsync": "always"}) as (stayd, gate):
        stayd.terminate()
        stayd._environment.update(NOTIFY_SOCKET=name, WATCHDOG_USEC=str(INTERVAL_US))
        stayd.start()
        notified.wait_for("READY")
        gate.shut()
        with stayd.connect("sessions") as writer:
            writer.send(b"set k 0 0 1\r\nv\r\n")
            for _ in range(4):
                notified.wait_for("WATCHDOG")
            stayd.connect("sessions").expect_in_step()
            gate.open()
            writer.expect(b"STORED\r\n")


def test_a_watchdog_that_makes_no_sense_is_a_warning():
    with Stayd(environment={"WATCHDOG_USEC": "soon"}) as stayd:
        assert "cannot use systemd's watchdog: WATCHDOG_USEC=soon" in stayd.log
