"""Who may read the admin server: its login, its TLS, and what is wrong with their files."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.request
import warnings

import pytest

from support import certificates
from support.hashes import hashed
from support.promtool import promtool
from support.servers import ROOT, Raw, ServerError, Stayd, free_port, stayd_binary, wait_until

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


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Guarded(Stayd):
    """A daemon whose admin server wants a login, and takes TLS if there are certificates (`made`)."""

    def __init__(self, users="web:secret\n", made=None, server=None, **more):
        server = {"admin_auth_file": "{dir}/admin.users", **(server or {})}
        if made is not None:
            server |= {"admin_tls_cert": "{dir}/cert.pem", "admin_tls_key": "{dir}/key.pem"}
        super().__init__(server=server, **more)
        self.users = self.directory / "admin.users"
        self.made = made
        self.write(users)
        if made is not None:
            self.put("server")

    def write(self, users, mode=0o600):
        self.users.write_text(users)
        self.users.chmod(mode)

    def put(self, certificate, key=None):
        """The files of TLS are now these of `made`."""
        shutil.copy(self.made[f"{certificate}.pem"], self.directory / "cert.pem")
        shutil.copy(self.made[f"{key or certificate}.key"], self.directory / "key.pem")

    def where(self):
        host, port = self.admin_url().rpartition("/")[2].split(":")
        return host, int(port)

    def reload(self):
        """SIGHUP; returns what was logged until the file of users has been read."""
        before = len(self.log)
        self.process.send_signal(signal.SIGHUP)
        said = "admin_auth_file .* (has been read again|has errors)"
        wait_until(lambda: re.search(said, self.log[before:]))
        return self.log[before:]

    def open(self, source=None):
        """A connection of an HTTP client."""
        options = {"timeout": 30, "source_address": source and (source, 0)}
        if self.made is None:
            return http.client.HTTPConnection(*self.where(), **options)
        return http.client.HTTPSConnection(*self.where(), context=certificates.context(self.made), **options)

    def ask(self, path="/metrics", user=None, password="secret", source=None, **headers):
        """The status, the headers and the text of a reply."""
        if user is not None:
            headers["Authorization"] = basic(user, password)
        with contextlib.closing(self.open(source)) as connection:
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read().decode()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("certificates"))


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


def check(config):
    command = [stayd_binary(), "--check", "-c", config]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


FILES = [
    ({"admin_tls_key": None}, "there is an admin_tls_cert without an admin_tls_key"),
    ({"admin_tls_cert": None}, "there is an admin_tls_key without an admin_tls_cert"),
    ({"admin_tls_cert": "missing.pem"}, "admin: cannot read admin_tls_cert {dir}/missing.pem: No such file"),
    ({"admin_tls_cert": "junk"}, "admin: cannot use admin_tls_cert {dir}/junk: "),
    ({"admin_tls_key": "junk"}, "admin: cannot use admin_tls_key {dir}/junk: "),
    ({"admin_tls_key": "renewed.key"}, "it is not the key of the certificate in admin_tls_cert"),
    ({"admin_tls_key": "folder"}, "admin: cannot use admin_tls_key {dir}/folder: "),
    ({"admin_tls_cert": "relative.pem"}, "must be an absolute path"),
    ({"admin": "no"}, "admin_tls_cert has no effect with admin = no"),
    ({"admin": "unix:a.sock"}, "admin is a Unix socket, which does not use TLS"),
    ({"admin_auth_file": "missing"}, "admin: admin_auth_file {dir}/missing: cannot read it: No such file"),
    ({"admin_auth_file": "junk"}, "admin: admin_auth_file {dir}/junk:1: "),
    ({"admin_auth_file": "open"}, "admin: admin_auth_file {dir}/open: its mode is 0644"),
    ({"admin_auth_file": "empty"}, "admin: admin_auth_file {dir}/empty: there is no user in it"),
    ({"admin_auth_file": "users", "admin_tls_cert": None, "admin_tls_key": None, "admin": "no"},
     "admin_auth_file has no effect with admin = no"),
]


@pytest.mark.parametrize("keys, reason", FILES, ids=[reason[-40:] for _, reason in FILES])
def test_what_is_wrong_with_the_files_is_said_with_file_and_line(made, tmp_path, keys, reason):
    for name, text, mode in (("junk", "junk\0\n", 0o600), ("open", "a:b\n", 0o644), ("empty", "# a\n", 0o600),
                             ("users", "a:b\n", 0o600)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    (tmp_path / "folder").mkdir()
    for name in ("server.pem", "server.key", "renewed.key"):
        shutil.copy(made[name], tmp_path)
    values = {"admin": "127.0.0.1:11280", "admin_tls_cert": "server.pem",
              "admin_tls_key": "server.key", **keys}
    lines = [f"{key} = {value if key == 'admin' or value == 'relative.pem' else tmp_path / value}"
             for key, value in values.items() if value is not None]
    config = tmp_path / "stayd.conf"
    config.write_text("\n".join(["[server]", *lines, "[pool a]", f"listen = unix:{tmp_path}/a", ""]))
    checked = check(config)
    assert checked.returncode == 2
    wanted = next((key for key in keys if key != "admin" and keys[key]), "admin_")
    number = 2 + next(i for i, line in enumerate(lines) if line.startswith(wanted))
    if wanted.startswith("admin_tls"):  # of TLS, the line of the first of its settings
        number = 2 + next(i for i, line in enumerate(lines) if line.startswith("admin_tls"))
    said = re.escape(reason.replace("{dir}", str(tmp_path)))
    found = re.search(rf"^{config}:{number}: .*{said}", checked.stderr, re.MULTILINE)
    assert found, checked.stderr


@pytest.mark.parametrize("name, reason", [("key.pem", "cannot use admin_tls_key"),
                                          ("cert.pem", "cannot use admin_tls_cert"),
                                          ("admin.users", "admin_auth_file .*admin.users:1: no colon")])
def test_a_faulty_file_stops_the_start_with_its_name(made, name, reason):
    with Guarded(made=made) as server:
        server.terminate()
        (server.directory / name).write_text("junk\n")
        with pytest.raises(ServerError, match=f"error: admin: {reason}"):
            server.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to be another user")
def test_a_key_that_the_user_of_the_daemon_cannot_read_is_said(made):
    """A certificate and a key that root can read, and a daemon that gives up root's rights."""
    with Guarded(made=made) as server:
        server.terminate()
        server.directory.chmod(0o755)
        (server.directory / "key.pem").chmod(0o600)
        done = subprocess.run([stayd_binary(), "-c", server.config_path, "-u", "nobody"], capture_output=True,
                              text=True, timeout=30)
        assert done.returncode != 0
        said = "error: admin: cannot read admin_tls_key .*key.pem: Permission denied; the daemon's user"
        assert re.search(said, done.stderr), done.stderr


@pytest.mark.parametrize("keys, said", [
    ("", "where everybody who reaches this machine could read it; use 127.0.0.1"),
    ("admin_tls_cert = /c\nadmin_tls_key = /k\n", "TLS encrypts, but does not authenticate clients"),
    ("admin_auth_file = /u\n", "without TLS, and each request would carry the password in plain text"),
])
def test_other_machines_need_login_and_tls_or_the_word(tmp_path, keys, said):
    config = tmp_path / "stayd.conf"
    pool = "[pool a]\nlisten = unix:a\n"
    for address in ("0.0.0.0:11280", "[::]:11280", "192.0.2.1:11280"):
        config.write_text(f"[server]\nadmin = {address}\n{keys}{pool}")
        refused = check(config)
        assert refused.returncode == 2 and f"{config}:2: " in refused.stderr and said in refused.stderr
        config.write_text(f"[server]\nadmin = {address}\n{keys}insecure = yes\n{pool}")
        assert "would listen" not in check(config).stderr


def test_with_login_and_tls_no_word_is_needed(made):
    with Guarded(made=made) as server:
        port = server.where()[1]
        server.terminate()
        server.configure(server.config.replace("admin = 127.0.0.1", "admin = 0.0.0.0"))
        server.start()
        assert f"https://0.0.0.0:{port}/, with a login" in server.log
        assert f":{port}/, with" in server.log
        with contextlib.closing(http.client.HTTPSConnection(
                "127.0.0.1", port, context=certificates.context(made), timeout=30)) as connection:
            connection.request("GET", "/api/v1/stats", headers={"Authorization": basic("web", "secret")})
            assert json.load(connection.getresponse())["pools"]
