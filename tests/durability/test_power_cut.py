"""A power cut with the real daemon: its file loses every page that was not synced.

tests/unit/test_power_cut.c tests each state that a power cut can leave, on a simulated disk. This file
tests the whole daemon with one such state: durable.c, preloaded, keeps the file as it was when the last
completed fdatasync began, and after SIGKILL the daemon starts with that file.
"""

import os
import random
import shutil
import time

import pytest

from support import preload
from support.servers import Stayd
from support.workload import Workload

ROUNDS = int(os.environ.get("STAYD_POWER_CUT_ROUNDS", "4"))


@pytest.fixture(scope="module")
def durable_library():
    library = preload.library("durability/durable.c")
    if library is None:
        pytest.skip("a sanitizer's library must be the first to be loaded")
    return library


def cut_power(stayd, durable):
    """Kills the daemon, and takes out of its file what was never synced."""
    stayd.kill9()
    file = stayd.data_file("sessions")
    kept = durable / str(file.stat().st_ino)
    shutil.copyfile(kept, file)  # keeps the inode, which is the name of the next copy
    (stayd.run_dir / "sessions.index").unlink()  # tmpfs


def test_with_fsync_always_a_power_cut_takes_nothing_acknowledged(durable_library, tmp_path):
    environment = {"LD_PRELOAD": str(durable_library), "STAYD_DURABLE": str(tmp_path)}
    pool = {"memory": "4M", "item_max": "16K", "fsync": "always"}
    with Stayd(sessions=pool, environment=environment) as stayd:
        workload = Workload(lambda: stayd.connect("sessions"), seed=11)
        generator = random.Random(11)
        for _ in range(ROUNDS):

            def stop():
                time.sleep(generator.uniform(0.3, 1.0))  # the moment of the cut
                cut_power(stayd, tmp_path)

            workload.run_until(stop)
            stayd.start()
            workload.verify(stayd.connect("sessions"))


def test_with_fsync_everysec_a_power_cut_takes_no_more_than_the_lag(durable_library, tmp_path):
    environment = {"LD_PRELOAD": str(durable_library), "STAYD_DURABLE": str(tmp_path)}
    pool = {"memory": "32M", "item_max": "16K", "fsync": "everysec"}
    with Stayd(sessions=pool, environment=environment) as stayd:
        connection = stayd.connect("sessions")
        written = []
        begun = time.monotonic()
        while time.monotonic() < begun + 3:
            assert connection.set(b"key-%d" % len(written), b"v" * 100) == b"STORED"
            written.append(time.monotonic())
        cut_at = time.monotonic()
        lag_ms = int(connection.stats()["sync_lag_ms"])
        cut_power(stayd, tmp_path)
        stayd.start()
        connection = stayd.connect("sessions")
        lost = [at for number, at in enumerate(written)
                if connection.get(b"key-%d" % number) is None]
        assert len(lost) < len(written)
        oldest_s = cut_at - min(lost, default=cut_at)
        assert oldest_s < lag_ms / 1000 + 0.1, f"stats told of {lag_ms} ms at stake"
