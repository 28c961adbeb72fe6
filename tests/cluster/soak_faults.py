"""Nodes and hosts die and stand still again and again, while three hosts are written to, for
STAYD_SOAK_SECONDS. `make soak-cluster` runs this; pytest does not find it by itself."""

import os
import random
import signal
import time

from support.raw import wait_until
from writers import Writer, find_faults

SECONDS = float(os.environ.get("STAYD_SOAK_SECONDS", 60))
SEED = int(os.environ.get("STAYD_SOAK_SEED", time.time()))
CALM_S = 20
MORE = 40
"""So many writes of each writer show that the cluster goes on."""


def node_is_killed(chance, engine, hosts):
    node = chance.choice(engine.nodes)
    node.kill()
    yield
    node.start()


def leader_is_killed(chance, engine, hosts):
    node = engine.leader(hosts[0].stream_of(chance))
    node.kill()
    yield
    node.start()


def node_stands_still(chance, engine, hosts):
    node = chance.choice(engine.nodes)
    node.signal(signal.SIGSTOP)
    yield
    node.signal(signal.SIGCONT)


def all_nodes_are_killed(chance, engine, hosts):
    for node in engine.nodes:
        node.kill()
    for node in engine.nodes:
        node.start()
    engine.wait_ready()
    yield


def host_is_killed(chance, engine, hosts):
    host = chance.choice(hosts)
    host.kill9()
    yield
    host.start()


def host_is_stopped(chance, engine, hosts):
    host = chance.choice(hosts)
    host.terminate()
    yield
    host.start()


def host_stands_still(chance, engine, hosts):
    host = chance.choice(hosts)
    os.kill(host.pid, signal.SIGSTOP)
    yield
    os.kill(host.pid, signal.SIGCONT)


FAULTS = (node_is_killed, leader_is_killed, node_stands_still, all_nodes_are_killed, host_is_killed,
          host_is_stopped, host_stands_still)


def test_everything_dies_again_and_again(hosts, engine):
    """Nothing that was acknowledged is lost, and nothing that was deleted comes back, on any host."""
    chance = random.Random(SEED)
    trio = [hosts.host(fsync="always" if number == 0 else "everysec") for number in range(3)]
    for host in trio:
        host.stream_of = lambda chance: hosts.stream(chance.randrange(hosts.partitions))
    print(f"\nseed {SEED}")
    writers = [Writer(host, f"w{number}") for number, host in enumerate(trio)]
    for writer in writers:
        writer.start()
    until = time.monotonic() + SECONDS
    rounds = 0
    while rounds == 0 or time.monotonic() < until:
        fault = chance.choice(FAULTS)
        rounds += 1
        done, failed = sum(each.done for each in writers), sum(each.failed for each in writers)
        name = fault.__name__.replace("_", " ")
        print(f"round {rounds}: {name}; {done:,} writes, {failed} not confirmed", flush=True)
        steps = fault(chance, engine, trio)
        next(steps)
        time.sleep(chance.uniform(0, 3))
        next(steps, None)
        expect_more(writers)
        assert [fault for writer in writers for fault in writer.wrong] == []
    for writer in writers:
        writer.stop()
    newcomer = hosts.host()
    for host in [*trio, newcomer]:
        deadline = time.monotonic() + CALM_S
        while (faults := find_faults(host, writers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert faults == []


def expect_more(writers):
    before = [writer.done for writer in writers]
    wait_until(lambda: all(writer.done >= count + MORE for writer, count in zip(writers, before)), 120,
               "more writes")
