"""Servers that a host must not trust: too old, or ones that acknowledge before they write to the disk."""

import socket
import subprocess

import pytest

from hosts import Hosts
from support import nats
from support.raw import wait_until
from test_cluster_health import get_cluster, get_metrics

pytestmark = pytest.mark.long


class Proxy:
    """Passes bytes on to a node, and replaces some that come back by others of the same length."""

    def __init__(self, port, old, new):
        assert len(old) == len(new)
        self.port_behind, self.old, self.new = port, old, new
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        nats.background(self.accept)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            node = socket.create_connection(("127.0.0.1", self.port_behind))
            nats.background(self.pass_on, client, node, False)
            nats.background(self.pass_on, node, client, True)

    def pass_on(self, source, target, replaces):
        kept = b""
        while True:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                try:
                    target.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                return
            if replaces:
                data = (kept + data).replace(self.old, self.new)
            target.sendall(data)

    def close(self):
        self.listener.close()


def test_a_server_that_is_too_old_is_refused(hosts, engine):
    proxy = Proxy(engine.nodes[0].port, b'"_nats.ver":"2.15', b'"_nats.ver":"2.10')
    try:
        host = hosts.add(cluster=f"nats://127.0.0.1:{proxy.port}")
        done = subprocess.run(
            host.command(), capture_output=True, text=True, timeout=60, env=host.environment()
        )
        assert done.returncode != 0 and "stayd needs 2.15.2 or later" in done.stderr
    finally:
        proxy.close()


ACCOUNTS = """
accounts {
  SYS: {users: [{user: system, password: s}],
        exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", response_type: stream, accounts: [STAYD]}]}
  STAYD: {jetstream: enabled, users: [{user: stayd, password: p}],
          imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}}]}
}
system_account: SYS
no_auth_user: stayd
"""


@pytest.fixture
def single(tmp_path):
    """One node that says whether it syncs."""
    if nats.find_server() is None:
        pytest.skip("there is no nats-server: scripts/nats-server builds one")
    cluster = nats.Cluster(tmp_path, nodes=1)
    node = cluster.nodes[0]
    text = node.config.read_text()
    text = "\n".join(line for line in text.splitlines() if not line.startswith("cluster {"))
    node.config.write_text(text + ACCOUNTS)
    with cluster:
        yield cluster


def test_a_node_that_does_not_sync_is_refused_at_the_start_and_an_alarm_later(single):
    node = single.nodes[0]
    hosts = Hosts(single)
    try:
        host = hosts.host(cluster_replicas=1)
        assert get_cluster(host)["syncs"] is True and get_metrics(host)["unsynced"] == "0"
        assert "cannot read whether" not in host.log
        node.kill()
        node.config.write_text(
            node.config.read_text().replace('sync_interval: "always"', 'sync_interval: "2m"')
        )
        node.start()
        single.wait_ready()
        late = hosts.add(cluster_replicas=1)
        done = subprocess.run(
            late.command(), capture_output=True, text=True, timeout=60, env=late.environment()
        )
        assert (
            done.returncode != 0 and "acknowledges before it has written to the disk" in done.stderr
        )
        wait_until(lambda: get_metrics(host)["unsynced"] == "1", 90, "the alarm")
        assert get_cluster(host)["syncs"] is False and "a power cut may lose writes" in host.log
        with host.connect("sessions") as raw:
            assert raw.ask(b"set k 0 0 1\r\na\r\n") == b"STORED"
    finally:
        hosts.close()
