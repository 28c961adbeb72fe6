"""stayctl cluster: makes the streams that a clustered pool needs, and shows them."""

import json
import subprocess

from support.servers import ROOT
from writers import read


def stayctl(host, *words):
    return subprocess.run(
        [str(ROOT / "build" / "stayctl"), "-c", str(host.config_path), "cluster", *words],
        capture_output=True,
        text=True,
        timeout=120,
    )


def drop(hosts):
    for i in range(hosts.partitions):
        with hosts.engine.client() as client:
            client.api("STREAM.DELETE." + hosts.stream(i))


def test_streams_are_made_and_shown(hosts):
    drop(hosts)
    host = hosts.add()
    shown = stayctl(host, "status")
    assert shown.returncode == 1 and shown.stdout.count("is missing") == hosts.partitions
    made = stayctl(host, "create")
    assert made.returncode == 0, made.stderr + made.stdout
    assert made.stdout.count("/3") == hosts.partitions
    assert stayctl(host, "create").returncode == 0  # they are there already
    host.start()
    with host.connect("sessions") as raw:
        assert raw.ask(b"set k 0 0 1\r\na\r\n") == b"STORED"
    assert read(host, "k") == "a"
    assert stayctl(host, "status").returncode == 0


def test_wrong_streams_are_named_and_left_as_they_are(hosts, engine):
    drop(hosts)
    engine.create_stream(hosts.stream(1), [f"{hosts.prefix}.sessions.1.>"], max_msgs_per_subject=7)
    made = stayctl(hosts.add(), "create")
    assert made.returncode == 1
    assert "has wrong settings: max_msgs_per_subject must be 1" in made.stdout
    with engine.client() as client:
        assert (
            json.dumps(
                client.api("STREAM.INFO." + hosts.stream(1))["config"]["max_msgs_per_subject"]
            )
            == "7"
        )


def test_a_configuration_without_a_cluster_is_told_so(hosts):
    plain = type(hosts.add())()
    result = stayctl(plain, "status")
    plain.close()
    assert result.returncode == 2 and "no pool has `cluster`" in result.stderr
