"""What the demo of a cluster runs: three engine nodes, three hosts, and one address in front.

A host is a stayd and a gunicorn with the bookshop, as on an application server. All three hosts have
the same users. The engine nodes are nats-servers; the address is an nginx that asks the hosts in turn.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import requests

import setups
from children import CannotRun, Child, wait_until

NATS_SERVER = Path(os.environ.get("NATS_SERVER", setups.TREE_DIR / "build/nats/nats-server"))
NGINX = Path(os.environ.get("NGINX", setups.TREE_DIR / "build/peers/usr/sbin/nginx"))
STAYCTL = Path(os.environ.get("STAYCTL_BINARY", setups.TREE_DIR / "build/stayctl"))

NODES = HOSTS = 3
PARTITIONS = 4  # fewer than the default of 16: each is a group of its own on each node
REPLICAS_POLL_S = 0.2

NODE_CONFIGURATION = """\
server_name: {name}
listen: "127.0.0.1:{port}"
max_payload: 8MB
jetstream {{ store_dir: "{data}", max_mem: 64M, max_file: 2G, sync_interval: "always" }}
cluster {{ name: bookshop, listen: "127.0.0.1:{route}", routes: [{routes}] }}
"""

CLUSTER_SETTINGS = """\
cluster  = {nodes}
cluster_partitions = {partitions}
"""

FRONT_CONFIGURATION = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream bookshop {{
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://bookshop;
            proxy_set_header Host $http_host;
            proxy_connect_timeout 2s;
            proxy_read_timeout 60s;
        }}
    }}
}}
"""


@dataclass
class Node:
    """An engine node."""

    name: str
    child: Child
    port: int

    def start(self, children):
        """Starts the node and waits until it takes connections."""
        children.start(self.child)
        wait_until(self.listens, self.child, "listen")

    def listens(self):
        """Whether the node takes connections."""
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        return False

    def kill(self):
        """Ends the node as a crash does."""
        self.child.send(signal.SIGKILL)
        self.child.wait()


@dataclass
class Host:
    """A stayd and a bookshop."""

    number: int
    setup: setups.Setup
    configuration: Path

    @property
    def daemon(self):
        """The host's stayd."""
        return self.setup.daemons[0]

    @property
    def site(self):
        """The host's gunicorn."""
        return self.setup.sites[0]

    @property
    def pool(self):
        """HOST:PORT of the sessions pool."""
        return f"127.0.0.1:{self.daemon.ports[1]}"

    @property
    def serves(self):
        """Whether its bookshop runs."""
        return self.site.running

    def kill_stayd(self):
        """Ends stayd as a crash does."""
        self.daemon.child.send(signal.SIGKILL)
        self.daemon.child.wait()

    def kill(self):
        """Ends both, at the same moment."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.site.process.pid, signal.SIGKILL)  # the site's own group, with its workers
        self.kill_stayd()
        self.site.wait()

    def start(self, children):
        """Starts what does not run. Returns the seconds until stayd answered."""
        seconds = 0.0 if self.daemon.child.running else self.daemon.start(children)
        if not self.serves:
            children.start(self.site)
            self.setup.wait_until_served()
        return seconds


def make_nodes(run_dir):
    """Makes the engine nodes."""
    ports, routes = setups.free_ports(NODES), setups.free_ports(NODES)
    nodes = []
    for number, (port, route) in enumerate(zip(ports, routes), 1):
        name = f"node{number}"
        folder = run_dir / name
        folder.mkdir()
        configuration = folder / "nats-server.conf"
        configuration.write_text(
            NODE_CONFIGURATION.format(
                name=name, port=port, route=route, data=folder / "data",
                routes=", ".join(f'"nats://127.0.0.1:{other}"' for other in routes),
            )
        )
        command = [NATS_SERVER, "-c", configuration]
        nodes.append(Node(name, Child(f"the engine's {name}", command, run_dir / f"{name}.log"), port))
    return nodes


def make_hosts(run_dir, nodes, memory_mb):
    """Makes the hosts; the site of each has its own stayd first and the others behind it."""
    addresses = ", ".join(f"nats://127.0.0.1:{node.port}" for node in nodes)
    hosts = []
    for number in range(1, HOSTS + 1):
        key = f"host{number}"
        setup = setups.stayd(run_dir, memory_mb, key)
        setup.title = f"host {number}"
        configuration = run_dir / key / "stayd.conf"
        with open(configuration, "a", encoding="ascii") as file:
            file.write(CLUSTER_SETTINGS.format(nodes=addresses, partitions=PARTITIONS))
        hosts.append(Host(number, setup, configuration))
    for host in hosts:
        others = [other for other in hosts if other is not host]
        host.setup.environ["SITE_SESSION_CACHE"] = pool_url(host, *others)
    return hosts


def pool_url(*hosts):
    """The sessions pool on these hosts, in this order, as the sites name it."""
    return f"memcached://{','.join(host.pool for host in hosts)}/?cluster=yes"


def make_front(run_dir, hosts):
    """Makes the address in front of the hosts; returns (child, URL)."""
    (port,) = setups.free_ports(1)
    folder = run_dir / "front"
    folder.mkdir()
    sites = [host.setup.url.removeprefix("http://") for host in hosts]
    configuration = folder / "nginx.conf"
    configuration.write_text(
        FRONT_CONFIGURATION.format(
            folder=folder, port=port, user="user root;" if os.geteuid() == 0 else "",
            servers="\n".join(f"        server {site} max_fails=1 fail_timeout=1s;" for site in sites),
        )
    )
    command = [NGINX, "-p", folder, "-c", configuration, "-e", "stderr"]
    return Child("the address in front", command, run_dir / "front.log"), f"http://127.0.0.1:{port}"


def wait_for_front(child, url):
    """Waits until the bookshop answers at the address."""

    def answers():
        with contextlib.suppress(requests.RequestException):
            return requests.get(url + "/login/", timeout=10).ok
        return False

    wait_until(answers, child, "serve the bookshop's pages")


def stayctl(host, *words):
    """Runs `stayctl cluster`; returns (exit status, output)."""
    done = subprocess.run(
        [STAYCTL, "-c", host.configuration, "cluster", *words], capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def create_streams(nodes, host):
    """Makes the streams, as an operator does once."""
    said = ""

    def made():
        nonlocal said
        status, said = stayctl(host, "create")
        return status == 0

    try:
        wait_until(made, nodes[0].child, "make the streams", REPLICAS_POLL_S)
    except Exception as error:
        raise CannotRun(f"{error}\n`stayctl cluster create` said:\n{said.rstrip()}") from error


def partitions(host):
    """[(leader, whether all replicas are up to date)] of each partition."""
    _, said = stayctl(host, "status")
    rows = re.findall(r"^ *\d+  (\S+) +(\d+)/(\d+) ", said, re.MULTILINE)
    return [(leader, current == replicas) for leader, current, replicas in rows]


def wait_for_replicas(nodes, host):
    """Waits until every node has every record."""
    wait_until(
        lambda: [whole for _, whole in partitions(host)] == [True] * PARTITIONS,
        nodes[0].child, "get all records", REPLICAS_POLL_S,
    )


def copy_database(run_dir, hosts, database):
    """The users of each host are those of the others."""
    for host in hosts:
        shutil.copy(database, run_dir / f"{host.setup.key}.sqlite3")
