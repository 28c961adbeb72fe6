"""Processes that have mapped a pool read it while clients write, and while its daemon is restarted.

reader_stress.c describes what must be true of each value that is read.
"""

import mmap
import pathlib
import shutil
import struct
import subprocess

import pytest

from support.raw import wait_until
from support.servers import Stayd, stayd_binary

STRESS = pathlib.Path(stayd_binary()).parent / "tests" / "unit" / "reader_stress"
RESTARTS = 3

# Segments of 64 KiB, so that each of them is used again all the time.
TINY = {"memory": "1M", "item_max": "6200"}


class Stress:
    """reader_stress on a pool, in the background."""

    COUNTS = ("writes", "flushes", "hits", "gone", "attached")

    def __init__(self, stayd, pool, misses="must-hit", seconds=300, writers=3, readers=4):
        path = stayd.directory / "counts"
        path.touch()
        command = [STRESS, stayd.socket(pool), seconds, writers, readers, misses, path]
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        wait_until(lambda: path.stat().st_size > 0 or self.process.poll() is not None)
        with open(path, "rb") as file:
            self.shared = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def counts(self):
        """The counts so far."""
        return dict(zip(self.COUNTS, struct.unpack_from(f"={len(self.COUNTS)}Q", self.shared)))

    def wait_for(self, since=None, **more):
        """Waits until each of these counts has grown by this much since `since`, or since now."""
        since = since or self.counts()

        def grown():
            counts = self.counts()
            return (self.process.poll() is not None
                    or all(counts[name] - since[name] >= by for name, by in more.items()))

        wait_until(grown, timeout=120, what=f"{more} more than {since}")

    def finish(self):
        """Ends the program and returns its counts; fails if a reader has read a wrong value."""
        self.process.terminate()
        output, _ = self.process.communicate(timeout=120)
        assert (self.process.returncode, output) == (0, "")
        return self.counts()


@pytest.mark.parametrize("fsync", ["no", "everysec", "always"])
def test_readers_of_a_sessions_pool_see_each_change_at_once(fsync):
    with Stayd(sessions=TINY | {"fsync": fsync}, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "sessions")
        stress.wait_for(hits=100_000, writes=2000, flushes=3)
        assert stress.finish()["gone"] == 0


def test_readers_of_a_cache_that_evicts_see_each_change_at_once():
    with Stayd(cache=TINY, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "cache", "may-miss")
        stress.wait_for(hits=100_000, writes=2000, flushes=3)
        assert stress.finish()["gone"] == 0


def test_readers_find_each_key_while_the_index_grows():
    with Stayd(sessions=TINY | {"memory": "4M", "fsync": "no"}, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "sessions")
        stress.wait_for(hits=1000)
        connection = stayd.connect("sessions")
        begun = grown = int(connection.stats()["hash_power_level"])
        number = 0
        while grown < begun + 2 and number < 1_000_000:
            more = range(number, number + 20_000)
            number = more.stop
            connection.send(b"".join(b"set filler-%d 0 0 0 noreply\r\n\r\n" % each for each in more))
            grown = int(connection.stats()["hash_power_level"])
        stress.wait_for(hits=1000)
        assert grown >= begun + 2
        assert stress.finish()["gone"] == 0


def remove_index(stayd):
    (stayd.run_dir / "sessions.index").unlink()


def remove_run_dir(stayd):
    shutil.rmtree(stayd.run_dir)
    stayd.run_dir.mkdir(mode=0o700)


def nothing(stayd):
    pass


def restart(stayd, stress, end, between, **more):
    """Ends the daemon while readers read, and starts it again. Waits until the counts have grown this
    much."""
    stress.wait_for(hits=20_000, writes=500)
    since = stress.counts()
    getattr(stayd, end)()
    between(stayd)
    stayd.start()
    stress.wait_for(since, **more)
    stress.wait_for(hits=20_000, writes=500)


@pytest.mark.parametrize("end", ["kill9", "terminate"])
@pytest.mark.parametrize("between", [nothing, remove_index, remove_run_dir])
def test_readers_never_see_the_world_of_an_earlier_daemon(end, between):
    stays = end == "terminate" and between is nothing  # the readers continue with the same index
    with Stayd(sessions=TINY | {"fsync": "no"}, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "sessions")
        wait_until(lambda: stress.counts()["attached"] >= 4)
        for _ in range(RESTARTS):
            restart(stayd, stress, end, between, gone=0 if stays else 1)
        done = stress.finish()
        assert done["attached"] >= 4
        assert not stays or done["gone"] == 0


@pytest.mark.parametrize("end", ["kill9", "terminate"])
def test_readers_of_a_cache_never_see_the_world_of_an_earlier_daemon(end):
    with Stayd(cache=TINY, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "cache", "may-miss")
        for _ in range(RESTARTS):
            restart(stayd, stress, end, nothing, gone=1)
        assert stress.finish()["gone"] >= RESTARTS


def test_readers_follow_a_pool_that_grows_and_shrinks():
    with Stayd(sessions=TINY | {"memory": "4M", "fsync": "no"}, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "sessions")
        for memory, other in (("4M", "8M"), ("8M", "4M")):
            def resize(stayd, memory=memory, other=other):
                stayd.configure(stayd.config.replace(f"memory = {memory}\n",
                                                     f"memory = {other}\n"))

            restart(stayd, stress, "terminate", resize, gone=1)
        assert stress.finish()["gone"] >= 2
