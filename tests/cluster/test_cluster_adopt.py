"""From a plain pool to a cluster and back, and a log made anew from a pool's file: nobody is
logged out, nobody
who was logged out comes back."""

import json
import signal
import subprocess
import time
from contextlib import closing

import pytest

from hosts import Hosts
from support.nats import Cluster, Refused, single
from support.raw import wait_until
from support.stayctl import STAYCTL, backup, run
from test_cluster_start import serves
from writers import ask, items_of, read, store

CLUSTER_KEYS = ("cluster", "cluster_prefix", "cluster_partitions", "cluster_replicas")


def without_cluster(config):
    return (
        "\n".join(line for line in config.splitlines() if line.split(" = ")[0] not in CLUSTER_KEYS)
        + "\n"
    )


class Host:
    """A stayd whose pool is plain at first, and in the cluster later."""

    def __init__(self, hosts, **sessions):
        self.stayd = hosts.add(**sessions)
        self.clustered = self.stayd.config
        self.plain = without_cluster(self.clustered)

    def start(self, clustered):
        self.stayd.configure(self.clustered if clustered else self.plain)
        self.stayd.start()
        return self.stayd

    def stayctl(self, *words, **options):
        self.stayd.configure(self.clustered)
        return run("-c", self.stayd.config_path, *words, text=True, **options)

    def adopt(self, *more):
        return self.stayctl("cluster", "adopt", "sessions", *more)


@pytest.fixture
def host(hosts):
    return Host(hosts)


def sessions(name, count):
    return {f"{name}{i}": f"value-{i}" * 20 for i in range(count)}


def drop_streams(hosts, again=True):
    for i in range(hosts.partitions):
        with hosts.engine.client() as client:
            client.api("STREAM.DELETE." + hosts.stream(i))
        if again:
            hosts.engine.create_stream(hosts.stream(i), [f"{hosts.prefix}.sessions.{i}.>"])


def refusal(stayd):
    done = subprocess.run(
        stayd.command(), capture_output=True, text=True, timeout=30, env=stayd.environment()
    )
    assert done.returncode != 0
    return done.stderr


def test_a_plain_pool_becomes_a_cluster_and_nobody_is_logged_out(hosts, host):
    drop_streams(hosts, again=False)  # adopt makes them
    stayd = host.start(clustered=False)
    kept = sessions("kept", 700)
    store(stayd, kept)
    store(stayd, {"later": "x"}, expiry=1000)
    store(stayd, {"expired": "x", "gone": "x"}, expiry=1)
    assert ask(stayd, b"set out 0 0 1\r\nx\r\n", b"delete out\r\n") == [b"STORED", b"DELETED"]
    wait_until(lambda: read(stayd, "expired") is None, what="an expiry")
    assert "in use" in host.adopt().stderr  # by the plain stayd
    stayd.terminate()
    stayd.configure(host.clustered)
    assert "stayctl cluster adopt sessions" in refusal(stayd)
    done = host.adopt()
    assert done.returncode == 0, done.stderr
    assert f"{len(kept) + 1} items: {len(kept) + 1} written" in done.stdout
    assert stayd.data_file("sessions").with_name("sessions.pool.adopted").exists()
    host.start(clustered=True)
    for one in (stayd, hosts.host()):
        assert items_of(one, kept) == kept
        with one.connect("sessions") as raw:
            assert 0 < int(raw.ask(b"mg later t\r\n").split(b"t")[1]) <= 1000
            assert raw.ask(b"mg kept3 f\r\n") == b"HD f5"
        assert items_of(one, ["expired", "gone", "out"]) == {}
    assert ask(stayd, b"delete kept0\r\n") == [b"DELETED"]


def test_a_session_that_ended_between_two_runs_does_not_come_back(hosts, host, tmp_path):
    """The first run is made on a backup, while the plain pool serves; the second on its file."""
    stayd = host.start(clustered=False)
    store(stayd, sessions("s", 300))
    stayd.configure(host.plain)
    copy = tmp_path / "copy.pool"
    backup(stayd, copy)
    done = host.adopt(copy)
    assert done.returncode == 0 and "not complete" in done.stdout, done.stderr
    assert ask(stayd, b"delete s7\r\n", b"set s8 5 0 3\r\nnew\r\n", b"set fresh 5 0 1\r\nx\r\n")
    stayd.terminate()
    done = host.adopt("--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "pool": "sessions",
        "items": 300,
        "stored": 2,
        "present": 298,
        "removed": 1,
        "complete": True,
    }
    host.start(clustered=True)
    assert (read(stayd, "s7"), read(stayd, "s8"), read(stayd, "fresh")) == (None, "new", "x")
    assert len(items_of(stayd, sessions("s", 300))) == 299


def test_adopt_is_killed_and_run_again(hosts, host):
    stayd = host.start(clustered=False)
    kept = sessions("k", 4000)
    store(stayd, kept)
    stayd.terminate()
    stayd.configure(host.clustered)
    for records in (500, 2500):
        kill_at(hosts, records, stayd, "cluster", "adopt", "sessions")
    assert stayd.data_file("sessions").exists()
    done = host.adopt()
    assert done.returncode == 0, done.stderr
    assert "0 that have ended" in done.stdout
    host.start(clustered=True)
    assert items_of(stayd, kept) == kept


def count(hosts):
    """The records of all streams that are there."""
    with hosts.engine.client() as client:
        found = 0
        for i in range(hosts.partitions):
            try:
                found += client.api("STREAM.INFO." + hosts.stream(i))["state"]["messages"]
            except (Refused, OSError):  # there is none, or it has no leader yet
                pass
        return found


def kill_at(hosts, records, stayd, *words):
    """Runs stayctl, and kills it when the streams have so many records. It runs a few milliseconds at a
    time, and stands still while the records are counted."""
    process = subprocess.Popen(
        [STAYCTL, "-c", stayd.config_path, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        while process.poll() is None:
            time.sleep(0.005)
            process.send_signal(signal.SIGSTOP)
            if count(hosts) >= records:
                break
            process.send_signal(signal.SIGCONT)
        assert process.poll() is None, "it ended before it was killed"
    finally:
        process.kill()
        process.communicate()


def test_a_host_waits_while_the_logs_are_being_filled(hosts, host, tmp_path):
    stayd = host.start(clustered=False)
    store(stayd, sessions("s", 50))
    stayd.configure(host.plain)
    backup(stayd, tmp_path / "copy.pool")
    assert host.adopt(tmp_path / "copy.pool").returncode == 0
    stayd.terminate()
    other = hosts.add()
    process = subprocess.Popen(
        other.command(), stderr=subprocess.PIPE, text=True, env=other.environment()
    )
    try:
        for line in process.stderr:
            if "is being filled" in line:
                break
        assert process.poll() is None
        assert host.adopt().returncode == 0
        for line in process.stderr:
            if "has caught up" in line:
                break
        wait_until(lambda: serves(other), what="the other host")
        assert read(other, "s49") is not None
    finally:
        process.terminate()
        process.communicate()


def test_adopt_refuses_the_logs_of_another_cluster(hosts, host):
    first = hosts.host()
    store(first, {"theirs": "x"})
    stayd = host.start(clustered=False)
    store(stayd, sessions("s", 5))
    stayd.terminate()
    done = host.adopt()
    assert done.returncode == 1 and "not from this file" in done.stderr
    assert stayd.data_file("sessions").exists()
    assert items_of(hosts.host(), sessions("s", 5)) == {}  # nobody waits, and nothing was written
    first.terminate()
    done = run("-c", first.config_path, "cluster", "adopt", "sessions", text=True)
    assert done.returncode == 2 and "already" in done.stderr


def test_adopt_goes_on_when_the_engine_has_room_again(tmp_path):
    """The disk of the engine is full in the middle."""
    engine = Cluster(tmp_path, nodes=1)
    node = single(tmp_path)
    engine.nodes = [node]
    engine.outer = [node.port]
    large = node.config.read_text()
    node.config.write_text(large.replace("max_file: 2G", "max_file: 100K"))
    with engine, closing(Hosts(engine)) as hosts:
        host = Host(hosts, cluster_replicas=1)
        stayd = host.start(clustered=False)
        kept = sessions("k", 500)
        store(stayd, kept)
        stayd.terminate()
        done = host.adopt()
        assert done.returncode == 1 and "the engine refuses a record" in done.stderr
        node.kill()
        node.config.write_text(large)
        node.start()
        engine.wait_ready()
        done = host.adopt()
        assert done.returncode == 0, done.stderr
        host.start(clustered=True)
        assert items_of(stayd, kept) == kept


def test_a_clustered_pool_becomes_a_plain_one_again(hosts, host):
    stayd = host.start(clustered=True)
    kept = sessions("k", 100)
    store(stayd, kept)
    assert ask(stayd, b"delete k0\r\n") == [b"DELETED"]
    with stayd.connect("sessions") as raw:
        cas = int(raw.ask(b"mg k1 c\r\n").split(b"c")[1])
    stayd.terminate()
    host.start(clustered=False)
    assert "from now on it is a plain pool" in stayd.log
    del kept["k0"]
    assert items_of(stayd, kept) == kept and read(stayd, "k0") is None
    with stayd.connect("sessions") as raw:
        assert int(raw.ask(b"mg k1 c\r\n").split(b"c")[1]) == cas
        assert raw.ask(b"set k2 0 0 1\r\nx\r\n") == b"STORED"
        assert int(raw.ask(b"mg k2 c\r\n").split(b"c")[1]) > 10000
    stayd.terminate()
    stayd.configure(host.clustered)
    assert "of a pool without a cluster" in refusal(stayd)
    assert host.adopt().returncode == 1  # the streams are the earlier cluster's
    done = host.stayctl("reseed", "sessions", "--yes")
    assert done.returncode == 0, done.stderr
    stayd.data_file("sessions").unlink()
    host.start(clustered=True)
    assert (
        read(stayd, "k2") == "x" and read(stayd, "k0") is None and read(stayd, "k99") == kept["k99"]
    )


def test_a_log_that_was_made_anew_is_filled_from_a_pool(hosts, host, tmp_path):
    """The hosts drop what they have of the earlier log, also what the best pool had not."""
    stayd, other = host.start(clustered=True), hosts.host()
    kept = sessions("k", 150)
    store(stayd, kept)
    for i in range(100):  # the earlier log's numbers are higher than the new one's
        store(stayd, {"k1": f"n{i}"})
    kept["k1"] = "n99"
    wait_until(lambda: read(other, "k1") == "n99", what="the last value")
    other.terminate()
    assert ask(stayd, b"delete k0\r\n") == [b"DELETED"]
    del kept["k0"]
    stayd.configure(host.clustered)
    copy = tmp_path / "copy.pool"
    backup(stayd, copy)
    drop_streams(hosts)
    assert "stayctl reseed" in refusal(other)
    asked = host.stayctl("reseed", "sessions", copy)
    assert (
        asked.returncode == 2
        and "149 items" in asked.stderr
        and "Sessions that were ended" in asked.stderr
    )
    assert count(hosts) == 0
    done = host.stayctl("reseed", "sessions", copy, "--yes")
    assert done.returncode == 0, done.stderr
    assert read(stayd, "k1") == "n99"  # reads go on
    stayd.restart()
    other.start()
    for one in (stayd, other, hosts.host()):
        assert items_of(one, kept) == kept and read(one, "k0") is None
    assert "is dropped" in stayd.log and "is dropped" in other.log
    assert ask(other, b"set k2 0 0 3\r\nnew\r\n", b"delete k3\r\n") == [b"STORED", b"DELETED"]
    wait_until(
        lambda: read(stayd, "k2") == "new" and read(stayd, "k3") is None, what="the other's writes"
    )
    stayd.restart()
    assert "is dropped" not in stayd.log.rsplit("as the last stop left them", 1)[1]
    assert read(stayd, "k2") == "new"


def test_reseed_is_killed_and_run_again(hosts, host):
    stayd = host.start(clustered=True)
    kept = sessions("k", 1200)
    store(stayd, kept)
    stayd.terminate()
    drop_streams(hosts, again=False)
    kill_at(hosts, 300, stayd, "reseed", "sessions", "--yes")
    done = host.stayctl("reseed", "sessions", "--yes")
    assert done.returncode == 0, done.stderr
    assert "were begun by an earlier run" in done.stderr
    host.start(clustered=True)
    assert items_of(stayd, kept) == kept
