"""A host that has lost its disk reads a long log, and serves nobody before it has all of it."""

import json

from hosts import Hosts
from records import fill
from support.raw import wait_until
from test_cluster_start import launch, refuses, serves

ITEMS = 100_000


def get_cluster(host):
    pools = json.loads(host.page("/api/v1/stats")[1])["pools"]
    return next(pool["cluster"] for pool in pools if pool["name"] == "sessions")


def test_a_wiped_host_reads_a_hundred_thousand_items(engine):
    hosts = Hosts(engine, partitions=1)
    try:
        with engine.client() as client:
            fill(client, hosts.prefix, (b"key-%d" % i for i in range(ITEMS)))
        host = hosts.add(memory="128M")
        launch(host)
        while (cluster := get_cluster(host))["stage"] == "catching_up":
            assert ITEMS <= cluster["applied"] + cluster["to_read"] <= ITEMS + 100
            assert not cluster["serves"] and (refuses(host) or get_cluster(host)["serves"])
        assert cluster["stage"] == "caught_up" and cluster["to_read"] == 0
        wait_until(lambda: serves(host), 30, "the clustered pool")
        with host.connect("sessions") as raw:
            assert raw.stats()["curr_items"] == str(ITEMS)
            for i in range(0, ITEMS, 997):
                assert raw.get(b"key-%d" % i) == b"v"
        assert f"caught up with its cluster: {ITEMS} records" in host.log
    finally:
        hosts.close()
