"""As test_cluster_history.py, on a network with faults: three nodes and three hosts, each on a machine of
its own."""

import re
import time

import pytest
from hosts import Hosts
from faults import follower, leader, settle
from support import nats, network
from support.history import Workload
from support.raw import wait_until
from support.servers import Stayd
from test_cluster_history import BOUND_S

pytestmark = pytest.mark.long

NODES = 3
SECONDS = 3  # that a part of the network is away, longer than an attempt of a write


@pytest.fixture(scope="module")
def machines():
    if nats.find_server() is None:
        pytest.skip("there is no nats-server: scripts/nats-server builds one")
    if network.why_not():
        pytest.skip(network.why_not())
    with network.Network(2 * NODES) as made:
        yield made


@pytest.fixture(scope="module")
def far_engine(machines, tmp_path_factory):
    places = [machine.place() for machine in machines.machines[:NODES]]
    with nats.Cluster(tmp_path_factory.mktemp("nats"), places=places) as cluster:
        yield cluster


class FarStayd(Stayd):
    """On a machine of its own; the test talks to its sockets."""

    machine = None

    def command(self):
        return [*self.machine.wrap, *super().command()]


@pytest.fixture
def site(machines, far_engine):
    made = Hosts(far_engine)
    made.network = machines
    made.trio = []
    for machine in machines.machines[NODES:]:
        host = FarStayd(
            sessions={**made.keys(), "listen": "unix:sessions.sock"}, cache={"listen": "unix:cache.sock"}
        )
        made.stack.callback(host.close)
        host.machine = machine
        host.start()
        made.trio.append(host)
    yield made
    machines.heal()
    made.close()


def run(site, cut, others=None, away=None, **options):
    """Cuts with the workload running, until the hosts `others` have gone on; heals. `away`: this host may
    be behind meanwhile."""
    settle(site)
    load = Workload(site.trio, **options).start()
    try:
        load.advance(30)
        cut()
        begun = time.monotonic()
        load.advance(30, others)
        wait_until(lambda: time.monotonic() > begun + SECONDS, 60)
        site.network.heal()
        healed = time.monotonic()
        load.advance(30)
    finally:
        load.stop()
    assert load.read_all() == []

    def bound(read):
        was_away = read.host == away and begun <= read.invoked <= healed + BOUND_S
        return BOUND_S + (read.invoked - begun if was_away else 0)

    load.judge(bound).check()


def deafen(site, number, others):
    for other in others:
        if other != number:
            site.network.deafen(number, other)


def the_leader_is_cut_off(site):
    run(site, lambda: site.network.cut(site.engine.nodes.index(leader(site))))


def a_follower_is_cut_off(site):
    run(site, lambda: site.network.cut(site.engine.nodes.index(follower(site))))


def a_host_is_cut_off(site):
    run(site, lambda: site.network.cut(NODES), others=[1, 2], away=0)


def a_node_does_not_hear_the_others(site):
    """What it leads, others lead soon. But its hosts are connected still, to a node that is of no use: they
    leave it."""
    connected = re.findall(r"connected to nats://([0-9.]+):", site.trio[0].log)[-1]
    number = next(
        number for number, machine in enumerate(site.network.machines) if machine.address == connected
    )
    run(site, lambda: deafen(site, number, range(NODES)))
    assert "does not come back; another one is tried" in site.trio[0].log


def a_host_does_not_hear_the_nodes(site):
    """Its writes arrive, and their answers do not."""
    run(site, lambda: deafen(site, NODES, range(NODES)), others=[1, 2], away=0)


def the_nodes_do_not_hear_a_host(site):
    run(site, lambda: [site.network.deafen(node, NODES) for node in range(NODES)], others=[1, 2], away=0)


def packets_are_lost(site):
    run(
        site,
        lambda: [site.network.deafen(a, b, 0.1) for a in range(2 * NODES) for b in range(NODES) if a != b],
    )


LONG = [
    the_leader_is_cut_off,
    a_follower_is_cut_off,
    a_host_is_cut_off,
    a_node_does_not_hear_the_others,
    a_host_does_not_hear_the_nodes,
    the_nodes_do_not_hear_a_host,
    packets_are_lost,
]


@pytest.mark.parametrize("fault", [a_host_is_cut_off, a_node_does_not_hear_the_others, packets_are_lost])
def test_faults_of_the_network(site, fault):
    fault(site)


def run_on_slow_lines(folder, delay, operations):
    """So long each way, between nodes and hosts, and among nodes."""
    if nats.find_server() is None:
        pytest.skip("there is no nats-server: scripts/nats-server builds one")
    with network.SlowLinks(delay) as slow, nats.Cluster(folder, link=slow.link) as engine:
        made = Hosts(engine, partitions=2)
        try:
            trio = [made.host() for _ in range(3)]
            load = Workload(trio, keys=4).start()
            load.advance(operations)
            load.stop()
            assert load.read_all() == []
            load.judge(BOUND_S).check()
        finally:
            made.close()
