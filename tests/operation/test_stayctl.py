"""stayctl, as an operator types it."""

import base64
import contextlib
import json
import os
import pty
import re
import select
import socket
import subprocess
import threading

import pytest

from support import certificates
from support.servers import Memcached, Stayd, free_port, stayd_binary, wait_until
from support.stayctl import STAYCTL, run


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
    about, empty, head, cache, sessions = done.stdout.splitlines()
    assert re.match(r"stayd \S+, up .*, \d+ of 4096 connections$", about) and not empty
    assert head.split()[:3] == ["POOL", "STATE", "ITEMS"]
    assert cache.split()[:3] == ["cache", "ok", "0"]
    assert sessions.split()[:3] == ["sessions", "ok", "1"]
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_status_as_json_has_the_same_and_more(stayd):
    stayd.connect("sessions").set(b"k", b"v")
    done = stayctl("-c", stayd.config_path, "status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    status = json.loads(done.stdout)
    cache, sessions = status["pools"]
    assert (cache["name"], cache["state"], cache["well"]) == ("cache", "ok", True)
    assert (sessions["items"], sessions["warnings"], sessions["pressure"] > 0) == (1, [], True)
    assert sessions["address"] == "unix:" + stayd.socket("sessions")
    assert status["connections_max"] == 4096


def test_a_pool_with_tls_is_reached_over_its_unix_socket_or_not_at_all(tmp_path):
    made = certificates.make(tmp_path)
    tls = {"tls_cert": made["server.pem"], "tls_key": made["server.key"]}
    with Stayd(cache=tls, sessions={**tls, "listen": f"127.0.0.1:{free_port()}"}) as stayd:
        done = stayctl("-c", stayd.config_path, "ping", "cache")
        assert (done.returncode, done.stderr) == (0, "")
        done = stayctl("-c", stayd.config_path, "ping", "sessions")
        assert done.returncode != 0
        assert "only with TLS" in done.stderr and "unix:sessions.sock" in done.stderr
        assert "requires TLS" not in stayd.log, "it tried in the clear"


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
        assert "FAULT: pool sessions is full: new keys are refused" in done.stdout
        assert "Raise its memory" in done.stdout
        warnings = json.loads(stayctl("-c", stayd.config_path, "-j", "status").stdout)["pools"][1]
        assert [each["name"] for each in warnings["warnings"]] == ["full"]


def test_status_warns_before_a_pool_is_full():
    with Stayd(sessions={"memory": "16M"}) as stayd:
        connection = stayd.connect("sessions")
        stats, number = connection.stats(), 0
        while int(stats["needed_bytes"]) < 0.92 * int(stats["needed_limit_bytes"]):
            assert connection.set(b"k%d" % number, b"v" * 40_000) == b"STORED"
            stats, number = connection.stats(), number + 1
        done = stayctl("-c", stayd.config_path, "status")
        assert done.returncode == 0, "it serves all requests"
        assert re.search(r"^sessions +warning", done.stdout, re.MULTILINE)
        assert re.search(r"warning: pool sessions (is nearly full: 9\d %|will be full in)",
                         done.stdout)


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
    """stayctl says so even if the daemon has hung up before stayctl sent its request."""
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


def at_a_terminal(arguments, typed=b""):
    """Runs stayctl on its own terminal; returns its exit status and all of its output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(STAYCTL, [str(STAYCTL), *map(str, arguments)])
    shown = b""
    if typed:
        poll = select.poll()
        poll.register(terminal, select.POLLIN)
        wait_until(lambda: poll.poll(100), what="a question")
        os.write(terminal, typed)
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other end has closed
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_at_a_terminal_a_flush_of_sessions_wants_the_name_typed(stayd):
    sessions = stayd.connect("sessions")
    sessions.set(b"k", b"v")
    for typed in (b"yes\n", b"\n", b"cache\n"):
        code, shown = at_a_terminal(["-c", stayd.config_path, "flush", "sessions"], typed)
        assert code == 2 and "Type the pool's name" in shown and "nothing was deleted" in shown
        assert sessions.get(b"k") == b"v"
    code, shown = at_a_terminal(["-c", stayd.config_path, "flush", "sessions"], b"sessions\n")
    assert code == 0, shown
    assert sessions.get(b"k") is None


def test_get_prints_the_bytes_and_delete_deletes(stayd):
    value = "grüße\n\033[31m".encode() + b"\0\xff"
    stayd.connect("cache").set(b"k", value, flags=7)
    how = ["-c", stayd.config_path]
    done = run(*how, "get", "cache", "k")
    assert (done.returncode, done.stdout) == (0, value)
    got = json.loads(stayctl(*how, "-j", "get", "cache", "k").stdout)
    assert base64.b64decode(got["value_base64"]) == value
    assert (got["key"], got["flags"], got["size"]) == ("k", 7, len(value))
    code, shown = at_a_terminal([*how, "get", "cache", "k"])
    assert code == 0 and "\033" not in shown and "\\x1b[31m" in shown
    assert stayctl(*how, "delete", "cache", "k").returncode == 0
    for command in "get", "delete":
        done = stayctl(*how, command, "cache", "k")
        assert (done.returncode, done.stdout) == (3, "") and "no such item" in done.stderr
    done = stayctl(*how, "get", "cache", "a key")
    assert done.returncode == 2 and "without spaces" in done.stderr
    assert stayctl("-s", stayd.unix_url("cache"), "get", "k").returncode == 3


def test_json_is_printed_by_each_command(stayd, tmp_path):
    how = ["-j", "-c", stayd.config_path]
    assert json.loads(stayctl(*how, "stats", "sessions").stdout)["pool"] == "sessions"
    for line in stayctl(*how, "ping").stdout.splitlines():
        assert json.loads(line)["reply_us"] > 0
    assert json.loads(stayctl(*how, "version", "cache").stdout)["memcached"] == "1.6.45"
    stayd.connect("cache").set(b"k", b"v")
    assert json.loads(stayctl(*how, "delete", "cache", "k").stdout) == {"deleted": "k"}
    assert json.loads(stayctl(*how, "flush", "cache").stdout)["pool"] == "cache"
    copy = tmp_path / "copy.pool"
    made = json.loads(stayctl(*how, "backup", "sessions", copy).stdout)
    assert made == {"pool": "sessions", "file": str(copy)}
    checked = json.loads(stayctl("-j", "check", copy).stdout)
    assert (checked["ok"], checked["faults"], checked["live_items"]) == (True, [], 0)
    assert stayctl("-j", "dump", copy).stdout == ""


def test_reload_is_a_signal_to_the_daemon(stayd):
    before = stayd.log.count("SIGHUP")
    done = stayctl("-c", stayd.config_path, "reload")
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: stayd.log.count("SIGHUP") == before + 1)
    pid = json.loads(stayctl("-j", "-s", stayd.unix_url("cache"), "reload").stdout)["pid"]
    assert pid == stayd.pid
    with Memcached() as memcached:
        done = stayctl("-s", memcached.url(), "reload")
        assert done.returncode == 1 and "not stayd" in done.stderr


def test_reload_finds_a_daemon_that_was_started_through_a_link_of_another_name(tmp_path):
    link = tmp_path / "memcached"
    link.symlink_to(stayd_binary())
    with Stayd(binary=str(link)) as stayd:
        done = stayctl("-c", stayd.config_path, "reload")
        assert (done.returncode, done.stderr) == (0, "")
        wait_until(lambda: "SIGHUP" in stayd.log)


def test_one_pool_can_be_named_by_its_address():
    with Stayd() as stayd:  # a pool in which nothing waits to be freed, so that the count is exact
        stayd.connect("sessions").set(b"k", b"v")
        for url in (stayd.url("sessions"), stayd.unix_url("sessions"), stayd.address("sessions"),
                    "unix:" + stayd.socket("sessions")):
            done = stayctl("-s", url, "status")
            assert (done.returncode, done.stderr) == (0, "")
            assert re.search(r"^sessions +ok +1 ", done.stdout, re.MULTILINE)
            assert re.search(r"answers in \d+ us", stayctl("-s", url, "ping").stdout)
            said = stayctl("-s", url, "version").stdout
            assert re.search(r" stayd \d+\.\d+\S* \(to clients: memcached 1\.6\.45\)$", said)


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
        listening.bind(("127.0.0.1", 0))
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
    # stayctl sent no password to the pool that needs no login
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


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail.example ESMTP\r\n", b"\0\xff\x81" * 100,
    b"STAT pool\r\n", b"STAT a b\r\n" * 10_000, b"x" * 100_000,
])
def test_a_foreign_server_is_an_error_and_not_believed(answer):
    """Each command ends with a message, whatever the server sends."""
    def serve(listening):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        server = "%s:%d" % listening.getsockname()
        for command in ("status", "ping", "sessions", "latency", "reload", "flush"):
            done = stayctl("-s", server, command)
            assert done.returncode == 1, (command, done.stdout)
            assert done.stderr.startswith("stayctl: pool "), (command, done.stderr)
        listening.shutdown(socket.SHUT_RDWR)


def test_a_full_output_is_an_error(stayd):
    stayd.connect("cache").set(b"k", b"v")
    with open("/dev/full", "w") as full:
        for command in (["-j", "status"], ["-j", "stats", "cache"], ["get", "cache", "k"]):
            done = subprocess.run([STAYCTL, "-c", stayd.config_path, *command], stdout=full,
                                  stderr=subprocess.PIPE, timeout=60)
            assert done.returncode == 1, command
