"""A wall clock that is wrong hides sessions until it is put right, and takes none away.

clock.c, preloaded, is the clock that somebody sets while the daemon runs; libfaketime, where the
system has it, is another that knows nothing of stayd. When memory may be freed, to the second,
tests/unit/test_expiry_clock.c proves.
"""

import pathlib
import struct
import subprocess
import time

import pytest

from support.servers import ROOT, Stayd, stayd_binary, wait_until

DAY = 86400
AHEAD = 40 * DAY
SESSIONS = 500
TTL = 14 * DAY


class Clock:
    """The clocks of one daemon: how many seconds they are ahead of the system's."""

    def __init__(self, path):
        self._path = path
        self.wall = self.boot = 0
        path.write_bytes(bytes(4096))

    def step(self, seconds):
        """Somebody sets the wall clock."""
        self.wall += seconds
        self._write()

    def sleep(self, seconds):
        """The system is suspended for so long."""
        self.wall += seconds
        self.boot += seconds
        self._write()

    def _write(self):
        with open(self._path, "r+b") as file:
            file.write(struct.pack("<qq", self.wall, self.boot))


def skip_under_a_sanitizer():
    linked = subprocess.run(["ldd", stayd_binary()], capture_output=True, text=True, check=True)
    if "libasan" in linked.stdout or "libtsan" in linked.stdout:
        pytest.skip("a sanitizer's library must be the first to be loaded")


@pytest.fixture(scope="module")
def clock_library(tmp_path_factory):
    skip_under_a_sanitizer()
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library,
                    ROOT / "tests" / "durability" / "clock.c"], check=True)
    return library


@pytest.fixture
def machine(clock_library, tmp_path):
    """A daemon and its clock."""
    clock = Clock(tmp_path / "clock")
    environment = {"LD_PRELOAD": str(clock_library), "STAYD_CLOCK": str(tmp_path / "clock")}
    with Stayd(sessions={"memory": "16M", "item_max": "64K"}, server={"threads": 1},
               environment=environment) as stayd:
        yield stayd, clock


def log_in(connection, ttl=TTL):
    for number in range(SESSIONS):
        assert connection.set(b"s%d" % number, b"v" * 100, expiry=ttl) == b"STORED"


def count_there(stayd):
    connection = stayd.connect("sessions")
    connection.send(b"get %b\r\n" % b" ".join(b"s%d" % number for number in range(SESSIONS)))
    return connection.read_until(b"END\r\n").count(b"VALUE ")


def let_the_janitor_pass(stayd, step):
    """Waits for two whole passes: each begins with a look at the clock, and logs a step of it."""
    for seconds in (10, 20, 30):
        before = stayd.log.count("sessions: the system's clock has stepped")
        step(seconds)
        wait_until(lambda: stayd.log.count("sessions: the system's clock has stepped") > before)


def test_a_clock_that_jumps_ahead_and_back_takes_no_session_away(machine):
    stayd, clock = machine
    log_in(stayd.connect("sessions"))
    clock.step(AHEAD)
    let_the_janitor_pass(stayd, clock.step)
    assert count_there(stayd) == 0
    stayd.kill9()
    stayd.start()
    let_the_janitor_pass(stayd, clock.step)
    stayd.restart()
    let_the_janitor_pass(stayd, clock.step)
    assert count_there(stayd) == 0
    clock.step(-clock.wall)
    assert count_there(stayd) == SESSIONS
    stayd.kill9()
    stayd.start()
    assert count_there(stayd) == SESSIONS


def test_a_session_that_is_ended_while_it_is_hidden_stays_gone(machine):
    stayd, clock = machine
    log_in(stayd.connect("sessions"))
    clock.step(AHEAD)
    connection = stayd.connect("sessions")
    wait_until(lambda: connection.get(b"s0") is None)
    assert connection.ask(b"delete s0\r\n") == b"NOT_FOUND"
    assert connection.ask(b"touch s1 0\r\n") == b"NOT_FOUND"
    stayd.kill9()
    clock.step(-AHEAD)
    stayd.start()
    connection = stayd.connect("sessions")
    assert connection.get(b"s0") is None
    assert count_there(stayd) == SESSIONS - 1


def test_a_start_in_1970_takes_no_session_away(machine):
    stayd, clock = machine
    log_in(stayd.connect("sessions"))
    back = int(time.time()) - 1000
    stayd.kill9()
    clock.step(-back)
    stayd.start()
    assert count_there(stayd) == SESSIONS
    assert "behind what it was" in stayd.log
    clock.step(back)
    wait_until(lambda: stayd.log.count("is believed") > 0)
    let_the_janitor_pass(stayd, clock.step)
    assert count_there(stayd) == SESSIONS


def test_a_system_that_was_suspended_frees_what_expired_meanwhile(machine):
    stayd, clock = machine
    connection = stayd.connect("sessions")
    log_in(connection)
    clock.sleep(AHEAD)
    wait_until(lambda: connection.stats()["curr_items"] == "0", what="the memory to be freed")


def test_libfaketime_takes_no_session_away(tmp_path):
    skip_under_a_sanitizer()
    found = list(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("this system has no libfaketime (package faketime)")
    shift = tmp_path / "shift"
    shift.write_text("+0\n")
    environment = {
        "LD_PRELOAD": str(found[0]), "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }
    with Stayd(sessions={"memory": "16M", "item_max": "64K"}, server={"threads": 1},
               environment=environment) as stayd:
        log_in(stayd.connect("sessions"))

        def step(days):
            shift.write_text(f"+{40 + days}d\n")

        step(0)
        wait_until(lambda: count_there(stayd) == 0)
        let_the_janitor_pass(stayd, step)
        stayd.restart()
        let_the_janitor_pass(stayd, step)
        shift.write_text("+0\n")
        wait_until(lambda: count_there(stayd) == SESSIONS)
