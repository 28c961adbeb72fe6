"""What can happen to the nodes of the log and to the hosts, one function for each, while a workload
(support/history.py) runs. Each returns when the workload goes on everywhere.

A fault that takes a node away waits first until all nodes have all records (`settle`): of three nodes, two
must have them, so the next fault may not come before the last one is mended. That is a demand on operators
too."""

import shutil
import signal
import time

from support import nats
from support.raw import wait_until


def current(engine, streams):
    """Whether each stream has a leader, and all its nodes have all records."""
    try:
        with engine.client() as client:
            for stream in streams:
                cluster = client.api("STREAM.INFO." + stream)["cluster"]
                replicas = cluster.get("replicas", [])
                if (
                    not cluster.get("leader")
                    or len(replicas) < 2
                    or not all(replica.get("current") and not replica.get("offline") for replica in replicas)
                ):
                    return False
        return True
    except (OSError, ValueError, KeyError, nats.Refused):
        return False


def settle(site):
    wait_until(lambda: current(site.engine, site.streams()), 90, "replicas that have all records", 0.1)


def leader(site):
    return site.engine.leader(site.stream(0))


def follower(site):
    name = leader(site).name
    return next(node for node in site.engine.nodes if node.name != name)


def kill_nodes(site, load, nodes, apart=0.0, before_start=None, more=40):
    settle(site)
    load.advance(more)
    for node in nodes:
        node.kill()
    if len(nodes) == 1:
        load.advance(more)
    else:
        time.sleep(apart)
    for node in nodes:
        if before_start is not None:
            before_start(node)
        node.start()
    load.advance(more)


def a_follower_is_killed(site, load):
    kill_nodes(site, load, [follower(site)])


def the_leader_is_killed(site, load):
    kill_nodes(site, load, [leader(site)])


def two_nodes_are_killed(site, load):
    kill_nodes(site, load, [leader(site), follower(site)], 2)


def all_nodes_are_killed(site, load):
    kill_nodes(site, load, list(site.engine.nodes), 0.2)


def the_leader_stands_still(site, load):
    settle(site)
    load.advance(40)
    node = leader(site)
    node.signal(signal.SIGSTOP)
    try:
        load.advance(40)
    finally:
        node.signal(signal.SIGCONT)
    load.advance(60)


def a_node_is_wiped(site, load):
    kill_nodes(site, load, [follower(site)], before_start=lambda node: shutil.rmtree(node.folder / "data"))
    settle(site)
    load.advance(40)


def a_block_is_cut(site, load):
    """The last bytes of a node's files of the streams are gone, as when a disk lies about its syncs."""

    def cut(node):
        blocks = [
            path
            for path in (node.folder / "data").rglob("*.blk")
            if any(stream in str(path) for stream in site.streams())
        ]
        assert blocks
        for path in blocks:
            with open(path, "r+b") as file:
                file.truncate(max(0, path.stat().st_size - 300))

    kill_nodes(site, load, [follower(site)], before_start=cut)
    settle(site)
    load.advance(40)


def a_host_is_killed(site, load):
    load.advance(40)
    others = list(range(1, len(load.hosts)))
    load.hosts[0].kill9()
    load.advance(40, others)
    load.hosts[0].start()
    load.advance(40)


def a_host_is_restarted(site, load):
    load.advance(40)
    load.hosts[1].restart()
    load.advance(40)


def a_host_is_wiped(site, load):
    load.advance(40)
    host = load.hosts[0]
    host.kill9()
    for path in host.data_dir.iterdir():
        path.unlink()
    host.start()
    assert "catches up" in host.log or "has caught up" in host.log
    load.advance(40)


NODES = [
    a_follower_is_killed,
    the_leader_is_killed,
    two_nodes_are_killed,
    all_nodes_are_killed,
    the_leader_stands_still,
]
DISKS = [a_node_is_wiped, a_block_is_cut]
HOSTS = [a_host_is_killed, a_host_is_restarted, a_host_is_wiped]
