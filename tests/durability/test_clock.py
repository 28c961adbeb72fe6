"""A wrong wall clock hides sessions until it is corrected, and removes none.

support/clock.c, preloaded, gives the daemon a clock that a test can set. libfaketime is an independent
implementation of such a clock, and is used if it is installed. tests/unit/test_expiry_clock.c tests to
the second when memory may be freed.
"""

import pathlib
import time

import pytest

from support import preload
from support.clock import Clock, let_the_janitor_pass
from support.servers import Stayd, wait_until

NO_PRELOAD = "a sanitizer's library must be the first to be loaded"
DAY = 86400
AHEAD = 40 * DAY
SESSIONS = 500
TTL = 14 * DAY


@pytest.fixture
def machine(tmp_path):
    """A daemon and its clock."""
    clock = Clock(tmp_path / "clock")
    environment = clock.environment()
    if environment is None:
        pytest.skip(NO_PRELOAD)
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
    assert "behind the last time that was noted" in stayd.log
    clock.step(back)
    wait_until(lambda: stayd.log.count("is trusted") > 0)
    let_the_janitor_pass(stayd, clock.step)
    assert count_there(stayd) == SESSIONS


def test_a_system_that_was_suspended_frees_what_expired_meanwhile(machine):
    stayd, clock = machine
    connection = stayd.connect("sessions")
    log_in(connection)
    clock.sleep(AHEAD)
    wait_until(lambda: connection.stats()["curr_items"] == "0", what="the memory to be freed")


def test_libfaketime_takes_no_session_away(tmp_path):
    if preload.has_sanitizer():
        pytest.skip(NO_PRELOAD)
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
