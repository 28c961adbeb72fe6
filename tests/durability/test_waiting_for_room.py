"""A client that finds no room in a pool waits, and no other client of the daemon waits because of it,
whatever the disk does and however full the pool is (store/room.h)."""

import contextlib
import os
import threading

import pytest

from support.bystander import longest_idle_wait, longest_wait_while, most_wait, readers
from support.filling import FULL, fill, flush_often, store_many, update_all, update_round
from support.gate import gated
from support.servers import Stayd, wait_until

LARGE = os.environ.get("STAYD_LARGE_POOL", "256M")
SMALL = {"memory": "4M", "item_max": "16K", "fsync": "everysec"}


def assert_nobody_waits(stayd, work, pools=("cache", "sessions")):
    """Repeats the work. Fails if in every repetition a bystander waits much longer than on an idle daemon.
    In a single repetition, other processes of this machine may be the reason."""
    longest = []
    for _ in range(4):
        idle = longest_idle_wait(readers(stayd, pools))
        longest.append(longest_wait_while(work, readers(stayd, pools)))
        if longest[-1] < most_wait(idle, margin=0.05):
            return
    raise AssertionError(f"bystanders waited for {longest} seconds")


@pytest.mark.parametrize("threads", [1, 2])
def test_while_the_disk_hangs_a_full_pool_answers_all_reads(threads):
    """Writes that find no room are refused after a while, and no other client waits."""
    with gated(sessions=SMALL, server={"threads": threads}) as (stayd, gate):
        writers = [stayd.connect("sessions") for _ in range(4)]
        count, size = fill(writers[0], 1000), 1000
        gate.shut()

        def work():
            replies = update_all(writers, count, size)
            assert replies.count(FULL) > 0, "the pool went on without its disk"
            assert set(replies) <= {FULL, b"STORED"}

        assert longest_wait_while(work, readers(stayd)) < 1, "it hangs for longer"
        gate.open()
        wait_until(lambda: writers[0].set(b"k0", b"y" * size) == b"STORED", what="room")
        assert set(update_all(writers[:1], count, size)) == {b"STORED"}


def is_parked(connection):
    """Whether any connection waits for something other than its client."""
    connection.send(b"stats conns\r\n")
    return b"conn_io_queue" in connection.read_until(b"END\r\n")


def test_requests_that_were_parked_are_done_when_there_is_room_and_are_counted_once():
    with gated(sessions=SMALL, server={"threads": 1}) as (stayd, gate):
        writer, other = stayd.connect("sessions"), stayd.connect("sessions")
        count, size = fill(writer, 1000), 1000
        gate.shut()
        before = writer.stats()
        update_round(writer, count, size)
        wait_until(lambda: is_parked(other), what="a request that is parked")
        gate.open()
        assert [writer.read_line() for _ in range(count)] == [b"STORED"] * count
        after = writer.stats()
        assert int(after["cmd_set"]) - int(before["cmd_set"]) == count
        assert int(after["total_items"]) - int(before["total_items"]) == count


def test_on_a_slow_disk_other_clients_do_not_wait_for_a_pool_that_compacts():
    with gated(sessions=SMALL, server={"threads": 1}) as (stayd, gate):
        writer = stayd.connect("sessions")
        count, size = fill(writer, 1000, share=0.85), 1000
        gate.slow(300)

        def work():
            assert set(update_all([writer], count, size)) == {b"STORED"}

        assert_nobody_waits(stayd, work)


def test_a_flush_of_a_large_pool_and_what_comes_after_it_make_nobody_else_wait():
    """A pool that has held many items is flushed two thousand times, and gets new keys after the last
    flush."""
    with Stayd(sessions={"memory": "256M", "fsync": "no"}, server={"threads": 1}) as stayd:
        writer = stayd.connect("sessions")
        store_many(writer, 400_000)

        def work():
            flush_often(writer, 2000)
            assert writer.set(b"bystander", b"v") == b"STORED"

        work()
        assert_nobody_waits(stayd, work, pools=["cache"])


def test_the_first_new_key_after_a_flush_of_a_full_pool_makes_nobody_else_wait():
    with Stayd(sessions={"memory": LARGE}, server={"threads": 1}) as stayd:
        writer = stayd.connect("sessions")
        fill(writer, 20_000)
        # A segment is freed after a sync, which takes long if the whole pool is still to be written.
        wait_until(lambda: int(writer.stats()["sync_lag_ms"]) == 0, 60, "the disk")

        def work():
            writer.ask(b"flush_all\r\n", b"OK\r\n")
            for number in range(2000):
                assert writer.set(b"n%d" % number, b"x" * 20_000) == b"STORED"

        assert_nobody_waits(stayd, work, pools=["cache"])


def test_a_daemon_ends_while_requests_are_parked():
    with gated(sessions=SMALL, server={"threads": 2}) as (stayd, gate):
        writer = stayd.connect("sessions")
        count = fill(writer, 1000)
        gate.shut()
        update_round(writer, count, 1000)
        gone = stayd.connect("sessions")
        update_round(gone, count, 1000)
        gone.reset()
        stayd.connect("cache").expect_in_step()
        ending = threading.Thread(target=stayd.terminate)
        ending.start()
        with contextlib.suppress(ConnectionResetError):
            while writer.socket.recv(1 << 16) != b"":
                pass
        gate.open()
        ending.join()
        stayd.start()
        connection = stayd.connect("sessions")
        for number in range(0, count, 50):
            assert connection.get(b"k%d" % number)[:1] in (b"x", b"y")
