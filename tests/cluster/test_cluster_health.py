"""What a host says about its cluster: stats, health check, metrics, JSON, stayctl."""

import json
import re

from support import stayctl
from support.raw import wait_until
from test_cluster_many import get_cluster
from writers import read

UNAVAILABLE = b"SERVER_ERROR replication unavailable"


def set_some(host, count=20):
    with host.connect("sessions") as raw:
        for i in range(count):
            assert raw.ask(b"set k%d 0 0 1\r\na\r\n" % i) == b"STORED"


def get_metrics(host):
    return dict(
        re.findall(
            r'^stayd_cluster_(\w+){pool="sessions"} (\S+)$', host.page("/metrics")[1], re.MULTILINE
        )
    )


def status(host, *arguments):
    return stayctl.run("-c", host.config_path, *arguments, text=True)


def test_all_is_well(hosts):
    host = hosts.host()
    set_some(host)
    assert host.health() == (200, "ok\n")
    metrics = get_metrics(host)
    assert metrics["serves"] == metrics["connected"] == metrics["follows"] == "1"
    assert metrics["partitions"] == metrics["partitions_caught_up"] == str(hosts.partitions)
    assert (
        metrics["partitions_leaderless"]
        == metrics["partitions_lost"]
        == metrics["writes_failed_total"]
        == "0"
    )
    assert int(metrics["writes_acknowledged_total"]) == 20
    assert 'pool="cache"} 1' not in "".join(
        re.findall("^stayd_cluster.*$", host.page("/metrics")[1], re.MULTILINE)
    )
    with host.connect("sessions") as raw:
        rows = raw.stats(b"cluster")
        general = raw.stats()
    assert general["cluster_state"] == "caught_up" and general["cluster_serves"] == "yes"
    assert general["cluster_syncs"] == "unknown"
    assert {row.split(":")[0] for row in rows} == {str(i) for i in range(hosts.partitions)}
    assert all(
        rows[f"{i}:state"] == "caught_up" and rows[f"{i}:leader"].startswith("n")
        for i in range(hosts.partitions)
    )
    with host.connect("cache") as raw:
        assert raw.stats(b"cluster") == {}
    wait_until(
        lambda: sum(part["records"] for part in get_cluster(host)["partitions"]) >= 20,
        30,
        "the next check",
    )


def test_stayctl_shows_the_engine_and_the_host(hosts):
    host = hosts.host()
    set_some(host)
    done = status(host, "cluster", "status")
    assert done.returncode == 0, done.stderr
    assert (
        "this host: caught_up; 0 writes failed" in done.stdout
        and done.stdout.count(" caught_up\n") == hosts.partitions
    )
    whole = json.loads(status(host, "-j", "cluster", "status").stdout)
    assert (
        whole["well"]
        and whole["host"]["state"] == "caught_up"
        and len(whole["partitions"]) == hosts.partitions
    )
    assert sum(part["host"]["position"] for part in whole["partitions"]) >= 20
    assert all(part["engine"]["replicas"] == 3 for part in whole["partitions"])
    done = status(host, "status")
    assert done.returncode == 0 and "sessions ok" in done.stdout
    host.terminate()
    done = status(host, "cluster", "status")
    assert done.returncode == 0 and "stayd does not answer on this pool" in done.stdout


def test_a_stream_that_was_made_anew_is_noticed_without_a_write(hosts, engine):
    host, other = hosts.host(), hosts.host()
    set_some(host)
    for i in range(hosts.partitions):
        with engine.client() as client:
            client.api("STREAM.DELETE." + hosts.stream(i))
        engine.create_stream(hosts.stream(i), [f"{hosts.prefix}.sessions.{i}.>"])
    lost = str(hosts.partitions)
    wait_until(lambda: get_metrics(host)["partitions_lost"] == lost, 60, "the alarm")
    code, text = host.health()
    assert (
        code == 503
        and "their log was made anew or has lost records" in text
        and "Do not restart stayd" in text
    )
    with host.connect("sessions", timeout=20) as raw:
        assert raw.ask(b"set k0 0 0 1\r\nb\r\n") == UNAVAILABLE
        assert raw.ask(b"delete k1\r\n") == UNAVAILABLE
        assert raw.get(b"k0") == raw.get(b"k1") == b"a"
        assert raw.stats(b"cluster")["0:state"] == "lost"
    assert "was made anew. Reads go on" in host.log
    done = status(host, "status")
    assert (
        done.returncode == 1
        and "NO-WRITES" in done.stdout
        and "Do not restart stayd" in done.stdout
    )
    assert status(host, "cluster", "status").returncode == 1
    # What others write to the new log is not applied to the old copy.
    fresh = hosts.host()
    with fresh.connect("sessions") as raw:
        for i in range(60):
            assert raw.ask(b"set new%d 0 0 1\r\nc\r\n" % i) == b"STORED"
    wait_until(lambda: get_metrics(other)["partitions_lost"] == lost, 60, "the other host's alarm")
    assert read(host, "new0") is None and read(host, "k0") == "a" and read(fresh, "k0") is None


def test_a_stream_that_is_changed_is_noticed(hosts, engine):
    host = hosts.host()
    with engine.client() as client:
        config = client.api("STREAM.INFO." + hosts.stream(0))["config"]
        client.api("STREAM.UPDATE." + hosts.stream(0), **{**config, "max_bytes": 1 << 20})
    wait_until(
        lambda: "max_msgs, max_bytes and max_age must not be set" in get_cluster(host)["wrong"],
        60,
        "the alarm",
    )
    with engine.client() as client:
        client.api("STREAM.UPDATE." + hosts.stream(0), **config)
    wait_until(lambda: get_cluster(host)["wrong"] == "", 60, "the end of it")
