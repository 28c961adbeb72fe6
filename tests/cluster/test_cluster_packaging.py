"""packaging/nats: three real nodes with the packaged configuration, and hosts with the least rights in it."""

import os
import re
import shutil
import subprocess

import pytest
from support import certificates, nats
from support.raw import wait_until
from support.servers import ROOT, Stayd
from writers import read

pytestmark = pytest.mark.long

PACKAGED = ROOT / "packaging" / "nats"
PASSWORDS = {
    "STAYD_PASSWORD": "of-the-hosts", "OPERATOR_PASSWORD": "of-the-operator",
    "SYSTEM_PASSWORD": "of-the-system",
}


def configure(folder, made, ports, routes, number):
    """The packaged configuration, with the addresses, the files and the disk of this node."""
    text = (PACKAGED / "nats-server.conf").read_text()
    tls = folder / "tls"
    if not tls.exists():
        tls.mkdir()
        for name, source in (("cert.pem", "server.pem"), ("key.pem", "server.key"), ("ca.pem", "ca.pem")):
            shutil.copy(made[source], tls / name)
    changes = [("/etc/nats/tls/", f"{tls}/"), ('"0.0.0.0:4222"', f'"127.0.0.1:{ports[number]}"'),
               ('"0.0.0.0:6222"', f'"127.0.0.1:{routes[number]}"'), ('http: "127.0.0.1:8222"', ""),
               ('"/var/lib/nats"', f'"{folder}/data{number}"')]
    changes += [(f"nats://nats{each + 1}.example:6222", f"nats://127.0.0.1:{route}")
                for each, route in enumerate(routes)]
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    assert "example" not in re.sub(r"#.*", "", text)
    path = folder / f"node{number}.conf"
    path.write_text(text)
    return path


class Nodes:
    def __init__(self, folder, server):
        self.folder = folder
        self.made = certificates.make(folder)
        self.ports, routes = nats.free_ports(3), nats.free_ports(3)
        self.processes = []
        for number in range(3):
            path = configure(folder, self.made, self.ports, routes, number)
            environ = {**os.environ, **PASSWORDS, "NATS_NAME": f"nats{number + 1}"}
            subprocess.run([server, "-t", "-c", path], env=environ, check=True, capture_output=True)
            with open(folder / f"node{number}.log", "wb") as log:
                self.processes.append(
                    subprocess.Popen([server, "-c", path], env=environ, stdout=log, stderr=log))

    def settings(self, user, password):
        """The settings of a host's pool as this user."""
        return {
            "cluster": ", ".join(f"tls://{user}:{password}@127.0.0.1:{port}" for port in self.ports),
            "cluster_partitions": 2, "cluster_tls_ca": self.made["ca.pem"],
            "cluster_tls_cert": self.made["client.pem"], "cluster_tls_key": self.made["client.key"],
        }

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def said(self):
        return "".join((self.folder / f"node{number}.log").read_text() for number in range(3))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    server = nats.find_server()
    if server is None:
        pytest.skip("there is no nats-server: scripts/nats-server builds one")
    made = Nodes(tmp_path_factory.mktemp("packaged"), server)
    yield made
    made.close()


def stayctl(stayd, *words):
    return subprocess.run([str(ROOT / "build" / "stayctl"), "-c", str(stayd.config_path), "cluster", *words],
                          capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def created(nodes):
    """The operator has made the streams."""
    operator = Stayd(sessions=nodes.settings("operator", PASSWORDS["OPERATOR_PASSWORD"]))
    said = []

    def make():
        said[:] = [stayctl(operator, "create")]
        return said[0].returncode == 0

    try:
        wait_until(make, 60, "the streams", interval=0.3)
    except AssertionError as error:
        raise AssertionError(f"{said}\n{nodes.said()[-3000:]}") from error
    finally:
        operator.close()


def host(nodes, **more):
    return Stayd(sessions={**nodes.settings("stayd", PASSWORDS["STAYD_PASSWORD"]), **more})


def test_hosts_with_the_least_rights_write_follow_and_flush(nodes, created):
    with host(nodes) as first, host(nodes) as second:
        with first.connect("sessions", timeout=30) as raw:
            assert raw.ask(b"set k 0 0 1\r\na\r\n") == b"STORED"
            wait_until(lambda: read(second, "k") == "a", 30, "the value on the other host")
            assert raw.ask(b"add k 0 0 1\r\nb\r\n") == b"NOT_STORED"
            assert raw.ask(b"delete k\r\n") == b"DELETED"
            wait_until(lambda: read(second, "k") is None, 30, "the removal on the other host")
            assert raw.ask(b"set k 0 0 1\r\na\r\n") == b"STORED"
            assert raw.ask(b"flush_all\r\n") == b"OK"
            wait_until(lambda: read(second, "k") is None, 30, "the flush on the other host")
        assert "cannot read whether the nodes" not in first.log, "a host may ask how the nodes sync"
    assert "Permissions Violation" not in nodes.said()


def test_hosts_make_no_streams_and_strangers_get_nowhere(nodes, created):
    other = host(nodes, cluster_prefix="other")
    assert stayctl(other, "create").returncode == 1
    other.close()
    for user, password in (("stayd", "wrong"), ("nobody", "of-the-hosts")):
        stayd = Stayd(sessions=nodes.settings(user, password))
        result = stayctl(stayd, "status")
        stayd.close()
        assert result.returncode == 1 and "lets stayd in" in result.stdout + result.stderr


def test_the_example_for_compose_runs_three_nodes_with_this_configuration():
    text = (PACKAGED / "compose.yaml").read_text()
    version = re.search(r"version=v(\S+)", (ROOT / "scripts" / "nats-server").read_text()).group(1)
    assert f"image: docker.io/library/nats:{version}-alpine" in text
    assert text.count("./nats-server.conf:/etc/nats/nats-server.conf:ro") == 3
    assert all(name in text for name in PASSWORDS)
    assert re.findall(r"NATS_NAME: (\w+)", text) == ["nats1", "nats2", "nats3"]
