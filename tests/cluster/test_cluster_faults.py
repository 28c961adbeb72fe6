"""Hosts that come back, logs that are away, wrong or new, and garbage in them. What dies under
load: test_cluster_deaths.py."""

import subprocess
import time

import pytest

from support import nats
from support.raw import wait_until
from writers import read

pytestmark = pytest.mark.long


def test_a_host_comes_back_where_it_was(hosts):
    """After a clean stop it reads only what it has missed."""
    first, second = hosts.host(), hosts.host()
    with first.connect("sessions") as raw:
        for i in range(100):
            assert raw.ask(f"set k{i} 0 0 1\r\na\r\n".encode()) == b"STORED"
    wait_until(lambda: read(second, "k99") == "a", what="the last value")
    second.terminate()
    with first.connect("sessions") as raw:
        assert raw.ask(b"set k0 0 0 1\r\nb\r\n") == b"STORED"
        assert raw.ask(b"delete k1\r\n") == b"DELETED"
    second.start()
    assert read(second, "k0") == "b" and read(second, "k1") is None and read(second, "k2") == "a"
    assert (
        "caught up with its cluster: 2 records"
        in second.log.rsplit("as the last stop left them", 1)[1]
    )


def test_without_the_engine_reads_go_on_and_writes_fail_by_name(hosts, engine):
    host = hosts.host()
    with host.connect("sessions", timeout=20) as raw:
        assert raw.ask(b"set k 0 0 1\r\na\r\n") == b"STORED"
        for node in engine.nodes:
            node.kill()
        try:
            begun = time.monotonic()
            raw.send(b"set k 0 0 1\r\nb\r\n")
            assert read(host, "k") == "a"
            assert raw.read_line() == b"SERVER_ERROR replication unavailable"
            assert time.monotonic() - begun > 5
            assert read(host, "k") == "a"
        finally:
            for node in engine.nodes:
                node.start()
            engine.wait_ready()
        wait_until(lambda: raw.ask(b"set k 0 0 1\r\nc\r\n") == b"STORED", 60, "a write")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"max_msgs_per_subject": 5}, "max_msgs_per_subject must be 1"),
        ({"max_msgs": 10}, "max_msgs, max_bytes and max_age must not be set"),
        ({"num_replicas": 1}, "fewer replicas"),
        ({"allow_msg_ttl": False}, "allow_msg_ttl must be true"),
        (None, "is missing"),
    ],
)
def test_streams_that_are_wrong_are_refused(hosts, engine, change, words):
    with engine.client() as client:
        client.api("STREAM.DELETE." + hosts.stream(0))
    if change is not None:
        engine.create_stream(hosts.stream(0), [f"{hosts.prefix}.sessions.0.>"], **change)
    expect_refused(hosts, words)


def test_items_that_the_engine_does_not_take_are_found_at_the_start(hosts):
    expect_refused(hosts, "max_payload is smaller", hosts.add(item_max="16M", memory="256M"))


def expect_refused(hosts, words, host=None):
    host = host or hosts.add()
    result = subprocess.run(
        host.command(), capture_output=True, text=True, timeout=30, env=host.environment()
    )
    assert result.returncode != 0
    assert words in result.stderr


def test_a_stream_that_was_made_anew_is_not_believed(hosts, engine):
    host = hosts.host()
    with host.connect("sessions") as raw:
        assert raw.ask(b"set k 0 0 1\r\na\r\n") == b"STORED"
    host.terminate()
    for i in range(hosts.partitions):
        with engine.client() as client:
            client.api("STREAM.DELETE." + hosts.stream(i))
        engine.create_stream(hosts.stream(i), [f"{hosts.prefix}.sessions.{i}.>"])
    expect_refused(hosts, "made anew", host)


def test_garbage_in_the_log_is_left_out(hosts, engine):
    host = hosts.host()
    with engine.client() as client:
        for subject in ("k.!!!", "k.a2V5", "x", "k.", "h.zz"):
            try:
                client.store(f"{hosts.prefix}.sessions.0.{subject}", b"garbage" * 10)
            except (nats.Refused, ConnectionError):
                pass
    with host.connect("sessions") as raw:
        for i in range(20):
            assert raw.ask(f"set k{i} 0 0 1\r\na\r\n".encode()) == b"STORED"
    fresh = hosts.host()
    assert read(fresh, "k19") == "a"
    assert "is left out" in fresh.log


def test_a_record_that_finds_no_room_stops_only_its_partition(hosts):
    """The second host takes smaller items only. It goes on when the record is replaced."""
    first, second = hosts.host(), hosts.host(item_max="4K")
    keys = [f"k{i}" for i in range(40)]
    with first.connect("sessions") as raw:
        assert raw.ask(b"set large 0 0 8000\r\n%b\r\n" % (b"x" * 8000)) == b"STORED"
        for key in keys:
            assert raw.ask(f"set {key} 0 0 1\r\na\r\n".encode()) == b"STORED"
        wait_until(
            lambda: sum(read(second, key) == "a" for key in keys) >= 20, 30, "the other partitions"
        )
        assert sum(read(second, key) is None for key in keys) > 0
        assert "larger than item_max" in second.log
        assert raw.ask(b"set large 0 0 5\r\nsmall\r\n") == b"STORED"
    wait_until(
        lambda: all(read(second, key) == "a" for key in keys) and read(second, "large") == "small",
        30,
        "the rest of the partition",
    )
