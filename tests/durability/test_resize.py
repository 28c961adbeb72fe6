"""The memory of a persistent pool is raised or lowered between two runs: nothing is lost."""

import re
import subprocess

import pytest

from support.servers import Stayd

ITEMS = 6000
VALUE = b"v" * 900  # some 6 MB in all


def fill(stayd, items=ITEMS):
    """Stores each item twice, so that half of the records on the disk are dead."""
    connection = stayd.connect("sessions")
    for round_number in (b"old", b"new"):
        for first in range(0, items, 100):
            for number in range(first, first + 100):
                value = round_number + VALUE
                connection.send(b"set key-%d 0 0 %d\r\n%s\r\n" % (number, len(value), value))
            for _ in range(100):
                connection.expect(b"STORED\r\n")


def verify(stayd, items=ITEMS):
    connection = stayd.connect("sessions")
    for number in range(items):
        assert connection.get(b"key-%d" % number) == b"new" + VALUE


def with_memory(stayd, memory):
    stayd.configure(re.sub(r"(\[pool sessions\][^\[]*\nmemory = )\S+", rf"\g<1>{memory}",
                           stayd.config))


def sessions(memory="16M"):
    return Stayd(sessions={"memory": memory, "item_max": "64K"})


def start_refused(stayd):
    """Starts the daemon, which must end with an error; returns what it said."""
    process = subprocess.run(stayd.command(), env=stayd.environment(), cwd=stayd.directory,
                             capture_output=True, text=True, timeout=60)
    assert process.returncode == 1, process.stderr
    return process.stderr


def file_size(stayd):
    return stayd.data_file("sessions").stat().st_blocks * 512


@pytest.mark.parametrize("stop", ["terminate", "kill9"])
def test_more_memory_makes_the_pool_larger_and_keeps_every_item(stop):
    with sessions("16M") as stayd:
        fill(stayd)
        getattr(stayd, stop)()
        before = file_size(stayd)
        with_memory(stayd, "32M")
        stayd.start()
        assert file_size(stayd) > 1.9 * before
        verify(stayd)
        assert int(stayd.connect("sessions").stats()["capacity_bytes"]) > 30 << 20


@pytest.mark.parametrize("stop", ["terminate", "kill9"])
def test_less_memory_makes_the_pool_smaller_and_keeps_every_item(stop):
    with sessions("32M") as stayd:
        fill(stayd)
        getattr(stayd, stop)()
        with_memory(stayd, "8M")
        stayd.start()
        assert file_size(stayd) <= (8 << 20) + 4096  # and the header
        verify(stayd)
        stayd.kill9()
        stayd.start()
        verify(stayd)


def test_memory_below_what_lives_is_refused_with_the_figure_that_is_needed():
    with sessions("32M") as stayd:
        fill(stayd)
        stayd.terminate()
        before = file_size(stayd)
        with_memory(stayd, "4M")
        message = start_refused(stayd)
        needed = re.search(r"needs at least (\d+)M", message)
        assert needed, message
        assert file_size(stayd) == before
        with_memory(stayd, f"{needed.group(1)}M")
        stayd.start()
        verify(stayd)


def test_a_file_system_without_room_refuses_the_growth_and_keeps_the_pool():
    with sessions("16M") as stayd:
        fill(stayd)
        stayd.terminate()
        before = file_size(stayd)
        with_memory(stayd, "900G")
        message = start_refused(stayd)
        assert "cannot grow the file of pool sessions" in message
        assert "Free space" in message
        assert file_size(stayd) == before
        with_memory(stayd, "16M")
        stayd.start()
        verify(stayd)


def test_a_larger_item_max_than_the_file_can_hold_is_refused():
    with sessions("16M") as stayd:
        fill(stayd, 100)
        stayd.terminate()
        stayd.configure(stayd.config.replace("item_max = 64K", "item_max = 1M"))
        message = start_refused(stayd)
        assert "can hold items of up to" in message
        stayd.configure(stayd.config.replace("item_max = 1M", "item_max = 32K"))
        stayd.start()
        verify(stayd, 100)
