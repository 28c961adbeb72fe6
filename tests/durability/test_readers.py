"""Processes that have mapped a pool read it while clients write, and while its daemon is restarted.

reader_stress.c describes what must be true of each value that is read.
"""

import pathlib
import shutil
import subprocess
import time

import pytest

from support.servers import Stayd, stayd_binary

STRESS = pathlib.Path(stayd_binary()).parent / "tests" / "unit" / "reader_stress"
SECONDS = 2
RESTARTS = 3

# A segment is 64 KiB, so that each is used again all the time.
TINY = {"memory": "1M", "item_max": "4K"}


class Stress:
    """reader_stress on a pool, in the background."""

    def __init__(self, stayd, pool, misses="must-hit", seconds=120, writers=3, readers=4):
        command = [STRESS, stayd.socket(pool), seconds, writers, readers, misses]
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)

    def finish(self):
        """Ends it, and returns what was done; fails if a reader has read what it must not."""
        self.process.terminate()
        output, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, output
        words = output.replace(",", "").split()
        return {name: int(count) for count, name in zip(words[0::2], words[1::2])}


@pytest.mark.parametrize("fsync", ["no", "everysec", "always"])
def test_readers_of_a_sessions_pool_see_each_change_at_once(fsync):
    with Stayd(sessions=TINY | {"fsync": fsync}, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "sessions")
        time.sleep(SECONDS)
        done = stress.finish()
        assert done["hits"] > 1000 and done["writes"] > 100 and done["gone"] == 0


def test_readers_of_a_cache_that_evicts_see_each_change_at_once():
    with Stayd(cache=TINY, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "cache", "may-miss")
        time.sleep(SECONDS)
        done = stress.finish()
        assert done["hits"] > 1000 and done["writes"] > 100 and done["gone"] == 0


def remove_index(stayd):
    (stayd.run_dir / "sessions.index").unlink()


def remove_run_dir(stayd):
    shutil.rmtree(stayd.run_dir)
    stayd.run_dir.mkdir(mode=0o700)


def nothing(stayd):
    pass


@pytest.mark.parametrize("end", ["kill9", "terminate"])
@pytest.mark.parametrize("between", [nothing, remove_index, remove_run_dir])
def test_readers_never_see_the_world_of_an_earlier_daemon(end, between):
    with Stayd(sessions=TINY | {"fsync": "no"}, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "sessions")
        for _ in range(RESTARTS):
            time.sleep(0.3)
            getattr(stayd, end)()
            between(stayd)
            stayd.start()
        time.sleep(0.3)
        done = stress.finish()
        assert done["hits"] > 1000 and done["attached"] >= 4
        if end == "terminate" and between is nothing:
            assert done["gone"] == 0  # they went on with the index all the time
        else:
            assert done["gone"] >= RESTARTS


@pytest.mark.parametrize("end", ["kill9", "terminate"])
def test_readers_of_a_cache_never_see_the_world_of_an_earlier_daemon(end):
    with Stayd(cache=TINY, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "cache", "may-miss")
        for _ in range(RESTARTS):
            time.sleep(0.3)
            getattr(stayd, end)()
            stayd.start()
        time.sleep(0.3)
        done = stress.finish()
        assert done["hits"] > 1000 and done["gone"] >= RESTARTS


def test_readers_follow_a_pool_that_grows_and_shrinks():
    with Stayd(sessions=TINY | {"memory": "4M", "fsync": "no"}, server={"threads": 2}) as stayd:
        stress = Stress(stayd, "sessions")
        memory = "4M"
        for other in ("8M", "4M"):
            time.sleep(0.3)
            stayd.terminate()
            stayd.configure(stayd.config.replace(f"memory = {memory}\n", f"memory = {other}\n"))
            memory = other
            stayd.start()
        time.sleep(0.3)
        done = stress.finish()
        assert done["hits"] > 1000 and done["gone"] >= 2
