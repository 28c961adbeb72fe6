"""Hosts that start while the engine is away, and hosts that catch up: other pools serve at once,
and a host that may not serve refuses connections, so that its clients go elsewhere."""

import subprocess
import time

import pytest
from writers import read

from support import stayctl
from support.raw import Raw, wait_until

pytestmark = pytest.mark.long

UNAVAILABLE = b"SERVER_ERROR replication unavailable"


def launch(*hosts):
    """Starts daemons and waits only until their plain pools answer."""
    for host in hosts:
        with open(host._log_path, "ab") as log:
            host.process = host._spawn(log)
    for host in hosts:
        address = ("127.0.0.1", host.port("cache"))
        wait_until(lambda address=address, host=host: host._answers(address), 20, "the plain pool")


def refuses(host):
    """Whether the clustered pool refuses connections, on TCP and on its Unix socket."""
    for address in (("127.0.0.1", host.port("sessions")), host.socket("sessions")):
        try:
            Raw(address, timeout=5).close()
            return False
        except (ConnectionRefusedError, FileNotFoundError):
            pass
    return True


def serves(host):
    return all(
        host._answers(address)
        for address in (("127.0.0.1", host.port("sessions")), host.socket("sessions"))
    )


def test_hosts_that_start_without_the_engine(hosts, engine):
    """One engine that is away for all of these, because its nodes elect leaders for some seconds."""
    fresh, strict, eager = hosts.add(), hosts.host(), hosts.host(serve_while_catching_up="yes")
    with strict.connect("sessions") as raw:
        assert raw.ask(b"set k 0 0 1\r\na\r\n") == b"STORED"
    wait_until(lambda: read(eager, "k") == "a", what="the value")
    strict.terminate()
    eager.terminate()
    for node in engine.nodes:
        node.kill()
    try:
        launch(fresh, strict, eager)
        with eager.connect("sessions", timeout=20) as raw:
            raw.send(b"set k 0 0 1\r\nb\r\n")  # it waits for 10 s
            while_the_engine_is_away(fresh, strict, eager)
            assert raw.read_line() == UNAVAILABLE
            assert raw.get(b"k") == b"a"
    finally:
        for node in engine.nodes:
            node.start()
        engine.wait_ready()
    for host in (fresh, strict):
        wait_until(lambda host=host: serves(host), 60, "the clustered pool")
        assert "pool sessions has caught up with its cluster" in host.log
    with eager.connect("sessions", timeout=20) as raw:
        wait_until(lambda: raw.ask(b"set k 0 0 1\r\nc\r\n") == b"STORED", 60, "a write")
    for host in (fresh, strict):
        wait_until(lambda host=host: read(host, "k") == "c", what="the new value")


def while_the_engine_is_away(fresh, strict, eager):
    assert refuses(fresh) and refuses(strict)
    with fresh.connect("cache") as raw:
        assert raw.ask(b"set k 0 0 1\r\na\r\n") == b"STORED"
    wait_until(lambda: "waits for its cluster" in fresh.log, what="the log line")
    code, text = fresh.health()
    assert code == 503 and text.startswith("pool sessions waits for its cluster: ")
    done = stayctl.run("-c", fresh.config_path, "status", text=True)
    assert (
        done.returncode == 1
        and "WAITS" in done.stdout
        and "stayd runs, and this pool waits" in done.stderr
    )
    assert serves(eager) and read(eager, "k") == "a"
    with eager.connect("sessions") as raw:
        assert raw.stats()["cluster_state"] == "waiting"
    done = stayctl.run("-c", eager.config_path, "status", text=True)
    assert (
        done.returncode == 1
        and "NO-WRITES" in done.stdout
        and "pool sessions waits for its cluster" in done.stdout
    )
    begun = time.monotonic()
    assert fresh.terminate() == 0
    assert time.monotonic() - begun < 15
    launch(fresh)  # the port and the socket are free
    assert refuses(fresh)


def test_a_mistake_ends_the_start_of_all_pools(hosts, engine):
    """And the mistake is named."""
    host = hosts.add()
    host.configure(
        host.config.replace(f"cluster_prefix = {hosts.prefix}", "cluster_prefix = nobody")
    )
    done = subprocess.run(
        host.command(), capture_output=True, text=True, timeout=60, env=host.environment()
    )
    assert done.returncode != 0
    assert "cannot join its cluster: stream nobody_sessions_0 is missing" in done.stderr
