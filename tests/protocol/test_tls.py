"""TLS: which clients may connect, that every byte arrives, and that other clients are not affected."""

import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from support import certificates
from support.certificates import TlsRaw
from support.processor import thread_seconds
from support.servers import Raw, Stayd, stayd_binary, wait_until

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=lambda one: one.name)


@pytest.fixture
def own(made, tmp_path):
    """A certificate and its key that the test may replace."""
    for end in ("pem", "key"):
        shutil.copy(made[f"server.{end}"], tmp_path / f"own.{end}")
    return tmp_path / "own.pem", tmp_path / "own.key"


@pytest.fixture(scope="module")
def secure(made):
    """A daemon whose pool `cache` speaks TLS; `sessions` does not."""
    with Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"]},
               server={"send_timeout": "2s", "max_connections": 200}) as server:
        yield server
        server.check_sanitizers()


@pytest.fixture
def witness(secure):
    """A plain connection to the other pool, in step before and after the test. It has no other client."""
    with secure.connect("sessions") as connection:
        wait_until(lambda: stat(connection, "curr_connections") == 1)
        yield connection
        connection.expect_in_step()
        wait_until(lambda: stat(connection, "curr_connections") == 1)
        assert connection.stats()["read_buf_bytes"] == "0"


def stat(connection, name):
    """One of the general statistics, as a number."""
    return int(connection.stats()[name])


def address(server, pool="cache"):
    """The address of the pool, in the form that a socket takes."""
    return ("127.0.0.1", server.port(pool))


def replace(own, made, name):
    """Replaces the certificate and key in `own`. Each file is whole at every moment."""
    for path, end in zip(own, ("pem", "key")):
        shutil.copy(made[f"{name}.{end}"], f"{path}.new")
        os.replace(f"{path}.new", path)


def common_name(connection):
    """The common name of the server's certificate."""
    return dict(pair[0] for pair in connection.socket.getpeercert()["subject"])["commonName"]


@both_versions
def test_large_values_go_both_ways_in_pipelines(secure, made, witness, version):
    values = [random.Random(number).randbytes(1_000_000 - number) for number in range(12)]
    with TlsRaw(address(secure), certificates.context(made, version=version)) as connection:
        assert connection.socket.version() == {TLS12: "TLSv1.2", TLS13: "TLSv1.3"}[version]
        sets = b"".join(b"set k%d 0 0 %d\r\n%b\r\n" % (number, len(value), value)
                        for number, value in enumerate(values))
        connection.send(sets)
        connection.expect(b"STORED\r\n" * len(values))
        # All requests are sent before any reply is read. So the daemon has to stop in the middle of a
        # record, and to continue there later.
        connection.send(b"".join(b"get k%d\r\n" % number for number in range(len(values))))
        wait_until(lambda: stat(witness, "response_obj_count") == 1)
        for number, value in enumerate(values):
            connection.expect(b"VALUE k%d 0 %d\r\n%b\r\nEND\r\n" % (number, len(value), value))
        connection.expect_in_step()


@both_versions
def test_a_hundred_thousand_pipelined_requests_are_answered_in_order(secure, made, witness, version):
    with TlsRaw(address(secure), certificates.context(made, version=version)) as connection:
        connection.set(b"n", b"0")
        for start in range(0, 100_000, 5_000):
            connection.send(b"incr n 1\r\n" * 5_000)
            connection.expect(b"".join(b"%d\r\n" % (start + number) for number in range(1, 5_001)))


def test_requests_in_one_record_and_in_a_record_for_each_byte_are_answered(secure, made, witness):
    with TlsRaw(address(secure), certificates.context(made)) as connection:
        for byte in b"set k 0 0 5\r\nhello\r\nget k\r\n":
            connection.send(bytes([byte]))
        connection.expect(b"STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_1_1_is_refused_and_the_log_says_why(made):
    old = certificates.context(made)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"]}) as stayd:
        with pytest.raises(ssl.SSLError):
            TlsRaw(address(stayd), old)
        control = stayd.connect_socket()
        wait_until(lambda: stat(control, "ssl_handshake_errors") == 1)
        wait_until(lambda: "unsupported protocol" in stayd.log)
        assert control.stats(b"settings")["ssl_min_version"] == "tlsv1.2"


@both_versions
def test_a_client_that_comes_again_resumes_its_session_and_only_in_its_pool(made, version):
    tls = {"tls_cert": made["server.pem"], "tls_key": made["server.key"]}
    context = certificates.context(made, version=version)
    with Stayd(cache=tls, sessions=tls) as stayd:

        def visit(pool, session=None):
            with TlsRaw(address(stayd, pool), context, session) as connection:
                connection.expect_in_step()  # with TLS 1.3, the session ticket comes with the first reply
                return connection.socket.session, connection.socket.session_reused

        session, reused = visit("cache")
        assert not reused
        for _ in range(8):  # whichever thread gets the connection
            session, reused = visit("cache", session)
            assert reused
        assert visit("sessions", session)[1] is False
        control = stayd.connect_socket()
        assert stat(control, "ssl_resumed_sessions") == 8
        assert stat(control, "ssl_new_sessions") == 2
        control.ask(b"refresh_certs\r\n", b"OK\r\n")
        assert visit("cache", session)[1], "a new certificate ended the sessions"


@both_versions
def test_with_a_ca_only_clients_with_its_certificate_get_in(made, version):
    with Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"],
                      "tls_ca": made["ca.pem"]}) as stayd:
        ours = certificates.context(made, "client", version)
        with TlsRaw(address(stayd), ours) as connection:
            connection.expect_in_step()
            session = connection.socket.session
        with TlsRaw(address(stayd), ours, session) as connection:
            connection.expect_in_step()
            assert connection.socket.session_reused
        control = stayd.connect_socket()
        control.set(b"k", b"secret")
        for client in (None, "stranger"):
            with pytest.raises((ssl.SSLError, EOFError, OSError)):
                with TlsRaw(address(stayd), certificates.context(made, client, version)) as other:
                    other.send(b"get k\r\n")
                    other.read_line()
        wait_until(lambda: stat(control, "ssl_handshake_errors") == 2)
        wait_until(lambda: "did not return a certificate" in stayd.log)
        control.ask(b"refresh_certs\r\n", b"OK\r\n")
        with TlsRaw(address(stayd), ours, session) as connection:
            connection.expect_in_step()
            assert not connection.socket.session_reused  # the CA may have changed


def test_certificates_are_replaced_under_load_and_no_connection_notices(made, own):
    with Stayd(cache={"tls_cert": own[0], "tls_key": own[1]}) as stayd:
        context = certificates.context(made)
        done = threading.Event()
        failures, names = [], set()

        def load(number):
            key = b"k%d" % number
            with TlsRaw(address(stayd), context) as kept:
                while not done.is_set():
                    try:
                        assert kept.set(key, b"v") == b"STORED"
                        with TlsRaw(address(stayd), context) as passing:
                            assert passing.get(key) == b"v"
                            names.add(common_name(passing))
                    except Exception as failure:
                        failures.append(failure)
                        return

        threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        control = stayd.connect_socket()
        for turn in range(10):
            replace(own, made, ("renewed", "server")[turn % 2])
            if turn % 2:
                control.ask(b"refresh_certs\r\n", b"OK\r\n")
            else:
                stayd.process.send_signal(signal.SIGHUP)
            expected = ("renewed", "server")[turn % 2]

            def is_there():
                with TlsRaw(address(stayd), context) as connection:
                    return common_name(connection) == expected

            wait_until(is_there)
        done.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert names == {"server", "renewed"}
        assert stat(control, "ssl_handshake_errors") == 0
        assert stat(control, "time_since_server_cert_refresh") < 60


def test_a_bad_new_certificate_is_refused_and_the_old_one_stays(made, own):
    with Stayd(cache={"tls_cert": own[0], "tls_key": own[1]}) as stayd:
        control = stayd.connect_socket()
        shutil.copy(made["renewed.key"], own[1])
        reply = control.ask(b"refresh_certs\r\n")
        assert reply.startswith(b"SERVER_ERROR pool cache: cannot use tls_key")
        assert b"not the key of the certificate" in reply
        own[1].unlink()
        stayd.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "cannot read tls_key" in stayd.log)
        assert "the previous certificate stays in use" in stayd.log
        with TlsRaw(address(stayd), certificates.context(made)) as connection:
            assert common_name(connection) == "server"
        control.expect_in_step()


def test_without_tls_refresh_certs_says_so():
    with Stayd() as stayd:
        connection = stayd.connect()
        connection.ask(b"refresh_certs\r\n", b"SERVER_ERROR no pool has TLS\r\n")
        assert "ssl_handshake_errors" not in connection.stats()


class Halves:
    """TLS of a client, without a socket: the test carries the bytes."""

    def __init__(self, made, version=None):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = certificates.context(made, version=version).wrap_bio(
            self.incoming, self.outgoing, server_hostname="127.0.0.1"
        )

    def hello(self):
        """The first message of the handshake."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def call(self, connection, function, *arguments):
        """Calls the function until it needs no more bytes from the other end; returns its result."""
        while True:
            try:
                result = function(*arguments)
                connection.send(self.outgoing.read())
                return result
            except ssl.SSLWantReadError:
                pending = self.outgoing.read()
                if pending:
                    connection.send(pending)
                received = connection.socket.recv(1 << 16)
                self.incoming.write(received) if received else self.incoming.write_eof()


@both_versions
def test_a_handshake_that_comes_byte_by_byte_succeeds(secure, made, witness, version):
    halves = Halves(made, version)
    with Raw(address(secure)) as connection:
        hello = halves.hello()
        for byte in hello:
            connection.send(bytes([byte]))
        halves.call(connection, halves.tls.do_handshake)
        halves.call(connection, halves.tls.write, b"mn\r\n")
        assert halves.call(connection, halves.tls.read, 100) == b"MN\r\n"


def test_a_request_in_the_same_packet_as_the_end_of_the_handshake_is_answered(secure, made,
                                                                             witness):
    """epoll reports no event for this request: the request is in OpenSSL's buffer when the worker takes
    the connection over."""
    for _ in range(20):
        halves = Halves(made, TLS13)
        with Raw(address(secure)) as connection:
            connection.send(halves.hello())
            while True:
                halves.incoming.write(connection.socket.recv(1 << 16))
                try:
                    halves.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    pass
            halves.tls.write(b"mn\r\n")
            connection.send(halves.outgoing.read())
            assert halves.call(connection, halves.tls.read, 100) == b"MN\r\n"


@both_versions
def test_a_client_that_says_goodbye_after_its_requests_gets_its_replies_and_a_goodbye(
        secure, made, witness, version):
    halves = Halves(made, version)
    with Raw(address(secure)) as connection:
        halves.call(connection, halves.tls.do_handshake)
        halves.tls.write(b"mn\r\n" * 1000)
        with pytest.raises(ssl.SSLWantReadError):
            halves.tls.unwrap()
        connection.send(halves.outgoing.read())
        received = b""
        with pytest.raises(ssl.SSLZeroReturnError):
            while True:
                received += halves.call(connection, halves.tls.read, 1 << 16)
        assert received == b"MN\r\n" * 1000


def test_a_client_that_cuts_the_stream_off_without_a_goodbye_gets_its_replies(secure, made,
                                                                             witness):
    with TlsRaw(address(secure), certificates.context(made)) as connection:
        connection.send(b"set k 0 0 1\r\nv\r\nget k\r\nset l 0 0 10\r\nhalf")
        socket.socket.shutdown(connection.socket, socket.SHUT_WR)
        assert connection.read_to_end() == b"STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n"


def test_quit_ends_the_stream_with_a_goodbye(secure, made, witness):
    context = certificates.context(made)
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    with socket.create_connection(address(secure), 10) as raw:
        with context.wrap_socket(raw, server_hostname="127.0.0.1",
                                 suppress_ragged_eofs=False) as connection:
            connection.sendall(b"mn\r\nquit\r\n")
            received = b""
            while piece := connection.recv(1000):
                received += piece
            assert received == b"MN\r\n"


def test_a_plain_client_on_a_tls_port_is_closed_and_the_log_says_what_happened(made):
    with Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"]}) as stayd:
        for request in (b"version\r\n", b"\x80\x0b" + bytes(22), b"GET / HTTP/1.1\r\n\r\n"):
            with stayd.connect("cache") as connection:
                connection.send(request)
                connection.expect_closed()
        line = wait_until(lambda: [line for line in stayd.log.splitlines() if "plain text" in line])
        assert len(line) == 1, "one line in ten seconds"
        assert "from tcp:127.0.0.1:" in line[0] and f"127.0.0.1:{stayd.port('cache')}" in line[0]
        control = stayd.connect_socket()
        wait_until(lambda: stat(control, "ssl_handshake_errors") == 3)


def test_a_tls_client_on_a_plain_port_is_closed_and_the_log_says_what_happened(secure, made,
                                                                              witness):
    for _ in range(3):
        with pytest.raises((ssl.SSLError, OSError)):
            TlsRaw(address(secure, "sessions"), certificates.context(made))
    assert secure.log.count("to pool sessions: the client speaks TLS, and this address does not") == 1


def test_unix_sockets_of_a_tls_pool_are_plain(secure, witness):
    with secure.connect_socket("cache") as connection:
        connection.expect_in_step()


def test_garbage_and_handshakes_cut_off_anywhere_harm_nobody(secure, made, witness):
    hello = Halves(made).hello()
    chance = random.Random(3)
    errors = stat(witness, "ssl_handshake_errors")
    cuts = [hello[:cut] for cut in range(1, len(hello), 29)]
    damaged = []
    for _ in range(30):
        piece = bytearray(hello)
        piece[chance.randrange(1, len(piece))] ^= 1 << chance.randrange(8)
        damaged.append(bytes(piece))
    garbage = [b"\x16" + chance.randbytes(chance.randrange(2000)) for _ in range(30)]
    attempts = cuts + damaged + garbage
    for number, attempt in enumerate(attempts):
        connection = Raw(address(secure))
        connection.send(attempt)
        if number % 3 == 0:
            connection.socket.shutdown(socket.SHUT_WR)
        elif number % 3 == 1:
            connection.reset()
        connection.close()
    wait_until(lambda: stat(witness, "ssl_handshake_errors") == errors + len(attempts))
    wait_until(lambda: stat(witness, "curr_connections") == 1)
    with TlsRaw(address(secure), certificates.context(made)) as connection:
        connection.expect_in_step()


def test_garbage_within_the_stream_ends_it(secure, made, witness):
    with TlsRaw(address(secure), certificates.context(made)) as connection:
        connection.expect_in_step()
        socket.socket.send(connection.socket, b"\x17\x03\x03\x00\x20" + b"x" * 32)
        with pytest.raises((EOFError, AssertionError)):
            connection.read_line()


def test_handshakes_that_never_end_are_dropped_in_time_and_keep_nobody_out(secure, made, witness):
    """A quarter of 200 connections may be in their handshake. A new connection makes the daemon drop the
    oldest."""
    errors = stat(witness, "ssl_handshake_errors")
    lazy = [Raw(address(secure)) for _ in range(120)]
    for connection in lazy[::2]:
        connection.send(b"\x16\x03\x01")
    with TlsRaw(address(secure), certificates.context(made)) as connection:
        connection.expect_in_step()
        assert stat(connection, "curr_connections") <= 60
    for connection in lazy:
        connection.expect_closed()
    assert stat(witness, "ssl_handshake_errors") == errors + 120


def test_a_flood_of_handshakes_costs_the_threads_of_the_other_clients_nothing(secure, made,
                                                                             witness):
    """The processor time of each thread shows that only the handshake thread does the handshakes."""
    hello = Halves(made, TLS13).hello()
    before = thread_seconds(secure.pid)
    count = 0
    while thread_seconds(secure.pid).get("handshakes", 0) - before["handshakes"] < 0.3:
        flood = [Raw(address(secure)) for _ in range(40)]
        for connection in flood:
            connection.send(hello)  # the daemon computes a signature; the client never checks it
        for connection in flood:
            connection.socket.recv(1)
            connection.close()
        count += len(flood)
        witness.expect_in_step()
    after = thread_seconds(secure.pid)
    assert count >= 40
    assert after["worker"] - before["worker"] < 0.15


@pytest.mark.parametrize("keys, reason", [
    ({"tls_cert": "server.pem", "tls_key": "renewed.key"}, "not the key of the certificate"),
    ({"tls_cert": "server.key", "tls_key": "server.key"}, "cannot use tls_cert"),
    ({"tls_cert": "none.pem", "tls_key": "server.key"}, "No such file"),
    ({"tls_cert": "server.pem", "tls_key": "server.pem"}, "cannot use tls_key"),
    ({"tls_cert": "server.pem", "tls_key": "server.key", "tls_ca": "server.key"},
     "cannot use tls_ca"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_wrong_with_the_files_is_said_by_check_and_at_the_start(made, tmp_path, keys,
                                                                       reason):
    folder = made["server.pem"].parent
    lines = "".join(f"{key} = {folder / name}\n" for key, name in keys.items())
    config = tmp_path / "stayd.conf"
    config.write_text(f"[server]\nadmin = no\nrun_dir = {tmp_path}\n[pool cache]\n"
                      f"listen = unix:x.sock, 127.0.0.1:1\n{lines}")
    checked = subprocess.run([stayd_binary(), "--check", "-c", config], capture_output=True,
                             text=True, timeout=20)
    assert checked.returncode == 2
    assert f"{config}:6: pool cache: " in checked.stderr and reason in checked.stderr
    config.write_text(config.read_text().replace("127.0.0.1:1\n", "127.0.0.1:31999\n"))
    started = subprocess.run([stayd_binary(), "-c", config], capture_output=True, text=True,
                             timeout=20)
    assert started.returncode == 1 and reason in started.stderr


def test_a_certificate_that_has_expired_is_told_and_served(made):
    tls = {"tls_cert": made["expired.pem"], "tls_key": made["expired.key"]}
    with Stayd(cache=tls) as stayd:
        assert "has expired" in stayd.log
        checked = subprocess.run([stayd_binary(), "--check", "-c", stayd.config_path],
                                 capture_output=True, text=True, timeout=20)
        assert checked.returncode == 0 and "has expired" in checked.stdout
        with pytest.raises(ssl.SSLCertVerificationError):
            TlsRaw(address(stayd), certificates.context(made))


def test_clients_are_told_of_with_their_addresses(secure, made):
    with TlsRaw(address(secure), certificates.context(made)) as watcher:
        watcher.ask(b"watch connevents\r\n", b"OK\r\n")
        with TlsRaw(address(secure), certificates.context(made)) as other:
            other.ask(b"mn\r\n", b"MN\r\n")
            port = other.socket.getsockname()[1]
            line = watcher.read_until(b"\n").decode()
            assert f"type=conn_new rip=127.0.0.1 rport={port} transport=tcp" in line
            other.send(b"stats conns\r\n")
            assert f":addr tcp:127.0.0.1:{port}\r\n" in other.read_until(b"END\r\n").decode()
        assert f"type=conn_close rip=127.0.0.1 rport={port}" in watcher.read_until(b"\n").decode()
