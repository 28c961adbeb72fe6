"""Sessions and the cache over TLS."""

import pytest
from django.test import Client as Browser
from django.test.utils import override_settings

from sitesettings import caches_at
from stayd import Client
from stayd.errors import ConnectionError, InvalidURL
from support.servers import Stayd


@pytest.fixture(scope="module")
def secure(made):
    """A daemon with TLS on both pools; clients of `sessions` need a certificate."""
    tls = {"tls_cert": made["server.pem"], "tls_key": made["server.key"]}
    with Stayd(cache=tls, sessions={**tls, "tls_ca": made["ca.pem"]}) as server:
        yield server


def url(server, pool, **files):
    """memcacheds://..., with the files in the query."""
    query = "&".join(f"{name}={path}" for name, path in files.items())
    return f"memcacheds://{server.address(pool)}/?{query}"


def own_files(made):
    """The files that the sessions pool requires of a client."""
    return {"ca": made["ca.pem"], "cert": made["client.pem"], "key": made["client.key"]}


def test_a_client_reads_and_writes_over_tls(secure, made):
    with Client(url(secure, "cache", ca=made["ca.pem"])) as client:
        large = bytes(range(256)) * 3900
        client.set("k", large)
        assert client.get("k") == large
        client.set_many({f"k{number}": b"v" for number in range(300)})
        assert len(client.get_many([f"k{number}" for number in range(300)])) == 300
        assert client.delete("k") and client.get("k") is None


def test_a_connection_is_used_again_and_replaced_after_a_restart(made):
    tls = {"tls_cert": made["server.pem"], "tls_key": made["server.key"]}
    with Stayd(sessions=tls) as stayd:
        with Client(url(stayd, "sessions", ca=made["ca.pem"])) as client:
            for _ in range(20):
                client.set("k", b"v")
            control = stayd.connect_socket()
            assert control.stats()["ssl_new_sessions"] == "1"
            stayd.restart()
            assert client.get("k") == b"v"


def test_a_server_whose_certificate_is_not_trusted_is_not_talked_to(secure, made):
    for files in ({}, {"ca": made["other-ca.pem"]}):
        with Client(url(secure, "cache", **files)) as client:
            with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED|certificate"):
                client.get("k")


def test_a_client_without_the_certificate_that_the_pool_wants_is_refused(secure, made):
    with Client(url(secure, "sessions", ca=made["ca.pem"])) as client:
        with pytest.raises(ConnectionError):
            client.set("k", b"v")


def test_a_plain_client_is_refused(secure):
    with Client(f"memcached://{secure.address('cache')}/") as client:
        with pytest.raises(ConnectionError):
            client.get("k")


def test_a_file_that_is_not_there_is_told_when_the_client_is_made(made):
    with pytest.raises(InvalidURL, match="/none.pem"):
        Client("memcacheds://127.0.0.1:1/?ca=/none.pem")


def test_a_site_keeps_its_sessions_over_tls(secure, made, user):
    with override_settings(
        SESSION_CACHE=url(secure, "sessions", **own_files(made)),
        CACHES=caches_at(url(secure, "cache", ca=made["ca.pem"])),
    ):
        from django.core.cache import cache

        browser = Browser()
        assert browser.login(username="anna", password="secret")
        cache.set("page", {"a": 1})
        assert cache.get("page") == {"a": 1}
        cache.clear()
        assert "_auth_user_id" in browser.session
        with secure.connect_socket("sessions") as control:
            assert int(control.stats()["curr_items"]) >= 1
