"""Who may read the admin server: its login, its TLS, and what is wrong with their files."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import select
import shutil
import socket
import ssl
import subprocess
import urllib.request
import warnings

import pytest

from support import certificates
from support.guarded import Guarded, basic, check
from support.hashes import hashed
from support.promtool import promtool
from support.servers import ROOT, Raw, free_port, stayd_binary, wait_until

BURST = 20  # LOGIN_LIMIT_BURST
WAITING = 12  # LOGINS_WAITING_MAX
CLIENTS_KEPT = 24  # of clients.h
BODY_MAX = 512 << 10  # CLIENTS_BODY_MAX
PATHS = ("/", "/metrics", "/api/v1/stats", "/api/v1/history", "/dashboard.js", "/nothing")


def is_readable(sock):
    """Whether there is something to read. Not by select(), which takes no descriptor above 1023."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


@pytest.fixture(scope="module")
def guarded():
    with Guarded(f"web:secret\nann:s3:crét\nbob:{hashed('hashed', 1000)}\n") as server:
        yield server


@pytest.fixture(scope="module")
def stayd_of_everybody():
    with Guarded(server={"admin_auth_file": None}) as server:
        yield server


@pytest.fixture(scope="module")
def secure(made):
    with Guarded(made=made) as server:
        yield server


def test_every_page_wants_a_login_and_names_no_figure_before(guarded):
    for path in PATHS:
        status, headers, text = guarded.ask(path)
        assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="stayd", charset="UTF-8"'), path
        assert text == "Log in with a user and a password of admin_auth_file.\n"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert guarded.ask(path, "web", "wrong")[0] == 401
        assert guarded.ask(path, "web")[0] == (404 if path == "/nothing" else 200)


def test_plain_and_hashed_passwords_are_taken_on_one_connection(guarded):
    for user, password in (("ann", "s3:crét"), ("bob", "hashed"), ("bob", "hashed")):
        assert guarded.ask("/api/v1/stats", user, password)[0] == 200
    with contextlib.closing(guarded.open()) as connection:
        connection.connect()
        used = connection.sock
        for user, password, status in (("bob", "hashed", 200), ("bob", "x", 401), ("web", "secret", 200)):
            connection.request("GET", "/metrics", headers={"Authorization": basic(user, password)})
            reply = connection.getresponse()
            reply.read()
            assert (reply.status, connection.sock) == (status, used)


@pytest.mark.parametrize("given", [
    "Basic", "Basic ", "Basic !!!!", "Basic d2Vi", "Basic " + "A" * 8000, "Bearer abc", "Digest username=web",
    basic("", ""), basic("web", ""), basic("", "secret"), basic("web", "secret\0"), basic("web\0", "secret"),
    basic("web", "secret" * 200), basic("WEB", "secret"), basic("web", "SECRET"),
    "basic=" + basic("web", "secret"),
])
def test_what_is_no_login_lets_nobody_in(given):
    with Guarded() as server:
        assert server.ask(Authorization=given)[0] == 401
        assert server.ask("/healthz/live")[0] == 200


def test_the_name_of_the_scheme_may_be_written_as_one_likes(guarded):
    for scheme in ("basic", "BASIC", "Basic  "):
        assert guarded.ask(Authorization=basic("web", "secret").replace("Basic", scheme))[0] == 200


def test_a_health_check_needs_no_login_and_then_tells_no_fault():
    with Guarded(sessions={"memory": "16M", "evict": "no"}) as server:
        assert server.ask("/healthz")[::2] == (200, "ok\n")
        assert server.ask("/healthz/live")[::2] == (200, "ok\n")
        assert server.ask("/healthz", "web", "wrong")[0] == 401  # who logs in must do it right
        connection = server.connect("sessions")
        number = 0
        while connection.set(b"k%d" % number, b"v" * 100_000) == b"STORED":
            number += 1
        wait_until(lambda: server.ask("/healthz")[0] == 503)
        assert server.ask("/healthz")[2] == "There are faults. Log in to read them.\n"
        assert "pool sessions is full" in server.ask("/healthz", "web")[2]


def test_an_address_that_guesses_is_no_longer_checked_and_others_are():
    with Guarded(f"web:secret\nbob:{hashed('hashed', 1000)}\n") as server:
        seen = [server.ask(user="web", password=f"wrong{i}", source="127.0.0.2") for i in range(BURST + 8)]
        statuses = [status for status, _, _ in seen]
        assert statuses[:BURST] == [401] * BURST and 429 in statuses[BURST:]
        _, headers, text = seen[statuses.index(429)]
        assert headers["Retry-After"] and text.startswith("Not checked, after too many wrong passwords")
        assert server.ask(user="web", source="127.0.0.2")[0] in (429, 200)  # a token may have come back
        assert server.ask(user="web")[0] == 200
        assert server.ask("/healthz", source="127.0.0.2")[0] == 200
        assert "admin: login of user web from 127.0.0.2 refused" in server.log
        assert "wrong" not in server.log and "secret" not in server.log


def test_a_name_that_is_not_in_the_file_is_not_logged(guarded):
    assert guarded.ask(user="Pa55word", password="x")[0] == 401
    wait_until(lambda: "admin: login of " in guarded.log)
    assert "Pa55word" not in guarded.log


def test_slow_hashes_keep_no_health_check_waiting_and_no_stop():
    with Guarded(f"bob:{hashed('slow', 150_000)}\nweb:secret\n") as server:
        waiting = []
        for i in range(16):
            connection = server.open(source=f"127.0.0.{2 + i % 2}")
            connection.request("GET", "/metrics", headers={"Authorization": basic("bob", f"x{i}")})
            waiting.append(connection)
        for _ in range(5):
            assert server.ask("/healthz/live")[0] == 200
            assert server.ask(user="web", source="127.0.0.9")[0] == 200
        assert [connection for connection in waiting if not is_readable(connection.sock)]
        replies = [connection.getresponse() for connection in waiting]
        assert {reply.status for reply in replies} == {401, 429}
        for reply in replies:
            reply.read()
        assert server.ask(user="bob", password="slow", source="127.0.0.10")[0] == 200
        for i, connection in enumerate(waiting):  # and now the daemon stops meanwhile
            connection.close()
            waiting[i] = server.open(source=f"127.0.1.{2 + i}")
            waiting[i].request("GET", "/metrics", headers={"Authorization": basic("bob", f"y{i}")})
        wait_until(lambda: server.ask("/healthz/live")[0] == 200)
        assert server.terminate() == 0
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_connections_that_wait_for_a_hash_leave_room_for_others(made, tls):
    """A connection that waits for a hash cannot be freed, even if newer connections have displaced it."""
    with Guarded(f"bob:{hashed('slow', 500_000)}\n", made=made if tls else None) as server, \
            contextlib.ExitStack() as opened:
        for i in range(WAITING):
            connection = opened.enter_context(contextlib.closing(server.open(source=f"127.0.3.{1 + i}")))
            connection.request("GET", "/metrics", headers={"Authorization": basic("bob", f"x{i}")})
        idle = [opened.enter_context(contextlib.closing(server.open())) for _ in range(28)]
        for connection in idle:
            connection.connect()
        assert server.ask("/healthz/live")[0] == 200
        # And not because hashes have ended, or idle connections.
        assert server.log.count("login of user bob") < WAITING // 3
        assert tls or not is_readable(idle[19].sock)


def test_a_client_that_leaves_while_its_password_is_checked_is_no_trouble():
    with Guarded(f"bob:{hashed('slow', 20_000)}\n") as server:
        for i in range(40):
            with contextlib.closing(server.open(source=f"127.0.2.{1 + i}")) as connection:
                connection.request("GET", "/metrics", headers={"Authorization": basic("bob", f"x{i}")})
                if i % 2:
                    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        wait_until(lambda: server.ask(user="bob", password="slow")[0] == 200, timeout=60)


def test_users_are_read_again_and_a_faulty_file_changes_nothing():
    with Guarded() as server:
        server.write("web:new\n")
        assert f"admin: admin_auth_file {server.users} has been read again" in server.reload()
        assert server.ask(user="web")[0] == 401
        assert server.ask(user="web", password="new")[0] == 200
        server.write("web:newer\nnonsense\n")
        said = server.reload()
        assert f"admin: admin_auth_file {server.users}:2: no colon" in said
        assert f"admin: admin_auth_file {server.users} has errors and is not used" in said
        assert server.ask(user="web", password="new")[0] == 200


def test_over_a_unix_socket_a_login_is_wanted_too():
    with Guarded(server={"admin": "unix:{dir}/admin.sock"}) as server:
        for given, status in ((basic("web", "secret"), b"200"), (basic("web", "x"), b"401"), ("", b"401")):
            with Raw(server.directory / "admin.sock") as connection:
                connection.send(f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                f"Authorization: {given}\r\n\r\n".encode())
                assert connection.read_exact(12) == b"HTTP/1.1 " + status
        wait_until(lambda: f"admin: login of user web from uid {os.geteuid()} refused" in server.log)


def curl(*words, status=0):
    program = shutil.which("curl")
    if program is None:
        pytest.skip("there is no curl")
    done = subprocess.run([program, "-sS", "--max-time", "30", *map(str, words)], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_curl_reads_with_the_ca_and_the_login_and_not_without(secure, made):
    https = "https://%s:%d/" % secure.where()
    assert curl("--cacert", made["ca.pem"], "-f", "-u", "web:secret", https + "healthz") == "ok\n"
    assert "stayd_connections " in curl("--cacert", made["ca.pem"], "-u", "web:secret", https + "metrics")
    assert "401" in curl("--cacert", made["ca.pem"], "-f", https + "metrics", status=22)
    assert "certificate" in curl("--cacert", made["other-ca.pem"], https + "healthz", status=60)
    assert re.search("admin: https://127.0.0.1:.*/, with a login", secure.log)


def test_a_client_without_tls_is_told_so(made):
    with Guarded(made=made) as server:
        plain = curl("-i", "http://%s:%d/healthz" % server.where())
        assert plain.startswith("HTTP/1.1 400 ") and plain.endswith("takes https://, and not http://.\n")
        wait_until(lambda: "which requires TLS: the client speaks plain text; use https://" in server.log)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_tls_carry_small_and_large_replies_and_bodies(secure, made, version):
    context = certificates.context(made, version=version)
    with contextlib.closing(http.client.HTTPSConnection(*secure.where(), context=context, timeout=30)) as one:
        one.connect()
        used = one.sock
        for method, path, status in (("GET", "/healthz", 200), ("GET", "/metrics", 200), ("HEAD", "/", 200),
                                     ("POST", "/metrics", 405), ("GET", "/dygraph.js", 200)):
            body = os.urandom(300_000) if method == "POST" else None
            one.request(method, path, body=body, headers={"Authorization": basic("web", "secret")})
            reply = one.getresponse()
            text = reply.read()
            assert (reply.status, one.sock) == (status, used)
            assert method == "HEAD" or len(text) == int(reply.headers["Content-Length"])
        assert len(text) > 100_000


def test_older_versions_of_tls_are_refused(secure, made):
    context = certificates.context(made)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        certificates.TlsRaw(secure.where(), context)


def test_guesses_over_tls_count_for_the_address_of_the_client(made):
    with Guarded(made=made) as server:
        statuses = [server.ask(user="web", password=f"x{i}", source="127.0.0.2")[0] for i in range(BURST + 8)]
        assert 429 in statuses
        assert server.ask(user="web")[0] == 200
        assert "admin: login of user web from 127.0.0.2 refused" in server.log


def test_handshakes_and_requests_that_never_end_keep_no_health_check_out(secure, made):
    context = certificates.context(made)
    silent = [socket.create_connection(secure.where(), 10) for _ in range(20)]
    for connection in silent[::2]:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # the begin of a ClientHello
    assert secure.ask("/healthz")[0] == 200
    halves = [certificates.TlsRaw(secure.where(), context) for _ in range(40)]
    for half in halves:
        with contextlib.suppress(OSError):
            half.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
        assert secure.ask("/healthz")[0] == 200
    for connection in silent:
        connection.close()
    for half in halves:
        half.close()


def test_failed_handshakes_are_counted_apart_from_those_of_the_pools(made):
    with Guarded(made=made) as server:
        def counted():
            text = server.ask(user="web")[2]
            return [int(re.search(rf"^stayd_admin_tls_{name}_total (\d+)$", text, re.MULTILINE)[1])
                    for name in ("handshake_errors", "new_sessions")]

        errors, sessions = counted()
        assert errors == 0 and sessions == 1
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""):
            with socket.create_connection(server.where(), 10) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while connection.recv(1 << 16):
                        pass
        assert counted()[0] == 3
        silent = [socket.create_connection(server.where(), 10) for _ in range(CLIENTS_KEPT + 4)]
        wait_until(lambda: counted()[0] >= 3 + 4, what="the oldest to give way")
        assert "stayd_tls_" not in server.ask(user="web")[2]  # no pool has TLS
        for connection in silent:
            connection.close()


def endless(server, headers):
    """Sends a request with a body that does not end, until the server has replied or closed the connection.
    Returns the bytes that were sent, and the reply."""
    sent, reply = 0, b""
    with socket.create_connection(server.where(), 30) as connection:
        connection.sendall(b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n")
        with contextlib.suppress(ConnectionError):
            while not is_readable(connection):
                connection.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
                sent += 0x8000
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(1 << 16):
                reply += piece
    return sent, reply


def test_a_body_without_a_login_is_not_read(guarded):
    for headers in (b"Transfer-Encoding: chunked\r\n", b"Content-Length: 999999999\r\n"):
        with socket.create_connection(guarded.where(), 30) as connection:
            connection.sendall(b"POST /metrics HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n")
            reply = b""
            while piece := connection.recv(1 << 16):  # the whole reply, and the end of the connection
                reply += piece
        assert reply.startswith(b"HTTP/1.1 401 ") and reply.endswith(b"of admin_auth_file.\n")


def test_a_body_that_does_not_end_ends_the_connection(stayd_of_everybody, guarded):
    login = b"Authorization: " + basic("web", "secret").encode() + b"\r\n"
    for server, headers in ((guarded, login), (stayd_of_everybody, b"")):
        sent, reply = endless(server, headers + b"Transfer-Encoding: chunked\r\n")
        assert not reply and BODY_MAX <= sent < BODY_MAX + (16 << 20)  # less what the sockets hold
        assert server.ask("/healthz")[0] == 200


def test_bodies_of_all_requests_of_a_connection_count_together(guarded):
    with contextlib.closing(guarded.open()) as connection:
        login = {"Authorization": basic("web", "secret")}
        statuses = []
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            while len(statuses) < 100:
                connection.request("POST", "/metrics", body=b"x" * 100_000, headers=login)
                used = connection.sock
                reply = connection.getresponse()
                reply.read()
                statuses.append(reply.status)
                assert connection.sock is used
        assert statuses == [405] * (BODY_MAX // 100_000)


def test_the_files_of_the_admin_server_take_none_from_clients(made, tmp_path):
    """The limit of open files is what the daemon asks for: enough for all connections of both kinds."""
    few = tmp_path / "few"
    few.write_text(f'#!/bin/sh\nulimit -S -n 64\nexec "{stayd_binary()}" "$@"\n')
    few.chmod(0o755)
    connections = 150
    with Guarded(made=made, server={"threads": 6, "max_connections": connections}, binary=few) as server, \
            contextlib.ExitStack() as opened:
        limit = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0]
        assert limit < connections + 300
        context = certificates.context(made)
        for _ in range(CLIENTS_KEPT + 20):
            half = opened.enter_context(certificates.TlsRaw(server.where(), context))
            half.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
        for pool in ("cache", "sessions"):
            for _ in range(connections // 2):
                opened.enter_context(server.connect(pool)).expect_in_step()
        assert server.ask("/healthz/live")[0] == 200
        assert "cannot accept connections" not in server.log
        used = len(list(pathlib.Path(f"/proc/{server.pid}/fd").iterdir()))
        assert connections + 3 * CLIENTS_KEPT < used <= limit


def test_without_a_free_descriptor_the_thread_for_tls_sleeps(made):
    """New connections are not accepted, and the thread looks for them again from time to time."""
    with Guarded(made=made) as server:
        assert server.ask("/healthz")[0] == 200
        threads = pathlib.Path(f"/proc/{server.pid}/task").iterdir()
        thread = next(one for one in threads if (one / "comm").read_text() == "admin-tls\n")

        def sleeps():
            status = (thread / "status").read_text()
            return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.MULTILINE)[1])

        limit = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (0, limit[1]))
        with socket.create_connection(server.where(), 10):
            before = sleeps()
            wait_until(lambda: sleeps() >= before + 5)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limit)
            assert server.ask("/healthz")[0] == 200


def test_a_client_that_reads_nothing_keeps_nobody_waiting(secure, made):
    login = basic("web", "secret")
    request = f"GET /dygraph.js HTTP/1.1\r\nHost: localhost\r\nAuthorization: {login}\r\n\r\n"
    deaf = [certificates.TlsRaw(secure.where(), certificates.context(made)) for _ in range(3)]
    for connection in deaf:
        connection.send(request.encode() * 40)
    for _ in range(3):
        assert secure.ask("/metrics", "web")[0] == 200
    # Who then begins to read gets all of it.
    replies, rest = 0, b""
    while replies < 40:
        *whole, rest = (rest + deaf[0].socket.recv(1 << 16)).split(b"HTTP/1.1 200 OK\r\n")
        replies += len(whole)
    for connection in deaf:
        connection.close()


@pytest.mark.parametrize("garbage", [b"\x16", b"\x16\x03\x01\x00\x05hello",
                                     bytes(range(256)) * 100, b"\x80" * 5000,
                                     b"\x16\x03\x03\x40\x00" + b"x" * 0x4000])
def test_garbage_in_place_of_a_handshake_is_closed(secure, garbage):
    with socket.create_connection(secure.where(), 10) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while connection.recv(1 << 16):
                pass
    assert secure.ask("/healthz")[0] == 200


def serial(server):
    with certificates.TlsRaw(server.where(), certificates.context(server.made)) as connection:
        return connection.socket.getpeercert()["serialNumber"]


def test_certificates_are_read_again_and_faulty_ones_change_nothing(made):
    with Guarded(made=made) as server, server.connect("cache") as client:
        first = serial(server)
        with contextlib.closing(server.open()) as kept:
            kept.request("GET", "/healthz")
            kept.getresponse().read()
            used = kept.sock
            server.put("renewed")
            client.ask(b"refresh_certs\r\n", b"OK\r\n")
            renewed = serial(server)
            assert renewed != first
            server.put("server")
            server.reload()
            assert serial(server) == first
            kept.request("GET", "/healthz")  # on the connection of before
            assert kept.getresponse().read() == b"ok\n" and kept.sock is used
        server.put("server", "renewed")
        client.send(b"refresh_certs\r\n")
        refused = client.read_line()
        assert refused.startswith(b"SERVER_ERROR admin: cannot use admin_tls_key")
        assert b"not the key" in refused
        assert serial(server) == first
        assert "certificate of the admin server reloaded" in server.log
        assert "the previous certificate stays in use" in server.log


def test_a_certificate_that_has_expired_is_told_and_served(made):
    with Guarded(made=made) as server:
        server.terminate()
        server.put("expired")
        server.start()
        assert re.search("warning: admin: the certificate in .* has expired: clients that check", server.log)
        checked = check(server.config_path)
        assert checked.returncode == 0 and "admin: the certificate in" in checked.stdout
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            server.ask()
        url = "https://%s:%d/healthz" % server.where()
        assert "expired" in curl("--cacert", made["ca.pem"], url, status=60)
        assert curl("-k", "https://%s:%d/healthz" % server.where()) == "ok\n"


def test_prometheus_reads_by_the_lines_of_the_documents(made, tmp_path):
    page = (ROOT / "docs" / "monitoring.md").read_text()
    example = re.search(r"```yaml\n(scrape_configs:.*?)```", page, re.DOTALL)[1]
    (tmp_path / "password").write_text("secret\n")
    with Guarded("prometheus:secret\n", made=made) as server:
        for there, here in (("/etc/prometheus/stayd.password", tmp_path / "password"),
                            ("/etc/prometheus/stayd-ca.pem", made["ca.pem"]),
                            ("db1.example.com:11280", "%s:%d" % server.where())):
            assert there in example
            example = example.replace(there, str(here))
        config = tmp_path / "prometheus.yml"
        config.write_text("global: {scrape_interval: 1s}\n" + example)
        address = f"127.0.0.1:{free_port()}"
        with open(tmp_path / "log", "wb") as log, subprocess.Popen(
                [promtool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data",
                 f"--web.listen-address={address}"], stdout=log, stderr=log) as prometheus:
            try:
                def targets():
                    with contextlib.suppress(OSError), urllib.request.urlopen(
                            f"http://{address}/api/v1/targets", timeout=10) as reply:
                        found = json.load(reply)["data"]["activeTargets"]
                        return [one for one in found if one["health"] != "unknown"]

                said = wait_until(targets, timeout=60)
            finally:
                prometheus.kill()
        assert [(one["health"], one["lastError"]) for one in said] == [("up", "")]
