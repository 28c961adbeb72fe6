"""Clients of three hosts read and write the same keys while nodes and hosts die: every reply to a write,
and every fresh read, is explained by one order (support/linear.py), and local reads are not older than
docs/scaling.md says."""

import faults
import pytest
from support.history import Workload

# docs/scaling.md, "What a client may rely on": local reads while nodes die.
BOUND_S = 20


@pytest.fixture
def trio(hosts):
    return [hosts.host() for _ in range(3)]


def run(site, trio, which, **options):
    load = Workload(trio, **options).start()
    try:
        for fault in which:
            fault(site, load)
    finally:
        load.stop()
    assert load.read_all() == []
    load.judge(BOUND_S).check()
    return load


def nothing(site, load):
    load.advance(250)


def test_nothing_happens(hosts, trio):
    run(hosts, trio, [nothing], flushes=1)


def test_one_key_is_written_by_all(hosts, trio):
    """A storm of conflicts: all hosts go on, none is shut out."""
    load = run(hosts, trio, [nothing], keys=1, operations=120, clients=2)
    done = load.done()
    assert min(done) > max(done) / 4


def test_hosts_die(hosts, trio):
    run(hosts, trio, faults.HOSTS, flushes=4)
