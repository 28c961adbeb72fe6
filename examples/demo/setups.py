"""The set-ups that the demo compares: their daemons, and the bookshop in front of each.

A set-up is one or two daemons, and one gunicorn that serves the bookshop with that store. Every
set-up has the same memory in total.
"""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pymemcache
import requests

from children import CannotRun, Child, wait_until

TREE_DIR = Path(__file__).resolve().parents[2]
SITE_DIR = TREE_DIR / "examples" / "site"

# The daemons that `make build` makes or unpacks, unless the environment names others.
STAYD = Path(os.environ.get("STAYD_BINARY", TREE_DIR / "build/stayd"))
MEMCACHED = Path(os.environ.get("MEMCACHED_BINARY", TREE_DIR / "build/peers/usr/bin/memcached"))

# The path of a Unix socket has at most 107 bytes, and the names below need some 20 of them.
RUN_DIR_LONGEST = 85

# Short, because the demo shows how long a restarted daemon takes to answer.
ANSWER_POLL_S = 0.002

_reservations = []


def free_ports(count):
    """Returns `count` loopback ports on which nothing listens, and which no other demo gets while
    this process runs. They lie below the kernel's ephemeral range, so that no outgoing connection
    takes one before its server does, and above those of the tests (tests/support/ports.py)."""
    ports = []
    while len(ports) < count:
        port = random.randrange(30240, 32700)
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                lock.bind(f"\0stayd-demo-port-{port}")  # an abstract name: it ends with the process
                probe.bind(("127.0.0.1", port))
            except OSError:
                lock.close()
                continue
        _reservations.append(lock)
        ports.append(port)
    return ports


def answers(port):
    """Whether a memcached or stayd pool answers on this port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"version\r\n")
            return connection.recv(64).startswith(b"VERSION")
    except OSError:
        return False


@dataclass
class Daemon:
    """A cache daemon and the ports on which it must answer to count as up."""

    child: Child
    ports: list

    def start(self, children):
        """Starts the daemon and waits until it answers. Returns the seconds that this took."""
        begun = time.monotonic()
        children.start(self.child)
        for port in self.ports:
            wait_until(lambda port=port: answers(port), self.child, "answer", ANSWER_POLL_S)
        return time.monotonic() - begun

    def restart(self, children, signal_number):
        """Ends the daemon by this signal and starts it; returns the seconds until it answers."""
        self.child.send(signal_number)
        self.child.wait()
        return self.start(children)

    def evictions(self):
        """How many live items a memcached has dropped since its start to make room."""
        with contextlib.closing(
            pymemcache.Client(("127.0.0.1", self.ports[0]), timeout=5)
        ) as client:
            return int(client.stats()[b"evictions"])


@dataclass
class Setup:
    """One way to keep sessions, with the bookshop in front of it."""

    key: str  # short, for file names
    title: str  # for sentences
    heading: str  # for a column of the table, on two lines
    about: str  # one line that says what it is
    daemons: list
    environ: dict  # SITE_*: what the bookshop needs to find its store
    sites: list = field(default_factory=list)
    url: str = ""
    sessions_over_tcp: str = ""  # stayd only: the sessions pool's other address
    cache_socket: str = ""  # stayd only: the cache pool's other address
    dashboard: str = ""  # stayd only
    short_dir: object = None  # removed with the set-up

    def restart(self, children, signal_number):
        """Restarts all daemons of the set-up. Returns the seconds until the last one answers."""
        return max(daemon.restart(children, signal_number) for daemon in self.daemons)

    def serve(self, children, run_dir, database):
        """Starts gunicorn with the bookshop, on its own copy of the user database."""
        own_database = run_dir / f"{self.key}.sqlite3"
        shutil.copy(database, own_database)
        self.environ["SITE_DATABASE"] = str(own_database)
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-B", "-m", "gunicorn", "bookshop.wsgi", "--chdir", SITE_DIR]
        command += ["--bind", f"127.0.0.1:{port}", "--workers", "2", "--preload"]
        command += ["--worker-class", "gthread", "--threads", "4", "--keep-alive", "120"]
        command += ["--graceful-timeout", "2", "--log-level", "warning"]
        log_path = run_dir / f"{self.key}-site.log"
        child = Child(f"the bookshop on {self.title}", command, log_path, self.environ)
        self.sites.append(children.start(child))

    def wait_until_served(self):
        """Waits until the bookshop answers over HTTP."""

        def is_served():
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                return requests.get(self.url + "/login/", timeout=10).ok
            return False

        wait_until(is_served, self.sites[-1], "serve its pages")

    @property
    def processes(self):
        """The site and the daemons."""
        return [*self.sites, *(daemon.child for daemon in self.daemons)]


def memcached(name, run_dir, memory_mb):
    """Makes a memcached with this much memory for items; returns (daemon, HOST:PORT)."""
    (port,) = free_ports(1)
    command = [MEMCACHED, "-u", "root", "-l", "127.0.0.1", "-p", str(port), "-U", "0"]
    command += ["-m", str(memory_mb), "-t", "2"]
    child = Child(name, command, run_dir / f"{name.replace(' ', '-')}.log")
    return Daemon(child, [port]), f"127.0.0.1:{port}"


def one_memcached(run_dir, memory_mb):
    """Cache and sessions in one memcached of twice memory_mb megabytes."""
    daemon, address = memcached("the shared memcached", run_dir, 2 * memory_mb)
    return Setup(
        "one-memcached",
        "one memcached",
        "one\nmemcached",
        f"cache and sessions share {2 * memory_mb} MB",
        [daemon],
        {"SITE_STORE": "one_memcached", "SITE_CACHE": address},
    )


def two_memcacheds(run_dir, memory_mb):
    """The cache in one memcached, the sessions in another, each of memory_mb megabytes."""
    cache, cache_address = memcached("the cache memcached", run_dir, memory_mb)
    sessions, sessions_address = memcached("the sessions memcached", run_dir, memory_mb)
    return Setup(
        "two-memcacheds",
        "two memcacheds",
        "two\nmemcacheds",
        f"{memory_mb} MB for the cache, {memory_mb} MB for the sessions",
        [cache, sessions],
        {
            "SITE_STORE": "two_memcacheds",
            "SITE_CACHE": cache_address,
            "SITE_SESSION_CACHE": sessions_address,
        },
    )


# item_max is the largest size of an item. For pools this small, less than the default of 1M is
# better.
STAYD_CONFIGURATION = """\
[server]
threads  = 2
data_dir = {data_dir}
run_dir  = {run_dir}
admin    = 127.0.0.1:{admin_port}

[pool cache]
listen   = 127.0.0.1:{cache_port}, unix:cache.sock
memory   = {memory_mb}M
item_max = 64K
evict    = yes
persist  = no

[pool sessions]
listen   = 127.0.0.1:{sessions_port}, unix:sessions.sock
memory   = {memory_mb}M
item_max = 64K
evict    = no
persist  = yes
"""


def stayd(run_dir, memory_mb, key="stayd"):
    """One stayd with two pools of memory_mb megabytes each, and its configuration file."""
    home = run_dir / key
    data_dir = home / "data"
    sockets_dir = home / "run"
    short_dir = None
    if len(str(sockets_dir)) > RUN_DIR_LONGEST:
        short_dir = tempfile.TemporaryDirectory(prefix="stayd-demo-")
        sockets_dir = Path(short_dir.name)
    for folder in (data_dir, sockets_dir):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    cache_port, sessions_port, admin_port = free_ports(3)
    configuration = home / "stayd.conf"
    configuration.write_text(
        STAYD_CONFIGURATION.format(
            data_dir=data_dir,
            run_dir=sockets_dir,
            admin_port=admin_port,
            cache_port=cache_port,
            sessions_port=sessions_port,
            memory_mb=memory_mb,
        )
    )
    child = Child("stayd", [STAYD, "-c", configuration], run_dir / f"{key}.log")
    return Setup(
        key,
        "stayd",
        "\nstayd",
        f"one daemon: {memory_mb} MB for the cache, {memory_mb} MB for the sessions",
        [Daemon(child, [cache_port, sessions_port])],
        {
            "SITE_STORE": "stayd",
            "SITE_CACHE": f"memcached://127.0.0.1:{cache_port}/",
            "SITE_SESSION_CACHE": f"unix://{sockets_dir}/sessions.sock",
        },
        short_dir=short_dir,
        dashboard=f"http://127.0.0.1:{admin_port}/",
        sessions_over_tcp=f"memcached://127.0.0.1:{sessions_port}/",
        cache_socket=f"unix://{sockets_dir}/cache.sock",
    )


def make_database(run_dir, reader_count):
    """Makes the SQLite file with the site's tables and its readers; returns its path."""
    database = run_dir / "users.sqlite3"
    environ = {**os.environ, "SITE_DATABASE": str(database), "SITE_STORE": "database"}
    environ["SITE_CACHE"] = "127.0.0.1:1"  # this command does not use the cache
    manage = [sys.executable, "-B", str(SITE_DIR / "manage.py")]
    command = ["create_readers", str(reader_count), "--migrate"]
    done = subprocess.run(manage + command, env=environ, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotRun(f"`manage.py {' '.join(command)}` failed:\n{done.stderr.rstrip()}")
    return database
