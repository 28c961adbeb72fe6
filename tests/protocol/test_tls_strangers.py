"""TLS messages without data: they cost other clients nothing, and the daemon ends the connection."""

import ssl

import pytest

from support import bystander, certificates
from support.bystander import Bystander
from support.certificates import TlsRaw
from support.hostile_tls import HostileTls
from support.preload import has_sanitizer
from support.processor import thread_seconds
from support.servers import Stayd, wait_until


@pytest.fixture(scope="module")
def secure(made):
    """A daemon with one worker, whose pool `cache` speaks TLS and takes TLS 1.2 and 1.3."""
    with Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"]},
               server={"threads": 1}) as server:
        yield server
        server.check_sanitizers()


def address(server):
    """The address of the pool that speaks TLS."""
    return ("127.0.0.1", server.port("cache"))


@pytest.mark.parametrize("requested", [False, True], ids=["told", "asked"])
def test_a_flood_of_key_updates_ends_the_connection_and_delays_nobody(secure, requested):
    idle = bystander.longest_wait(secure.socket("sessions"))
    with HostileTls(address(secure)) as client:
        records = client.key_updates(40_000, requested)
        spent = thread_seconds(secure.pid)["worker"]
        with Bystander(secure.socket("sessions")) as other:
            client.flood(records)
            assert client.is_closed()
        assert thread_seconds(secure.pid)["worker"] - spent < (1.0 if has_sanitizer() else 0.2)
    other.expect_undisturbed(idle)


def test_some_key_updates_among_data_are_no_flood(secure):
    with HostileTls(address(secure)) as client:
        for _ in range(20):
            client.socket.sendall(client.key_updates(1))
            assert client.ask(b"mn\r\n") == b"MN\r\n"


def test_key_updates_and_the_data_behind_them_in_one_packet_are_all_taken(secure):
    """epoll reports no event for the data, because it is already in OpenSSL's buffer."""
    with HostileTls(address(secure)) as client:
        for _ in range(5):
            client.socket.sendall(client.key_updates(3, requested=True))
            assert client.ask(b"mn\r\n") == b"MN\r\n"


def test_key_updates_may_go_on_as_long_as_data_does(secure):
    """The client sends one KeyUpdate for each megabyte: in all, more than are allowed without data."""
    request = b"ms k 1000000\r\n" + b"v" * 1_000_000 + b"\r\n"
    with HostileTls(address(secure)) as client:
        for _ in range(50):
            client.socket.sendall(client.key_updates(1))
            assert client.ask(request) == b"HD\r\n"


def test_a_record_for_each_byte_delays_nobody(secure):
    idle = bystander.longest_wait(secure.socket("sessions"))
    with HostileTls(address(secure)) as client:
        line = b"x" * 1900 + b"\r\n"
        records = b"".join(client.data(line[at:at + 1]) for _ in range(5) for at in range(len(line)))
        with Bystander(secure.socket("sessions")) as other:
            client.socket.sendall(records)
            assert client.ask(b"mn\r\n").startswith(b"ERROR\r\n")
    other.expect_undisturbed(idle)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_client_is_here_no_longer_than_its_certificate_lasts(made, tmp_path, version):
    """The daemon closes a connection when its client's certificate expires, and refuses a client that
    resumes a session of the expired certificate."""
    certificates.make_short(made, tmp_path, seconds=6)
    context = certificates.context(made, version=ssl.TLSVersion[version])
    context.load_cert_chain(tmp_path / "short.pem", tmp_path / "short.key")
    with Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"],
                      "tls_ca": made["ca.pem"]}) as stayd:
        with TlsRaw(address(stayd), context) as first:
            first.expect_in_step()
            session = first.socket.session
        with TlsRaw(address(stayd), context, session) as idle:
            idle.expect_in_step()
            assert idle.socket.session_reused
            session = idle.socket.session
            idle.expect_closed(timeout=30)  # the certificate ends at this moment
        control = stayd.connect_socket("sessions")
        with pytest.raises((OSError, EOFError)):
            with TlsRaw(address(stayd), context, session) as late:
                late.send(b"mn\r\n")
                late.read_line()
        wait_until(lambda: int(control.stats()["ssl_handshake_errors"]) == 1)
        wait_until(lambda: "certificate has expired" in stayd.log, what="the line in the log")
        with TlsRaw(address(stayd), certificates.context(made, "client")) as another:
            another.expect_in_step()
