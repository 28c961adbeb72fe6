"""As test_cluster_history.py, while nodes of the log die or stand still."""

import faults
import pytest
from test_cluster_history import run, trio  # noqa: F401  (a fixture)

pytestmark = pytest.mark.long


def test_nodes_die(hosts, trio):  # noqa: F811
    run(hosts, trio, [faults.the_leader_is_killed, faults.all_nodes_are_killed], flushes=4)


def test_a_leader_stands_still(hosts, trio):  # noqa: F811
    run(hosts, trio, [faults.the_leader_stands_still])
