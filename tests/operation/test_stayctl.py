"""stayctl, as an operator types it."""

import re
import socket

import pytest

from support import certificates
from support.servers import Memcached, Stayd, free_port, wait_until
from support.stayctl import run


def stayctl(*arguments):
    """Runs it to its end; what it says is text."""
    return run(*arguments, text=True)


@pytest.fixture(scope="module")
def server():
    with Stayd(sessions={"memory": "16M"}) as stayd:
        yield stayd


@pytest.fixture
def stayd(server):
    for pool in server.pool_names():
        connection = server.connect(pool)
        connection.ask(b"flush_all\r\n", b"OK\r\n")
        wait_until(lambda: connection.stats()["curr_items"] == "0")
    return server


def test_status_has_a_line_for_each_pool(stayd):
    stayd.connect("sessions").set(b"k", b"v")
    done = stayctl("-c", stayd.config_path, "status")
    assert (done.returncode, done.stderr) == (0, "")
    head, cache, sessions = [re.split(r" {2,}", line) for line in done.stdout.splitlines()]
    assert head[:3] == ["POOL", "STATE", "ITEMS"]
    assert cache[:3] == ["cache", "ok", "0"]
    assert sessions[:3] == ["sessions", "ok", "1"]
    assert stayd.socket("sessions") in sessions[-1]


def test_a_pool_with_tls_is_reached_over_its_unix_socket_or_not_at_all(tmp_path):
    made = certificates.make(tmp_path)
    tls = {"tls_cert": made["server.pem"], "tls_key": made["server.key"]}
    with Stayd(cache=tls, sessions={**tls, "listen": f"127.0.0.1:{free_port()}"}) as stayd:
        done = stayctl("-c", stayd.config_path, "ping", "cache")
        assert (done.returncode, done.stderr) == (0, "")
        done = stayctl("-c", stayd.config_path, "ping", "sessions")
        assert done.returncode != 0
        assert "only with TLS" in done.stderr and "unix:sessions.sock" in done.stderr
        assert "takes TLS" not in stayd.log, "it tried in the clear"


def test_status_says_that_a_pool_is_full_and_fails():
    with Stayd(sessions={"memory": "16M"}) as stayd:
        connection = stayd.connect("sessions")
        number = 0
        while connection.set(b"k%d" % number, b"v" * 100_000) == b"STORED":
            number += 1
        done = stayctl("-c", stayd.config_path, "status")
        assert done.returncode == 1
        assert re.search(r"^sessions +FULL", done.stdout, re.MULTILINE)
        assert re.search(r"^cache +ok", done.stdout, re.MULTILINE)


def test_a_daemon_that_is_down_is_shown_and_fails():
    with Stayd() as stayd:
        stayd.terminate()
        done = stayctl("-c", stayd.config_path, "status")
        assert done.returncode == 1
        assert done.stdout.count("DOWN") == 2
        assert "Connection refused" in done.stderr
        assert done.stderr.count("is stayd running?") == 1
        for command in (["ping"], ["version"], ["stats", "cache"], ["flush", "cache"]):
            done = stayctl("-c", stayd.config_path, *command)
            assert done.returncode == 1
            assert "Connection refused" in done.stderr
            assert done.stderr.count("is stayd running?") == 1


def test_a_daemon_with_all_its_connections_taken_is_said_to_be_that():
    """Also when it has hung up before the request was sent."""
    with Stayd(server={"max_connections": 1}) as stayd, stayd.connect("cache") as taken:
        taken.expect_in_step()
        for _ in range(10):
            done = stayctl("-c", stayd.config_path, "version", "cache")
            assert done.returncode == 1
            assert "has as many connections as it may have" in done.stderr


def test_a_pool_is_reached_over_tcp_when_its_socket_is_not_there(tmp_path, stayd):
    other = tmp_path / "other.conf"
    other.write_text(stayd.config.replace("unix:cache", "unix:nowhere"))
    done = stayctl("-c", other, "ping", "cache")
    assert (done.returncode, done.stderr) == (0, "")


def test_stats_are_those_of_the_pool_and_of_a_group(stayd):
    done = stayctl("-c", stayd.config_path, "stats", "sessions")
    assert done.returncode == 0
    stats = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert stats["pool"] == "sessions"
    assert stats["curr_items"] == "0"
    done = stayctl("-c", stayd.config_path, "stats", "sessions", "settings")
    assert re.search(r"^persist +yes$", done.stdout, re.MULTILINE)
    done = stayctl("-c", stayd.config_path, "stats", "sessions", "nonsense")
    assert done.returncode == 1
    assert "ERROR" in done.stderr


def test_a_flush_empties_the_pool_and_no_other(stayd):
    cache, sessions = stayd.connect("cache"), stayd.connect("sessions")
    cache.set(b"k", b"v")
    sessions.set(b"k", b"v")
    done = stayctl("-c", stayd.config_path, "flush", "cache")
    assert (done.returncode, done.stderr) == (0, "")
    assert "it had 1 items" in done.stdout
    assert cache.get(b"k") is None
    assert sessions.get(b"k") == b"v"


def test_sessions_are_flushed_only_by_who_means_it(stayd):
    sessions = stayd.connect("sessions")
    sessions.set(b"k", b"v")
    for how in (["-c", stayd.config_path, "flush", "sessions"],
                ["-s", stayd.unix_url("sessions"), "flush"]):
        done = stayctl(*how)
        assert done.returncode == 2
        assert "--yes" in done.stderr and "logs out" in done.stderr
        assert sessions.get(b"k") == b"v"
    assert stayctl("-c", stayd.config_path, "flush", "sessions", "--yes").returncode == 0
    assert sessions.get(b"k") is None


def test_one_pool_can_be_named_by_its_address():
    with Stayd() as stayd:  # in which nothing waits to be freed, so that the count is exact
        stayd.connect("sessions").set(b"k", b"v")
        for url in (stayd.url("sessions"), stayd.unix_url("sessions"), stayd.address("sessions"),
                    "unix:" + stayd.socket("sessions")):
            done = stayctl("-s", url, "status")
            assert (done.returncode, done.stderr) == (0, "")
            assert re.search(r"^sessions +ok +1 ", done.stdout, re.MULTILINE)
            assert re.search(r"answers in \d+ us", stayctl("-s", url, "ping").stdout)
            said = stayctl("-s", url, "version").stdout
            assert re.search(r" stayd \d+\.\d+\S* \(to clients: memcached 1\.6\.18\)$", said)


def test_a_memcached_is_understood_too():
    with Memcached() as memcached:
        memcached.connect().set(b"k", b"v")
        done = stayctl("-s", memcached.url(), "status")
        assert done.returncode == 0
        assert " ok " in done.stdout
        assert stayctl("-s", memcached.url(), "flush").returncode == 0
        assert memcached.connect().get(b"k") is None


@pytest.mark.parametrize("arguments, said", [
    ([], "Usage"),
    (["nonsense"], "no such command"),
    (["flush"], "name a pool"),
    (["flush", "nowhere"], "there are cache, sessions"),
    (["status", "cache"], "no argument"),
    (["ping", "cache", "more"], "more"),
    (["--bogus", "status"], "--help"),
    (["-c", "/nonexistent", "status"], "No such file"),
    (["-c", "x", "-s", "y", "status"], "one of them"),
])
def test_a_wrong_command_line_says_so_and_exits_with_2(arguments, said):
    done = stayctl(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("url", ["nonsense", "http://localhost:1/", "memcached://localhost/",
                                 "memcached://localhost:1/0", "unix:///nonexistent/x.sock"])
def test_an_address_that_is_none_is_an_error(url):
    done = stayctl("-s", url, "ping")
    assert done.returncode == 1
    assert url in done.stderr


def test_a_server_that_never_answers_is_given_up():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", free_port()))
        listening.listen()
        done = stayctl("-s", "%s:%d" % listening.getsockname(), "ping")
        assert done.returncode == 1
        assert "timed out" in done.stderr


def test_help_and_version_go_to_the_standard_output():
    for option in ("--help", "-h", "--version", "-V"):
        done = stayctl(option)
        assert (done.returncode, done.stderr) == (0, "")
        assert "stayctl" in done.stdout


@pytest.fixture
def guarded():
    """A daemon whose sessions pool asks for a login."""
    server = Stayd(sessions={"auth_file": "{dir}/users", "memory": "16M"})
    users = server.directory / "users"
    users.touch(0o600)
    users.write_text("ops:se cret\n")
    with server:
        yield server


def test_stayctl_logs_in_to_the_pools_that_ask_for_it(guarded, monkeypatch):
    monkeypatch.setenv("STAYD_PASSWORD", "se cret")
    done = stayctl("-c", guarded.config_path, "-u", "ops", "status")
    assert (done.returncode, done.stderr) == (0, "")
    for server in ("-c", guarded.config_path), ("-s", guarded.unix_url("sessions")):
        pool = ["sessions"] if server[0] == "-c" else []
        assert stayctl(*server, "--user=ops", "ping", *pool).returncode == 0
    # the pool that asks nobody was sent no password
    assert guarded.connect("cache").stats()["cmd_set"] == "0"


def test_stayctl_says_that_a_login_is_asked_for_or_wrong(guarded, monkeypatch):
    done = stayctl("-c", guarded.config_path, "stats", "sessions")
    assert done.returncode == 1 and "requires a user and a password" in done.stderr
    done = stayctl("-c", guarded.config_path, "-u", "ops", "status")
    assert done.returncode == 2 and "STAYD_PASSWORD" in done.stderr
    monkeypatch.setenv("STAYD_PASSWORD", "wrong")
    done = stayctl("-c", guarded.config_path, "-u", "ops", "status")
    assert done.returncode == 1 and "authentication failure" in done.stderr
    assert "wrong" not in done.stdout + done.stderr and "is stayd running" not in done.stderr


def test_a_pool_that_asks_for_a_login_is_not_restored_over_while_it_is_served(guarded, tmp_path,
                                                                              monkeypatch):
    monkeypatch.setenv("STAYD_PASSWORD", "se cret")
    copy = tmp_path / "copy.pool"
    done = stayctl("-c", guarded.config_path, "-u", "ops", "backup", "sessions", copy)
    assert done.returncode == 0, done.stderr
    done = stayctl("-c", guarded.config_path, "restore", copy, "sessions", "--yes")
    assert done.returncode != 0 and "Stop stayd first" in done.stderr
