"""The admin server: metrics, health and the dashboard, over HTTP."""

import contextlib
import http.client
import json
import re
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from support import certificates
from support.promtool import promtool
from support.servers import Stayd, wait_until

SMALL = {"memory": "16M", "evict": "no"}


@pytest.fixture(scope="module")
def stayd():
    with Stayd(sessions=SMALL) as server:
        yield server


def fetch(stayd, path, method="GET", data=None):
    """The status, the headers and the text of a reply."""
    request = urllib.request.Request(stayd.admin_url() + path, method=method, data=data)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def metrics(stayd):
    """The samples by name with labels. Checks the format line by line first."""
    _, headers, text = fetch(stayd, "/metrics")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples, helped, typed = {}, set(), {}
    for line in text.splitlines():
        if match := re.fullmatch(r"# HELP (\w+) \S.*", line):
            assert match[1] not in helped
            helped.add(match[1])
        elif match := re.fullmatch(r"# TYPE (\w+) (counter|gauge|histogram)", line):
            assert match[1] in helped and match[1] not in typed
            typed[match[1]] = match[2]
        elif typed.get("stayd_pool_command_seconds") and "command=" in line:
            match = re.fullmatch(
                r'(stayd_pool_command_seconds_(?:bucket|sum|count)\{pool="\w+",command="\w+"'
                r'(?:,le="[0-9.e+-]+"|,le="\+Inf")?\}) ([0-9.]+)', line)
            assert match, line
            assert match[1] not in samples
            samples[match[1]] = float(match[2])
        else:
            match = re.fullmatch(
                r'((\w+)(?:\{(?:pool|version)="[\w.-]+"\})?) ([0-9.e+-]+|\+Inf)', line
            )
            assert match, line
            assert typed[match[2]] == ("counter" if match[2].endswith("_total") else "gauge")
            assert match[1] not in samples
            samples[match[1]] = float(match[3])
    return samples


def test_tls_is_in_the_metrics_of_those_who_have_it(stayd, tmp_path):
    assert not any(name.startswith("stayd_tls_") for name in metrics(stayd))
    made = certificates.make(tmp_path)
    with Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"]}) as server:
        with server.connect("cache") as plain:
            plain.send(b"mn\r\n")
            plain.expect_closed()
        wait_until(lambda: metrics(server)["stayd_tls_handshake_errors_total"] == 1)
        assert metrics(server)["stayd_tls_new_sessions_total"] == 0
        assert metrics(server)["stayd_tls_certificates_loaded_seconds"] > 1e9


def test_metrics_are_what_has_happened(stayd):
    connection = stayd.connect("cache")
    before = metrics(stayd)
    connection.set(b"k", b"v")
    assert connection.get(b"k") == b"v"
    assert connection.get(b"none") is None
    for name in ("stayd_read_bytes_total", "stayd_written_bytes_total"):
        wait_until(lambda name=name: metrics(stayd)[name] > before[name])
    after = metrics(stayd)

    def grown(name):
        return after[name] - before[name]

    assert grown('stayd_pool_sets_total{pool="cache"}') == 1
    assert grown('stayd_pool_gets_total{pool="cache"}') == 2
    assert grown('stayd_pool_get_hits_total{pool="cache"}') == 1
    assert grown('stayd_pool_get_misses_total{pool="cache"}') == 1
    assert grown('stayd_pool_items{pool="cache"}') == 1
    assert grown('stayd_pool_sets_total{pool="sessions"}') == 0
    assert after["stayd_connections"] >= 1
    assert after["stayd_connections_max"] == 4096
    connection.ask(b"delete k\r\n", b"DELETED\r\n")


def test_every_pool_has_every_metric(stayd):
    names = {}
    for sample in metrics(stayd):
        if match := re.fullmatch(r'(stayd_pool_\w+)\{pool="(\w+)"\}', sample):
            names.setdefault(match[2], set()).add(match[1])
    assert set(names) == {"cache", "sessions"}
    assert names["cache"] == names["sessions"] and len(names["cache"]) > 30


def test_health_is_ok_when_all_is_well(stayd):
    status, _, text = fetch(stayd, "/healthz")
    assert (status, text) == (200, "ok\n")


def test_a_full_pool_is_shown_loudly_until_there_is_room_again():
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        number = 0
        while connection.set(b"k%d" % number, b"v" * 100_000) == b"STORED":
            number += 1
        wait_until(lambda: fetch(stayd, "/healthz")[0] == 503, what="the health check to fail")
        assert "pool sessions is full" in fetch(stayd, "/healthz")[2]
        assert metrics(stayd)['stayd_pool_full{pool="sessions"}'] == 1
        assert metrics(stayd)['stayd_pool_full{pool="cache"}'] == 0
        assert metrics(stayd)['stayd_pool_store_no_memory_total{pool="sessions"}'] >= 1
        pool = stats(stayd)["pools"][1]
        assert pool["state"] == "FULL"
        assert [(each["name"], each["level"]) for each in pool["warnings"]] == [("full", "fault")]
        assert fetch(stayd, "/healthz/live")[:1] == (200,)
        connection.ask(b"flush_all\r\n", b"OK\r\n")
        wait_until(lambda: fetch(stayd, "/healthz")[0] == 200, what="the health check to pass")
        assert stats(stayd)["pools"][1]["state"] == "ok"


def stats(stayd):
    """What /api/v1/stats says."""
    status, headers, text = fetch(stayd, "/api/v1/stats")
    assert status == 200 and headers["Content-Type"] == "application/json"
    return json.loads(text)


def history(stayd, query=""):
    """What /api/v1/history says."""
    status, headers, text = fetch(stayd, "/api/v1/history" + query)
    assert status == 200 and headers["Content-Type"] == "application/json"
    return json.loads(text)


def test_promtool_finds_no_fault_in_the_metrics(stayd):
    text = fetch(stayd, "/metrics")[2]
    done = subprocess.run([promtool(), "check", "metrics"], input=text, text=True,
                          capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_stats_as_json_are_those_of_the_metrics(stayd):
    with stayd.connect("sessions") as connection:
        connection.set(b"api", b"v", expiry=90 * 60)
        assert connection.get(b"api") == b"v"
        said, measured = stats(stayd), metrics(stayd)
        assert [pool["name"] for pool in said["pools"]] == ["cache", "sessions"]
        pool = said["pools"][1]
        assert (pool["persist"], pool["evict"], pool["fsync"]) == (True, False, "everysec")
        assert pool["connections"] == measured['stayd_pool_connections{pool="sessions"}'] >= 1
        for name, value in pool["counters"].items():
            assert measured[f'stayd_pool_{name}{{pool="sessions"}}'] == value, name
        assert pool["items"] == measured['stayd_pool_items{pool="sessions"}'] >= 1
        assert 0 < pool["pressure"] < 0.1 and 0 < pool["hit_ratio"] <= 1
        expiry = pool["expiry"]
        assert expiry["within_hours"][1] == 1 and sum(expiry["within_hours"]) == 1
        connection.ask(b"delete api\r\n", b"DELETED\r\n")


def test_the_history_grows_and_rates_are_per_second():
    with Stayd(sessions=SMALL) as stayd:
        first = wait_until(lambda: history(stayd)["pools"][1]["time"])
        connection = stayd.connect("sessions")
        for number in range(100):
            connection.set(b"k%d" % number, b"v")
        said = wait_until(lambda: (answer := history(stayd))["pools"][1]["time"][1:] and answer,
                          timeout=30, what="a second sample")
        assert (said["span"], said["step_s"]) == ("hour", 10)
        pool = said["pools"][1]
        columns = {len(column) for column in pool.values() if isinstance(column, list)}
        assert columns == {2} and len(pool) > 15
        elapsed = pool["time"][1] - pool["time"][0]
        assert 9 <= elapsed <= 30
        assert pool["stores"][0] is None
        assert 100 / (elapsed + 1.5) < pool["stores"][1] < 100 / (elapsed - 1.5)
        assert pool["items"] == [0, 100]
        assert said["pools"][0]["stores"][1] == 0
        later = history(stayd, f"?since={first[0]}")["pools"][1]
        assert later["time"] == pool["time"][1:] and later["items"] == [100]
        assert history(stayd, "?span=day")["pools"][1]["time"] == first
        for query in ("?span=year", "?since=x", "?since=-1", "?since=99999999999"):
            assert fetch(stayd, "/api/v1/history" + query)[0] == 400


def test_the_address_takes_reading_and_nothing_else(stayd):
    assert fetch(stayd, "/nothing")[0] == 404
    for method in ("POST", "PUT", "DELETE"):
        status, headers, _ = fetch(stayd, "/metrics", method=method, data=b"x" * 100_000)
        assert status == 405
        assert headers["Allow"] == "GET, HEAD"
    status, _, text = fetch(stayd, "/metrics", method="HEAD")
    assert (status, text) == (200, "")


def test_one_connection_serves_many_requests(stayd):
    host, port = stayd.admin_url()[7:].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.connect()
    used = connection.sock
    for _ in range(3):
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
        assert connection.sock is used
    connection.close()


def test_who_says_nothing_or_nonsense_keeps_nobody_else_waiting(stayd):
    host, port = stayd.admin_url()[7:].split(":")
    silent = [socket.create_connection((host, int(port)), 10) for _ in range(10)]
    with socket.create_connection((host, int(port)), 10) as garbage:
        garbage.sendall(bytes(range(256)) * 100)
    assert fetch(stayd, "/healthz")[0] == 200
    stayd.connect("cache").expect_in_step()
    for connection in silent:
        connection.close()


def test_half_requests_keep_no_health_check_out(stayd):
    host, port = stayd.admin_url()[7:].split(":")
    halves = []
    for _ in range(60):
        halves.append(socket.create_connection((host, int(port)), 10))
        halves[-1].sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
    for _ in range(3):
        for half in halves:
            with contextlib.suppress(OSError):  # the server has closed the oldest connections
                half.sendall(b"X-More: 1\r\n")
        assert fetch(stayd, "/healthz")[0] == 200
    for half in halves:
        half.close()


@pytest.mark.parametrize("request_bytes", [
    b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n", b"GET " + b"/x" * 50_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
    b"GET /api/v1/history?since=" + b"9" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /%ff/../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /dygraph.js%2e HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", b"\x16\x03\x01" + bytes(500),
])
def test_malformed_and_huge_requests_are_refused_and_nothing_else(stayd, request_bytes):
    host, port = stayd.admin_url()[7:].split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(request_bytes)
            connection.shutdown(socket.SHUT_WR)
        reply = b""
        with contextlib.suppress(OSError):
            while piece := connection.recv(1 << 16):
                reply += piece
    assert not reply or re.match(rb"HTTP/1\.\d (4|5)\d\d ", reply), reply[:100]
    assert b"root:" not in reply
    assert fetch(stayd, "/healthz")[0] == 200


def ask_as(stayd, host):
    """The status of /metrics for a client that uses this host name; None: no host name."""
    address, port = stayd.admin_url()[7:].split(":")
    connection = http.client.HTTPConnection(address, int(port), timeout=10)
    connection.putrequest("GET", "/metrics", skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    reply = connection.getresponse()
    reply.read()
    connection.close()
    return reply.status


def test_a_browser_that_was_led_here_under_another_name_reads_nothing(stayd):
    port = stayd.admin_url().rsplit(":", 1)[1]
    own = [f"127.0.0.1:{port}", "127.0.0.1", "[::1]", f"[::1]:{port}", "LOCALHOST", "localhost.",
           socket.gethostname(), f"192.0.2.7:{port}"]
    for name in own:
        assert ask_as(stayd, name) == 200, name
    for name in ["attacker.example", f"attacker.example:{port}", "localhost.attacker.example",
                 "127.0.0.1.attacker.example", "[::1", "[::1]x", ":80", "x" * 2000]:
        assert ask_as(stayd, name) == 421, name
    assert ask_as(stayd, "") in (400, 421)


def test_names_of_a_proxy_are_allowed_where_they_are_named():
    with Stayd(server={"admin_hosts": "stayd.example, other.example"}) as stayd:
        assert ask_as(stayd, "stayd.example") == 200
        assert ask_as(stayd, "Other.Example:443") == 200
        assert ask_as(stayd, "third.example") == 421


def test_every_reply_forbids_frames_and_foreign_scripts(stayd):
    for path in ("/", "/metrics", "/healthz", "/nothing", "/dashboard.js", "/dygraph.js",
                 "/api/v1/stats"):
        _, headers, _ = fetch(stayd, path)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "script-src 'self';" in policy and "unsafe" not in policy
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
    assert "<script>" not in fetch(stayd, "/")[2]


def test_without_an_admin_address_there_is_none():
    with Stayd(server={"admin": "no"}) as stayd:
        assert "admin" not in stayd.log
        stayd.connect("cache").expect_in_step()
