"""A running host that is cut off from its cluster: reads go on, or end where that is wanted."""

import pytest
from test_cluster_health import get_metrics
from test_cluster_start import refuses, serves
from writers import read

from support.raw import wait_until

pytestmark = pytest.mark.long


def test_a_host_that_is_too_far_behind_serves_nobody(hosts, engine):
    """Of two hosts one has a limit. The connections that it has end, too; the other one's reads go on."""
    strict, other = hosts.host(cluster_max_lag="15s"), hosts.host()
    kept = strict.connect("sessions")
    assert kept.ask(b"set k 0 0 1\r\na\r\n") == b"STORED"
    wait_until(lambda: read(other, "k") == "a", what="the value")
    for node in engine.nodes:
        node.kill()
    try:
        wait_until(lambda: refuses(strict), 60, "the limit")
        kept.expect_closed()
        assert "serves no clients: it is" in strict.log and get_metrics(strict)["serves"] == "0"
        code, text = strict.health()
        assert code == 503 and "further behind its cluster than cluster_max_lag" in text
        assert serves(other) and read(other, "k") == "a" and get_metrics(other)["serves"] == "1"
        code, text = other.health()
        assert code == 503 and "no connection to its cluster" in text
        with strict.connect("cache") as raw:
            assert raw.ask(b"set k 0 0 1\r\na\r\n") == b"STORED"
    finally:
        for node in engine.nodes:
            node.start()
        engine.wait_ready()
    wait_until(lambda: serves(strict), 60, "the end of it")
    assert "serves clients again" in strict.log and read(strict, "k") == "a"
    wait_until(lambda: other.health() == (200, "ok\n"), 60, "health")
