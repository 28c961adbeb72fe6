"""What the entry `bystander` does to pools without room, as tests/durability/test_waiting_for_room.py
does.

Each function returns a round's wait in milliseconds for each round. Each daemon has one worker
thread, which serves the bystanders too, unless the function says otherwise.
"""

import shutil
import time

from expiry import SteadySets
from support.bystander import readers
from support.filling import FULL, fill, flush_often, store_many, update_all
from support.gate import gated
from support.servers import Stayd, wait_until
from waits import expect

SMALL = {"memory": "4M", "item_max": "16K", "fsync": "everysec"}
SESSION_BYTES = 1000
FLUSHED_VALUE_BYTES = 20_000
SLOW_SYNC_MS = 300
LARGE_MIB = 4096
LARGE_NEEDS = 3 * LARGE_MIB << 20  # bytes that the disk must have left


def hung_disk(bench, waits):
    """Every sync hangs while all items of a full pool are updated, until updates are refused. With
    one worker and with two: a round's wait is that with the more of both."""
    found = []
    for threads in (1, 2):
        with gated(sessions=SMALL, server={"threads": threads}, binary=bench.stayd_binary) as (
                stayd, gate):
            writers = [stayd.connect("sessions") for _ in range(4)]
            count = fill(writers[0], SESSION_BYTES)

            def work():
                gate.shut()
                replies = update_all(writers, count, SESSION_BYTES)
                expect(FULL in replies, "updates are refused while the disk hangs")

            found.append([])
            for _ in range(bench.pick(5, 2, 1)):
                found[-1].append(waits.during(work, readers(stayd)))
                gate.open()
                wait_until(lambda: set(update_all(writers[:1], 1, SESSION_BYTES)) == {b"STORED"})
    return [max(pair) for pair in zip(*found)]


def slow_disk(bench, waits):
    """Every sync takes 300 ms while all items of a pool that is 80 % live are updated."""
    with gated(sessions=SMALL, server={"threads": 1}, binary=bench.stayd_binary) as (stayd, gate):
        writer = stayd.connect("sessions")
        count = fill(writer, SESSION_BYTES, share=0.8)

        def work():
            gate.slow(SLOW_SYNC_MS)
            replies = update_all([writer], count, SESSION_BYTES)
            gate.mend()
            expect(set(replies) == {b"STORED"}, "all updates are done on a slow disk")

        return [waits.during(work, readers(stayd)) for _ in range(bench.pick(5, 2, 1))]


def _flushed_pool(bench, waits, mebibytes, rounds):
    bench.data.mkdir(parents=True, exist_ok=True)
    with Stayd(sessions={"memory": f"{mebibytes}M"}, server={"threads": 1},
               binary=bench.stayd_binary, parent=bench.data) as stayd:
        writer = stayd.connect("sessions", timeout=60)

        def work():
            writer.ask(b"flush_all\r\n", b"OK\r\n")
            expect(writer.set(b"new", b"v") == b"STORED", "a new key is stored after a flush")
            time.sleep(0.5)  # the time in which the janitor frees the flushed segments

        found = []
        for _ in range(rounds):
            fill(writer, FLUSHED_VALUE_BYTES)
            wait_until(lambda: int(writer.stats()["sync_lag_ms"]) == 0, 300, "the disk")
            found.append(waits.during(work, readers(stayd, ["cache"])))
        return found


def flush_of_a_full_pool(bench, waits):
    """A flush of a full pool, and then one new key: 1 GiB in a full run."""
    mebibytes, rounds = bench.pick((1024, 3), (256, 3), (16, 1))
    return _flushed_pool(bench, waits, mebibytes, rounds)


def flush_of_a_large_full_pool(bench, waits):
    """The same with 4 GiB, once. Returns None in a short run, and where the disk lacks the room."""
    bench.data.mkdir(parents=True, exist_ok=True)
    if bench.size != "full" or shutil.disk_usage(bench.data).free < LARGE_NEEDS:
        return None
    return _flushed_pool(bench, waits, LARGE_MIB, 1)


def soon_expiry(bench, waits):
    """Steady sets of items that expire soon, into a pool of which they keep 60 % live."""
    memory_mib, expiry_s, rounds, seconds = bench.pick(
        (512, (10, 30), 5, 6), (64, (1, 4), 3, 1.5), (16, (1, 2), 1, 1))
    with Stayd(sessions={"memory": f"{memory_mib}M"}, server={"threads": 1},
               binary=bench.stayd_binary) as stayd:
        bystanders = readers(stayd)
        idle_s = waits.idle(bystanders)
        sets = SteadySets(stayd.connect("sessions"), memory_mib, expiry_s)
        sets.run(expiry_s[1])
        return [waits.during(lambda: sets.run(seconds), bystanders, idle_s) for _ in range(rounds)]


def many_flushes(bench, waits):
    """2,000 times flush_all."""
    items, times = bench.pick((1_000_000, 2000), (1_000_000, 2000), (1000, 100))
    with Stayd(sessions={"memory": "256M", "fsync": "no"}, server={"threads": 1},
               binary=bench.stayd_binary) as stayd:
        writer = stayd.connect("sessions")
        store_many(writer, items)
        return [waits.during(lambda: flush_often(writer, times), readers(stayd))
                for _ in range(bench.pick(5, 3, 1))]
