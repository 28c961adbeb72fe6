"""libstayd on real servers: every function of stayd.h, on each kind of server and connection."""

import os

import pytest

from libstayd.programs import DISCONNECTED, LOGIN_REFUSED, OK, Shell, run
from support.servers import Memcached, Stayd, free_port


class Guarded(Stayd):
    """A stayd whose pools ask for a login."""

    def __init__(self, **more):
        super().__init__(cache={"auth_file": "{dir}/users"}, **more)
        users = self.directory / "users"
        users.write_text("web:pass word%\n")
        users.chmod(0o600)


def tls_stayd(made, **more):
    """A stayd whose cache pool speaks TLS."""
    return Stayd(cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"], **more})


def tls_url(server, made, query=""):
    """Of its cache pool."""
    return f"memcacheds://localhost:{server.port('cache')}/?ca={made['ca.pem']}{query}"


def test_all_commands_on_memcached():
    with Memcached() as server:
        run("live", STAYD_TEST_SERVERS=server.url())


def test_all_commands_on_memcached_with_a_unix_socket():
    with Memcached(unix=True) as server:
        run("live", STAYD_TEST_SERVERS=server.socket())


def test_all_commands_on_both_pools_of_stayd():
    with Stayd() as server:
        run("live", STAYD_TEST_SERVERS=server.url("cache"))
        run("live", STAYD_TEST_SERVERS=server.unix_url("sessions"))


@pytest.mark.parametrize("distribution", [0, 2])
def test_all_commands_on_several_servers(distribution):
    with Memcached() as one, Memcached(unix=True) as two, Stayd() as three:
        servers = f"{one.address()}; unix:{two.socket()}, {three.url()} {three.url('sessions')}"
        run("live", STAYD_TEST_SERVERS=servers, STAYD_TEST_DISTRIBUTION=str(distribution))


def test_all_commands_over_tls(made):
    with tls_stayd(made) as server:
        run("live", STAYD_TEST_SERVERS=tls_url(server, made))


class TlsMemcached(Memcached):
    """memcached that speaks TLS on `tls_port`, and speaks plain text on the port that the tests ask for
    readiness."""

    def __init__(self, made):
        super().__init__(options=[
            "-Z", "-o", f"ssl_chain_cert={made['server.pem']},ssl_key={made['server.key']}"
        ])
        self.tls_port = free_port()

    def command(self):
        clear, tls = f"notls:127.0.0.1:{self.port()}", f"127.0.0.1:{self.tls_port}"
        user = ["-u", "root"] if os.geteuid() == 0 else []
        return [self.binary, "-l", f"{clear},{tls}", "-U", "0", *user, *self.options]


def test_all_commands_over_tls_on_memcached(made):
    with TlsMemcached(made) as server:
        url = f"memcacheds://localhost:{server.tls_port}/?ca={made['ca.pem']}"
        # One test is skipped: after a value that it has thrown away, memcached 1.6.18 waits for more
        # input, and does not
        # look at the bytes that OpenSSL has decrypted already.
        run("live", STAYD_TEST_SERVERS=url, STAYD_TEST_SKIP="one_of_many_may_fail_alone")


def test_all_commands_with_a_login_over_the_text_protocol():
    with Guarded() as server:
        run("live", STAYD_TEST_SERVERS=server.url("cache").replace("//", "//web:pass%20word%25@"))
        run("live", STAYD_TEST_SERVERS=server.socket("cache"), STAYD_TEST_USER="web",
            STAYD_TEST_PASSWORD="pass word%")


def test_all_commands_with_a_login_on_memcached(tmp_path):
    users = tmp_path / "users"
    users.write_text("web:secret\n")
    with Memcached(options=["-Y", users]) as server:
        run("live", STAYD_TEST_SERVERS=f"memcached://web:secret@{server.address()}/")


def test_all_commands_of_the_binary_protocol_after_a_sasl_login():
    with Guarded() as server:
        url = server.url("cache").replace("//", "//web:pass%20word%25@") + "?login=sasl"
        run("live", STAYD_TEST_SERVERS=url, STAYD_TEST_NO_META="1")


@pytest.mark.parametrize("query", ["", "?login=sasl"])
def test_a_wrong_login_and_none_are_said_to_be_that(query):
    with Guarded() as server:
        for login in ("web:wrong@", ""):
            url = server.url("cache").replace("//", f"//{login}") + query
            with Shell(url) as shell:
                status, _, _, text = shell.ask("set k v")
                assert status == LOGIN_REFUSED
                assert "user and " in text and "wrong" not in text


def test_the_server_is_who_it_says_it_is(made):
    """A certificate of another authority, for another host, or that has expired, is refused."""
    expired = {"tls_cert": made["expired.pem"], "tls_key": made["expired.key"]}
    with tls_stayd(made) as server, Stayd(cache=expired) as late:
        port = server.port("cache")
        for url, why in [
            (f"memcacheds://localhost:{port}/?ca={made['other-ca.pem']}", "unable to get local issuer"),
            (f"memcacheds://localhost:{port}/", "unable to get local issuer"),
            # the certificate has 127.0.0.1 and localhost, and lacks the other names of this machine
            (f"memcacheds://127.1:{port}/?ca={made['ca.pem']}", "mismatch"),
            (tls_url(late, made), "expired"),
        ]:
            with Shell(url, "restart_wait=-1") as shell:
                status, _, _, text = shell.ask("get k")
                assert status == DISCONNECTED and why in text


def test_a_client_shows_its_own_certificate(made):
    with tls_stayd(made, tls_ca=made["ca.pem"]) as server:
        own = f"&cert={made['client.pem']}&key={made['client.key']}"
        with Shell(tls_url(server, made, own)) as shell:
            assert shell.status("set k v") == OK
        with Shell(tls_url(server, made), "restart_wait=-1") as shell:
            assert shell.status("get k") == DISCONNECTED


def test_ten_thousand_clients_leave_nothing_behind():
    with Stayd() as server:
        run("clients", server.unix_url(), 10000)


def test_clients_with_tls_leave_nothing_behind(made):
    with tls_stayd(made) as server:
        run("clients", tls_url(server, made), 200)
