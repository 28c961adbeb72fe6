"""Pools with an auth_file: the client, the sessions and the cache, each with a user and a password."""

import pytest
import stayd
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from stayd.django.session_backend import SessionStore

from support.servers import Stayd

USERS = "web:p@ss w/rd\ncron:other\n"
IN_URL = "web:p%40ss%20w%2Frd@"


@pytest.fixture(scope="module")
def guarded():
    """A daemon whose two pools both ask for a login."""
    keys = {"auth_file": "{dir}/users"}
    server = Stayd(sessions=keys, cache=keys)
    users = server.directory / "users"
    users.touch(0o600)
    users.write_text(USERS)
    with server:
        yield server


def with_login(url, login=IN_URL):
    return url.replace("://", f"://{login}")


def caches_with(location, **options):
    return {
        "default": {
            "BACKEND": "stayd.django.cache.StaydCache",
            "LOCATION": location,
            "OPTIONS": options,
        }
    }


def test_a_client_logs_in_over_tcp_and_over_the_socket(guarded):
    for url in (guarded.url("sessions"), guarded.unix_url("sessions")):
        with stayd.Client(with_login(url)) as client:
            client.set("k", b"v")
            assert client.get("k") == b"v"
        with stayd.Client(url, username="cron", password="other") as client:
            assert client.get("k") == b"v"
            assert client.stats()["pool"] == "sessions"


def test_each_connection_logs_in_the_one_after_a_restart_too(guarded):
    with stayd.Client(with_login(guarded.url("sessions"))) as client:
        client.set("k", b"v")
        guarded.restart()
        assert client.get("k") == b"v"
        client.close()
        assert client.get("k") == b"v"


@pytest.mark.parametrize("login", ["web:wrong@", "nobody:wrong@"])
def test_a_wrong_login_is_an_error_that_does_not_repeat_the_password(guarded, login):
    with stayd.Client(with_login(guarded.url("sessions"), login)) as client:
        for _ in range(2):
            with pytest.raises(stayd.LoginRefused, match="Compare them with the (pool|server)'s") as caught:
                client.set("k", b"v")
    assert "wrong@" not in str(caught.value) and guarded.url("sessions") in str(caught.value)


def test_a_client_without_a_login_is_told_to_give_one(guarded):
    with stayd.Client(guarded.url("sessions")) as client:
        for request in (lambda: client.get("k"), lambda: client.set("k", b"v"),
                        lambda: client.stats(), lambda: client.delete("k")):
            with pytest.raises(stayd.LoginRefused, match="USER:PASSWORD@"):
                request()


def test_a_pool_that_asks_nobody_does_not_keep_the_login(daemon):
    with stayd.Client(with_login(daemon.url("sessions"))) as client:
        client.set("k", b"v")
        assert client.get("k") == b"v"
        assert client.get("stayd-login") is None


def test_sessions_are_kept_with_a_login_in_session_cache(guarded):
    with override_settings(SESSION_CACHE=with_login(guarded.unix_url("sessions"))):
        session = SessionStore()
        session["user"] = 7
        session.save()
        assert SessionStore(session.session_key)["user"] == 7


def test_the_cache_takes_a_login_in_its_location_or_its_options(guarded):
    address = guarded.address("cache")
    for number, configured in enumerate([
        caches_with(f"{IN_URL}{address}"),
        caches_with(with_login(guarded.unix_url("cache"))),
        caches_with(address, username="web", password="p@ss w/rd"),
        caches_with(with_login(guarded.url("cache"), "web:old@"), username="cron", password="other"),
    ]):
        with override_settings(CACHES=configured):
            caches["default"].set("k", number)
            assert caches["default"].get("k") == number


def test_a_wrong_login_is_no_outage_that_ignore_exc_hides(guarded):
    with override_settings(CACHES=caches_with(guarded.address("cache"), ignore_exc=True,
                                              username="web", password="wrong")):
        with pytest.raises(stayd.LoginRefused):
            caches["default"].get("k")


@pytest.mark.parametrize("options", [{"username": "web"}, {"password": "x"},
                                     {"username": "w b", "password": "x"}])
def test_half_a_login_in_the_options_is_a_mistake_that_is_named(options):
    with override_settings(CACHES=caches_with("127.0.0.1:1", **options)):
        with pytest.raises(ImproperlyConfigured, match="bytes without"):
            caches["default"].get("k")
