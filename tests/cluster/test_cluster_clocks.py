"""Hosts whose clocks are apart, and hosts that were away for days: the daemon's clock is the test's
(support/clock.py)."""

import base64
import re

import pytest
from support.clock import Clock
from support.history import Workload
from support.raw import wait_until
from test_cluster_history import BOUND_S
from writers import read

DAY_S = 24 * 60 * 60


def with_clock(hosts, tmp_path, name, seconds=0):
    """A host whose clock is so many seconds late; it is not started."""
    clock = Clock(tmp_path / name)
    environment = clock.environment()
    if environment is None:
        pytest.skip("a daemon with a sanitizer takes no other clock")
    clock.step(seconds)
    host = hosts.add()
    host._environment = environment
    host.clock = clock
    return host


def test_clocks_are_apart(hosts, tmp_path):
    """No order of writes rests on a clock."""
    trio = [with_clock(hosts, tmp_path, f"clock{seconds}", seconds) for seconds in (0, 7, -7)]
    for host in trio:
        host.start()
    load = Workload(trio, flushes=1).start()
    load.advance(80)
    trio[1].clock.step(-20)
    load.advance(80)
    load.stop()
    assert load.read_all() == []
    load.judge(BOUND_S).check()


def ask(host, request):
    with host.connect("sessions") as raw:
        return raw.ask(request)


def test_an_item_ends_by_the_clock_of_each_host(hosts, tmp_path):
    """An expiry is a moment of the writer's clock, and each host holds it against its own."""
    early, late = with_clock(hosts, tmp_path, "early"), with_clock(hosts, tmp_path, "late", 60)
    early.start()
    late.start()
    assert ask(early, b"set k 0 30 1\r\na\r\n") == b"STORED"
    assert ask(late, b"set l 0 30 1\r\na\r\n") == b"STORED"
    wait_until(lambda: read(early, "l") == "a", what="l")
    assert read(early, "k") == "a" and read(late, "k") is None and read(late, "l") == "a"
    seconds = int(re.search(rb"t(\d+)", ask(early, b"mg l t\r\n"))[1])
    assert 80 <= seconds <= 90
    assert ask(late, b"add k 0 0 1\r\nb\r\n") == b"STORED"
    wait_until(lambda: read(early, "k") == "b", what="the new item")


@pytest.mark.parametrize("days", [3, 4])
def test_a_host_was_away(hosts, engine, tmp_path, days):
    """A tombstone stays in the log for seven days. A host that was away for longer than half of that does
    not rely on hearing of every delete: it reads the whole log, and drops what the log does not have."""
    away, other = with_clock(hosts, tmp_path, "clock"), hosts.host()
    away.start()
    for i in range(40):
        assert ask(other, f"set k{i} 0 0 1\r\na\r\n".encode()) == b"STORED"
    wait_until(lambda: all(read(away, f"k{i}") == "a" for i in range(40)), what="all items")
    away.terminate()
    away.clock.sleep(days * DAY_S)
    for i in range(0, 40, 2):
        assert ask(other, f"delete k{i}\r\n".encode()) == b"DELETED"
    if days > 3:  # the tombstones have expired: only the items' absence tells
        with engine.client() as client:
            for i in range(0, 40, 2):
                key = f"k{i}".encode()
                for partition in range(hosts.partitions):
                    client.api(
                        "STREAM.PURGE." + hosts.stream(partition), filter=subject(hosts, partition, key)
                    )
    away.start()
    compared = [line for line in away.log.splitlines() if "was compared with its log" in line]
    assert len(compared) == (hosts.partitions if days > 3 else 0)
    if compared:
        removed = [int(re.search(r"(\d+) items that the log does not have", line)[1]) for line in compared]
        assert sum(removed) == 20
    for i in range(40):
        assert read(away, f"k{i}") == (None if i % 2 == 0 else "a"), i


def subject(hosts, partition, key):
    text = base64.urlsafe_b64encode(key).decode().rstrip("=")
    return f"{hosts.prefix}.sessions.{partition}.k.{text}"
