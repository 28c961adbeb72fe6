"""SIGHUP: the configuration is read again, and the log names the changes that need a restart."""

import re
import resource
import signal
import subprocess

import pytest

from support import preload
from support.notified import Notified
from support.servers import Stayd, free_port, stayd_binary, wait_until


def reload(stayd):
    """Sends SIGHUP; returns the lines that the reload logged."""
    before = len(stayd.log)
    stayd.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP: " in stayd.log[before:], what="the last line")
    return stayd.log[before:]


def test_what_is_the_same_is_said_to_be():
    with Stayd() as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"k", b"v")
        log = reload(stayd)
        assert "is valid; 0 changes in it" in log and "->" not in log
        assert connection.get(b"k") == b"v"
        # Another spelling of the same value is no change, and a comment is none.
        stayd.configure(stayd.config.replace("64M", "65536K") + "\n; a comment\n")
        assert "is valid; 0 changes in it" in reload(stayd)


CHANGES = [
    ("sessions", "memory", "64M", "128M"),
    ("sessions", "fsync", "everysec", "always"),
    ("cache", "evict", "yes", "no"),
    ("cache", "item_max", "1M", "512K"),
    ("cache", "idle_timeout", "none", "14d"),
    ("cache", "max_lifetime", "none", "90s"),
    ("cache", "auth_file", "none", "/etc/users"),
    ("cache", "admin_commands", "local", "no"),
    ("cache", "readers", "stayd's own user", "root, @root"),
    ("cache", "insecure", "no", "yes"),
    ("cache", "socket_mode", "0660", "0600"),
    ("server", "threads", "2", "3"),
    ("server", "max_connections", "4096", "77"),
    ("server", "send_timeout", "30s", "12h"),
    ("server", "connection_idle_timeout", "none", "2m"),
    ("server", "connection_memory", None, "65537K"),
    ("server", "requests_per_turn", "1000", "20"),
    ("server", "io", "auto", "epoll"),
    ("server", "backlog", None, "50"),
    ("server", "admin_hosts", "none", "stayd.example.com"),
    ("server", "admin_auth_file", "none", "/etc/admin.users"),
]


@pytest.mark.parametrize("pool, key, old, new", CHANGES)
def test_each_changed_key_is_named(pool, key, old, new):
    with Stayd() as stayd:
        section = pool if pool == "server" else f"pool {pool}"
        text = re.sub(rf"^{key} = .*\n", "", section_of(stayd.config, section), flags=re.M)
        stayd.configure(stayd.config.replace(
            section_of(stayd.config, section), f"{text.rstrip()}\n{key} = {new}\n\n"
        ))
        log = reload(stayd)
        told = re.search(r"\[(.*)\] (\w+): (.*) -> (.*) needs a restart", log)
        assert told and told.group(1, 2, 4) == (section, key, new), log
        assert old is None or told.group(3) == old
        assert "is valid; 1 change in it needs a restart" in log


CLUSTER = {
    "cluster": "nats://a:4222,nats://b:4222", "cluster_prefix": "site", "cluster_partitions": "4",
    "cluster_replicas": "5", "cluster_credentials": "/etc/web.creds", "cluster_tls_ca": "/etc/ca",
    "cluster_tls_cert": "/etc/cert", "cluster_tls_key": "/etc/key", "cluster_max_lag": "10m",
    "serve_while_catching_up": "yes",
}


def test_each_setting_of_a_new_cluster_is_named():
    with Stayd() as stayd:
        section = section_of(stayd.config, "pool sessions")
        lines = "".join(f"{key} = {value}\n" for key, value in CLUSTER.items())
        stayd.configure(stayd.config.replace(section, f"{section.rstrip()}\n{lines}\n"))
        log = reload(stayd)
        for key, value in CLUSTER.items():
            assert re.search(rf"\[pool sessions\] {key}: \S+ -> {value} needs a restart", log), log


def test_no_key_of_the_configuration_is_left_out(tmp_path):
    """A new key of the configuration must also be added to the comparison of a reload, and to this test."""
    others = {"listen", "data_dir", "run_dir", "admin", "persist"}
    in_pairs = {"tls_cert", "tls_key", "tls_ca", "admin_tls_cert", "admin_tls_key"}
    config = tmp_path / "stayd.conf"
    config.write_text("[server]\nbogus = 1\n[pool x]\nlisten = 127.0.0.1:1\nbogus = 1\n")
    done = subprocess.run([stayd_binary(), "--check", "-c", config], capture_output=True, text=True,
                          timeout=30, check=False)
    keys = set(re.findall(r"\w+", " ".join(re.findall(r"valid keys: (.*)", done.stderr))))
    assert len(keys) > 15
    assert keys == {key for _, key, _, _ in CHANGES} | CLUSTER.keys() | others | in_pairs


def section_of(config, name):
    """The text of a section, with its heading."""
    return re.search(rf"^\[{name}\]\n(?:(?!\[).*\n?)*", config, re.M).group()


def test_addresses_and_pools_that_come_and_go_are_named():
    with Stayd() as stayd:
        old = stayd.config
        port = free_port()
        cache = section_of(old, "pool cache")
        stayd.configure(old.replace(cache, f"[pool more]\nlisten = 127.0.0.1:{port}\n\n").replace(
            "unix:sessions.sock", "unix:other.sock"))
        log = reload(stayd)
        assert "[pool cache] is no longer in the file" in log
        assert "[pool more] is new" in log
        assert re.search(r"\[pool sessions\] listen: 127\S*, unix:\S*/sessions.sock -> 127\S*, "
                         r"unix:\S*/other.sock needs a restart", log)
        assert stayd.connect("sessions").ask(b"mn\r\n") == b"MN"
        stayd.configure(old)
        assert stayd.connect("cache").ask(b"mn\r\n") == b"MN"


def test_a_file_with_faults_changes_nothing_and_each_fault_is_told():
    with Stayd() as stayd:
        good = stayd.config
        stayd.config_path.write_text(good + "[pool x]\nmemory = many\nbogus = 1\n")
        log = reload(stayd)
        lines = good.count("\n")
        assert f"error: {stayd.config_path}:{lines + 2}: memory = many" in log
        assert f"{stayd.config_path}:{lines + 3}: unknown key 'bogus'" in log
        assert "stays as it is" in log and "->" not in log
        stayd.config_path.unlink()
        assert "cannot read the configuration: No such file" in reload(stayd)
        assert stayd.connect("cache").ask(b"mn\r\n") == b"MN"
        stayd.config_path.write_text(good)
        assert "is valid; 0 changes in it" in reload(stayd)


@pytest.mark.skipif(preload.has_sanitizer(), reason="a sanitizer needs addresses without end")
def test_a_reload_without_memory_is_an_error_and_no_end():
    """Nothing more can be mapped, so that the configuration cannot be read."""
    with Stayd() as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"k", b"v")
        limits = resource.prlimit(stayd.pid, resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))
        assert "no memory" in reload(stayd)
        assert connection.get(b"k") == b"v"
        resource.prlimit(stayd.pid, resource.RLIMIT_AS, limits)
        assert "is valid; 0 changes in it" in reload(stayd)


def test_systemd_is_told_of_a_reload(tmp_path):
    name = str(tmp_path / "notify")
    with Notified(name) as notified, Stayd(environment={"NOTIFY_SOCKET": name}) as stayd:
        notified.wait_for("READY")
        stayd.process.send_signal(signal.SIGHUP)
        reloading = notified.wait_for("RELOADING")
        assert reloading["RELOADING"] == "1"
        assert int(reloading["MONOTONIC_USEC"]) > 0
        assert notified.wait_for("READY")["READY"] == "1"
        assert stayd.terminate() == 0
