"""The hold of a pool, during which a backup copies its file: which client has the hold, which requests
wait for its end, and what ends it."""

import os
import pathlib
import subprocess
import threading
import time

import pytest

from support.servers import Stayd, wait_until
from support.stayctl import SMALL, STAYCTL, dump, values


def begin_hold(connection, seconds, timeout=10):
    """Asks until the pool is held; returns the hold's number."""
    def asked():
        reply = connection.ask(b"hold %d\r\n" % seconds)
        assert reply == b"BUSY" or reply.startswith(b"HOLD "), reply
        return int(reply[5:]) if reply != b"BUSY" else 0

    return wait_until(asked, timeout, "a hold")


@pytest.fixture
def holding():
    """A daemon with a small pool."""
    with Stayd(sessions=SMALL, server={"threads": 3}) as stayd:
        yield stayd


def test_a_hold_belongs_to_one_client_until_it_ends_it(holding):
    one, two = holding.connect("sessions"), holding.connect("sessions")
    number = begin_hold(one, 20)
    assert two.ask(b"hold 20\r\n") == b"BUSY"
    assert two.ask(b"hold 20 %d\r\n" % (number + 1)) == b"NOT_FOUND"
    assert one.ask(b"hold 20 %d\r\n" % number) == b"HOLD %d" % number
    assert one.ask(b"hold 0 %d\r\n" % number) == b"OK"
    assert one.ask(b"hold 20 %d\r\n" % number) == b"NOT_FOUND"
    later = begin_hold(two, 20)
    assert later > number
    assert one.ask(b"hold 0 %d\r\n" % number) == b"NOT_FOUND"
    assert two.ask(b"hold 0 %d\r\n" % later) == b"OK"


def test_a_hold_is_numbered_between_the_writes_before_it_and_those_after(holding):
    connection = holding.connect("sessions")
    before = int(connection.ask(b"ms k 1 c\r\nv\r\n").split(b" c")[1])
    number = begin_hold(connection, 20)
    after = int(connection.ask(b"ms k 1 c\r\nv\r\n").split(b" c")[1])
    assert before < number < after


def test_a_hold_ends_by_itself_when_its_client_has_vanished(holding):
    gone = holding.connect("sessions")
    number = begin_hold(gone, 1)
    gone.reset()
    other = holding.connect("sessions")
    assert other.ask(b"hold 1\r\n") == b"BUSY"
    assert begin_hold(other, 1, timeout=6) > number
    assert other.ask(b"hold 1 %d\r\n" % number) == b"NOT_FOUND"


def test_a_pool_without_a_file_can_not_be_held(holding):
    connection = holding.connect("cache")
    assert connection.ask(b"hold 10\r\n").startswith(b"CLIENT_ERROR the pool has no file to copy")
    assert connection.ask(b"hold 10 1\r\n").startswith(b"CLIENT_ERROR the pool has no file to copy")


def overwrite(connection, count, value=b"c" * 4000):
    """Sends `count` updates of 100 keys; returns the replies other than STORED."""
    connection.send(b"".join(
        b"set over-%d 0 0 %d\r\n%b\r\n" % (number % 100, len(value), value)
        for number in range(count)
    ))
    return [reply for reply in (connection.read_line(30) for _ in range(count))
            if reply != b"STORED"]


def test_nothing_is_freed_or_moved_during_a_hold_and_afterwards_it_is(holding):
    connection = holding.connect("sessions")

    def stat(name):
        return int(connection.stats()[name])

    def compacted():
        return stat("segments_compacted"), stat("bytes_moved")

    live = 0
    while stat("segments_free") > 24:  # somewhat more than the janitor keeps free
        live += 1
        connection.set(b"live-%d" % live, b"so that the segment is not all dead")
        assert overwrite(connection, 12) == []
    number = begin_hold(connection, 20)
    before, free = compacted(), stat("segments_free")
    assert free >= 240 // 4, "there is room for what comes"
    assert overwrite(connection, (free - 8) * 16) == [], "fewer than the janitor leaves alone"
    assert stat("segments_free") <= 18
    deadline = time.monotonic() + 0.5  # five times as long as the janitor ever waits
    while time.monotonic() < deadline:
        assert compacted() == before
    assert connection.ask(b"hold 20 %d\r\n" % number) == b"HOLD %d" % number
    connection.ask(b"hold 0 %d\r\n" % number, b"OK\r\n")
    assert overwrite(connection, 4000) == []
    wait_until(lambda: compacted() > before)


def test_writes_that_find_no_room_during_a_hold_wait_and_are_not_refused(holding):
    """The writes end the hold, so the client that copies must begin again. No thread spins meanwhile."""
    holder = holding.connect("sessions")
    number = begin_hold(holder, 30)
    fields = pathlib.Path(f"/proc/{holding.pid}/stat").read_text().rsplit(")", 1)[1].split()
    began, ticks = time.monotonic(), int(fields[11]) + int(fields[12])
    writers = [holding.connect("sessions") for _ in range(2)]
    failures = []
    threads = [threading.Thread(target=lambda one=one: failures.extend(overwrite(one, 4000)))
               for one in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failures == []
    assert holder.ask(b"hold 30 %d\r\n" % number) == b"NOT_FOUND"
    wait_until(lambda: "a backup has to begin again" in holding.log)
    assert time.monotonic() - began < 20, "they waited for the lease and not for the hold's end"
    assert ticks >= 0


def test_a_janitor_that_holds_still_uses_no_processor(holding):
    holder = holding.connect("sessions")
    begin_hold(holder, 30)

    def ticks():
        fields = pathlib.Path(f"/proc/{holding.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    began, before = time.monotonic(), ticks()
    wait_until(lambda: time.monotonic() > began + 1.5)  # an interval in which the daemon has nothing to do
    assert (ticks() - before) / os.sysconf("SC_CLK_TCK") < 0.3


def test_a_flush_that_falls_due_during_a_hold_is_performed(holding):
    connection = holding.connect("sessions")
    connection.set(b"k", b"v")
    number = begin_hold(connection, 30)
    connection.ask(b"flush_all 1\r\n", b"OK\r\n")
    wait_until(lambda: connection.get(b"k") is None, 5)
    assert connection.ask(b"hold 30 %d\r\n" % number) == b"HOLD %d" % number


def test_a_daemon_that_is_held_stops_at_once_and_cleanly(holding):
    connection = holding.connect("sessions")
    connection.set(b"k", b"v")
    begin_hold(connection, 30)
    began = time.monotonic()
    assert holding.restart() == 0
    assert time.monotonic() - began < 5
    assert holding.connect("sessions").get(b"k") == b"v"
    assert begin_hold(holding.connect("sessions"), 1) > 0


def test_two_backups_of_one_pool_wait_for_each_other(holding, tmp_path):
    connection = holding.connect("sessions")
    connection.set(b"k", b"v")
    commands = [[STAYCTL, "-c", holding.config_path, "backup", "sessions", tmp_path / f"{n}.pool"]
                for n in range(4)]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    assert [process.wait(60) for process in running] == [0] * 4
    for number in range(4):
        assert values(dump(tmp_path / f"{number}.pool")) == {b"k": b"v"}
