"""The checker (support/history.py) at length: every fault again and again, for STAYD_SOAK_SECONDS. `make
soak-cluster` runs this; pytest does not find it by itself."""

import itertools
import os
import random
import time

import faults
import pytest
from test_cluster_history import run, trio  # noqa: F401  (a fixture)
from test_cluster_network import LONG, far_engine, machines, run_on_slow_lines, site  # noqa: F401  (fixtures)

SECONDS = float(os.environ.get("STAYD_SOAK_SECONDS", 60))
SEED = int(os.environ.get("STAYD_SOAK_SEED", time.time()))


def again_and_again(kinds, function, seconds):
    """Calls the function with each of the kinds, in any order, and so on until the time is over."""
    chance = random.Random(SEED)
    until = time.monotonic() + seconds
    print(f"\nseed {SEED}")
    for number in itertools.count():
        if number > 0 and time.monotonic() > until:
            return
        for kind in chance.sample(kinds, len(kinds)):
            print(f"{kind.__name__.replace('_', ' ')}: ", end="", flush=True)
            function(kind)


def test_nodes_and_hosts_die_again_and_again(hosts, trio):  # noqa: F811
    again_and_again(
        faults.NODES + faults.DISKS + faults.HOSTS,
        lambda fault: run(hosts, trio, [fault], flushes=5),
        SECONDS / 2,
    )


def test_the_network_fails_again_and_again(site):  # noqa: F811
    again_and_again(LONG, lambda fault: fault(site), SECONDS / 2)


@pytest.mark.parametrize("delay", [0.05, 0.1])
def test_lines_are_slow(tmp_path, delay):
    run_on_slow_lines(tmp_path, delay, 15)
