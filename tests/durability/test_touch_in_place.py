"""A touch of a large value writes its expiry and not the value, and lasts like any other write."""

import time
from pathlib import Path

import pytest

from support.pool_file import flip
from support.servers import Stayd
from support.stayctl import DAMAGED, SOUND, backup, check, dump, restore

BIG = 1_000_000
TOUCHES = 1000
TOUCH = 16  # bytes of a record's touch
POOL = {"memory": "64M"}


def bytes_to_disk(stayd):
    """The bytes that the system counted. It counts 0 for a file system in memory."""
    text = Path(f"/proc/{stayd.process.pid}/io").read_text()
    return int(text.partition("\nwrite_bytes:")[2].split()[0])


def left(connection, key):
    connection.send(b"mg %b t\r\n" % key)
    return int(connection.read_line().split()[1][1:])


@pytest.mark.parametrize("requests, reply", [
    (b"touch big %d\r\n", b"TOUCHED\r\n"),
    (b"mg big T%d\r\n", b"HD\r\n"),
], ids=["touch", "mg"])
@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_a_thousand_touches_of_a_megabyte_write_less_than_four(requests, reply, fsync):
    """On a slow machine the touches take a minute. The sync of each second writes some pages of its own."""
    with Stayd(sessions=POOL | {"fsync": fsync}) as stayd:
        connection = stayd.connect("sessions", timeout=60)
        connection.set(b"big", b"v" * BIG, expiry=1000)
        connection.ask(b"touch big 1001\r\n", b"TOUCHED\r\n")
        stats = connection.stats()
        before = bytes_to_disk(stayd)
        connection.send(b"".join(requests % (2000 + number) for number in range(TOUCHES)))
        connection.expect(reply * TOUCHES)
        assert bytes_to_disk(stayd) - before < 4 * BIG
        after = connection.stats()
        for name in ("segments_free", "segments_compacted", "bytes_moved", "bytes"):
            assert after[name] == stats[name], name
        assert left(connection, b"big") > 2700


def test_a_touch_is_in_the_file_and_in_copies_of_it(tmp_path):
    copy = tmp_path / "copy.pool"
    with Stayd(sessions=POOL) as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"big", b"v" * BIG, flags=7, expiry=100)
        connection.send(b"mg big c\r\n")
        cas = connection.read_line()
        for ttl in (5000, 500_000, 50_000):  # the last one is sooner
            connection.ask(b"touch big %d\r\n" % ttl, b"TOUCHED\r\n")
        connection.ask(b"touch big 60000\r\n", b"TOUCHED\r\n")
        expiry = time.time() + 60000
        backup(stayd, copy)

        def verify():
            again = stayd.connect("sessions")
            assert again.get(b"big") == b"v" * BIG
            assert abs(time.time() + left(again, b"big") - expiry) < 30
            again.send(b"mg big c\r\n")
            assert again.read_line() == cas

        stayd.kill9()
        stayd.start()
        verify()
        stayd.terminate()
        for path in (stayd.data_file("sessions"), copy):
            code, output = check(path)
            assert code == SOUND, output
            assert abs(dump(path)[b"big"]["expiry"] - expiry) < 30
        stayd.data_file("sessions").unlink()
        restore(stayd, copy, "--yes")
        stayd.start()
        verify()


def test_a_damaged_touch_is_found_and_the_expiry_before_it_counts():
    with Stayd(sessions=POOL) as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"big", b"v" * 5000, expiry=1000)
        expiry = time.time() + 1000
        connection.ask(b"touch big 9000\r\n", b"TOUCHED\r\n")
        stayd.terminate()
        path = stayd.data_file("sessions")
        assert dump(path)[b"big"]["expiry"] > expiry + 5000
        flip(path, path.read_bytes().index(b"big" + b"v" * 100) - TOUCH + 4)
        code, output = check(path)
        assert code == DAMAGED
        assert "its last touch does not match its check" in output
        assert abs(dump(path)[b"big"]["expiry"] - expiry) < 30
