"""The session store compared with Django's own cache sessions: both must behave in the same way.

Tests with `new_session` or `session` run on both stores. The list follows the behaviours that
Django's own test suite asks of every session back end.
"""

import base64
import importlib
import logging
import pickle
import re
import threading
from datetime import datetime, timedelta

import django
import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.management.commands import clearsessions
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings
from django.utils import timezone
from stayd.django import session_backend
from stayd.django.session_backend import SessionStore
from stayd.django.session_cache import cache as session_cache
from stayd.django.session_names import digest_name
from support.servers import wait_until

DJANGOS = "django.contrib.sessions.backends.cache"
STAYD = "stayd.django.session_backend"

YEAR_S = 365 * 86400


@pytest.fixture(params=[STAYD, DJANGOS], ids=["stayd", "django"])
def new_session(request, daemon):
    """Makes sessions of either store on the sessions pool."""
    backend = "django.core.cache.backends.memcached.PyMemcacheCache"
    caches = {"default": {"BACKEND": backend, "LOCATION": daemon.address("sessions")}}
    with override_settings(SESSION_ENGINE=request.param, CACHES=caches):
        yield importlib.import_module(request.param).SessionStore


@pytest.fixture
def session(new_session):
    return new_session()


def test_a_new_session_is_empty_and_neither_read_nor_changed(session):
    assert session.is_empty()
    assert (session.accessed, session.modified) == (False, False)
    assert session.session_key is None


def test_reading_marks_a_session_as_accessed_and_not_as_modified(new_session):
    for read in (
        lambda session: session.get("k"),
        lambda session: "k" in session,
        lambda session: session.has_key("k"),
        lambda session: list(session.keys()),
        lambda session: list(session.values()),
        lambda session: list(session.items()),
        lambda session: session.pop("k", "default"),
        lambda session: session.get_expiry_age(),
    ):
        session = new_session()
        read(session)
        assert (session.accessed, session.modified) == (True, False)


def test_changing_marks_a_session_as_modified(new_session):
    for change in (
        lambda session: session.__setitem__("k", 1),
        lambda session: session.update({"k": 1}),
        lambda session: session.setdefault("k", 1),
        lambda session: session.clear(),
        lambda session: session.set_expiry(10),
        lambda session: session.set_test_cookie(),
    ):
        session = new_session()
        change(session)
        assert (session.accessed, session.modified) == (True, True)


def test_a_session_works_as_a_dict(session):
    session["a"] = 1
    session.update({"b": 2})
    assert session.setdefault("a", 5) == 1
    assert session.setdefault("c", 3) == 3
    assert sorted(session.keys()) == ["a", "b", "c"]
    assert sorted(session.values()) == [1, 2, 3]
    assert sorted(session.items()) == [("a", 1), ("b", 2), ("c", 3)]
    assert session.pop("a") == 1
    assert session.pop("a", default="gone") == "gone"
    with pytest.raises(KeyError):
        session.pop("a")
    with pytest.raises(KeyError):
        session["a"]
    del session["b"]
    assert "b" not in session


def test_a_saved_session_is_there_for_the_next_request(session, new_session):
    session["user"] = "anna"
    session.save()
    assert session.exists(session.session_key)
    again = new_session(session.session_key)
    assert again["user"] == "anna"
    assert dict(again.items()) == {"user": "anna"}
    assert not again.is_empty()


def test_saving_a_session_changes_nothing_in_it(session):
    session["a"] = "b"
    session.save()
    session.save()
    assert session["a"] == "b"


def test_create_stores_an_empty_session_under_a_new_key(session, new_session):
    session.create()
    assert session.modified
    assert re.fullmatch("[a-z0-9]{32}", session.session_key)
    assert session.exists(session.session_key)
    assert dict(new_session(session.session_key).items()) == {}


def test_a_session_is_not_created_by_reading_one_that_is_not_there(new_session):
    session = new_session("someunknownkey")
    assert dict(session.items()) == {}
    assert session.session_key is None
    assert session.is_empty()
    session["a"] = 1
    session.save()
    assert session.session_key != "someunknownkey"
    assert not new_session().exists("someunknownkey")


def test_a_deleted_session_is_gone(session, new_session):
    session.create()
    key = session.session_key
    session.delete(key)
    assert not session.exists(key)
    assert dict(new_session(key).items()) == {}
    session.delete(key)


def test_delete_without_a_key_deletes_this_session_or_nothing(session, new_session):
    new_session().delete()
    session.create()
    session.delete()
    assert not session.exists(session.session_key)


def test_flush_removes_the_session_and_its_key(session):
    session["a"] = 1
    session.save()
    key = session.session_key
    session.flush()
    assert not session.exists(key)
    assert session.session_key is None
    assert session.is_empty()
    assert (session.accessed, session.modified) == (True, True)
    session.save()
    assert session.session_key != key


def test_cycle_key_keeps_the_data_under_a_new_key_alone(session, new_session):
    session["a"] = 1
    session.save()
    key = session.session_key
    session.cycle_key()
    assert session.session_key != key
    assert session["a"] == 1
    assert not session.exists(key)
    assert new_session(session.session_key)["a"] == 1


def test_cycle_key_of_a_session_that_was_not_read_yet_keeps_its_data(session, new_session):
    session["a"] = 1
    session.save()
    other = new_session(session.session_key)
    other.cycle_key()
    assert other["a"] == 1
    assert new_session(other.session_key)["a"] == 1


def test_cycle_key_of_a_new_session_creates_it(session):
    session["a"] = 1
    session.cycle_key()
    assert session.exists(session.session_key)


def test_a_save_that_must_create_refuses_a_taken_key(session, new_session):
    session["a"] = 1
    session.save()
    second = new_session(session.session_key)
    with pytest.raises(CreateError):
        second.save(must_create=True)
    assert new_session(session.session_key)["a"] == 1


def test_a_save_that_must_create_stores_an_unread_session_empty(new_session):
    session = new_session("eightormore")
    session.save(must_create=True)
    assert dict(new_session("eightormore").items()) == {}
    assert new_session().exists("eightormore")


def test_a_save_of_a_session_that_was_deleted_meanwhile_revives_nothing(session, new_session):
    session["a"] = 1
    session.save()
    other = new_session(session.session_key)
    other["b"] = 2
    session.delete()
    with pytest.raises(UpdateError):
        other.save()
    assert not new_session().exists(other.session_key)


def test_a_save_without_a_load_of_a_session_that_is_gone_goes_to_no_other_key(daemon):
    """The save begins with a load, which drops the session key. As text, that key is then "None"."""
    connection = daemon.connect("sessions")
    names = [digest_name("None").encode(), b"1None"]
    for name in names:
        connection.set(name, b"planted")
    with pytest.raises(UpdateError):
        SessionStore("eightormore").save()
    for name in names:
        assert connection.get(name) == b"planted"


@pytest.mark.parametrize("key", ["", "1234567"])
def test_a_session_key_of_less_than_eight_characters_counts_as_none(new_session, key):
    assert new_session(key).session_key is None


def test_the_session_key_can_not_be_assigned(session):
    with pytest.raises(AttributeError):
        session.session_key = "x" * 32


@pytest.mark.parametrize(
    "key", ["k" * 300, "k" * 100_000, "two words key", "line\nbreak", "nul\0nul\0nul", "\udcff" * 8]
)
def test_a_cookie_that_can_be_no_key_is_a_new_session(new_session, key):
    session = new_session(key)
    assert dict(session.items()) == {}
    assert session.session_key is None


@pytest.mark.parametrize("key", ["k" * 300, "two words key", "line\nbreak"])
def test_a_cookie_that_can_be_no_key_exists_not_and_is_deleted_without_an_error(daemon, key):
    assert SessionStore().exists(key) is False
    SessionStore().delete(key)
    session = SessionStore(key)
    session._session_cache = {"a": 1}
    with pytest.raises(UpdateError):
        session.save()


def test_the_expiry_age_is_that_of_the_settings_unless_set(session):
    assert session.get_expiry_age() == settings.SESSION_COOKIE_AGE
    session.set_expiry(10)
    assert session.get_expiry_age() == 10
    session.set_expiry(None)
    session.set_expiry(None)
    assert session.get_expiry_age() == settings.SESSION_COOKIE_AGE


@pytest.mark.parametrize("as_date", [False, True])
def test_an_expiry_may_be_a_date_or_a_difference_and_is_saved(session, new_session, as_date):
    difference = timedelta(seconds=100)
    session.set_expiry(timezone.now() + difference if as_date else difference)
    assert session.get_expiry_age() in (99, 100)
    session.save()
    again = new_session(session.session_key)
    assert again.get_expiry_age() in (98, 99, 100)
    left = again.get_expiry_date() - timezone.now()
    assert timedelta(seconds=90) < left <= difference
    assert not again.get_expire_at_browser_close()


def test_an_expiry_without_a_time_zone_is_saved_too(daemon):
    with override_settings(USE_TZ=False):
        session = SessionStore()
        session.set_expiry(datetime.now() + timedelta(seconds=100))
        session.save()
        assert SessionStore(session.session_key).get_expiry_age() in (98, 99, 100)


def test_the_expiry_date_follows_the_age_and_the_moment_given(session):
    session.set_expiry(10)
    now = timezone.now()
    assert session.get_expiry_date(modification=now) == now + timedelta(seconds=10)
    assert session.get_expiry_age(modification=now, expiry=20) == 20
    date = now + timedelta(seconds=30)
    assert session.get_expiry_age(modification=now, expiry=date) == 30
    assert session.get_expiry_date(modification=now, expiry=date) == date


def test_a_session_may_end_with_the_browser(new_session):
    for by_default, expiry, ends in (
        (False, 10, False), (False, 0, True), (False, None, False),
        (True, 10, False), (True, 0, True), (True, None, True),
    ):
        with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=by_default):
            session = new_session()
            session.set_expiry(expiry)
            assert session.get_expire_at_browser_close() is ends


@pytest.mark.parametrize("expiry", [-1, -3600])
def test_a_session_whose_time_is_over_is_gone(session, new_session, expiry):
    session["a"] = 1
    session.save()
    session.set_expiry(expiry)
    session.save()
    assert "a" not in new_session(session.session_key)


def test_a_session_ends_at_its_second(session, new_session):
    session["a"] = 1
    session.set_expiry(2)
    session.save()
    assert new_session(session.session_key)["a"] == 1
    wait_until(lambda: "a" not in new_session(session.session_key), what="the end of the session")
    with pytest.raises(UpdateError):
        session.save()


def test_a_session_may_last_longer_than_thirty_days(session, new_session):
    session["a"] = 1
    for age_s in (30 * 86400, 30 * 86400 + 1, YEAR_S):
        session.set_expiry(age_s)
        session.save()
        assert new_session(session.session_key)["a"] == 1


def test_clear_expired_is_nothing_and_no_error(new_session):
    assert new_session.clear_expired() is None
    clearsessions.Command().handle()


def test_what_was_encoded_is_decoded(session):
    data = {"a": [1, None, {"b": "\u20ac"}]}
    assert session.decode(session.encode(data)) == data


def test_text_that_is_no_session_is_an_empty_one_and_reported(session, caplog):
    with caplog.at_level(logging.WARNING, "django.security.SuspiciousSession"):
        assert session.decode(base64.b64encode(b"flaskdj:alkdjf").decode()) == {}
    assert "Session data corrupted" in caplog.text


def test_the_pool_holds_readable_json_under_a_digest(saved, daemon):
    stored = daemon.connect("sessions").get(saved.cache_key.encode())
    assert stored == b'{"user":"anna"}'
    assert re.fullmatch("[A-Za-z0-9_-]{24}", saved.cache_key)


def test_a_save_is_one_request_and_a_login_two(saved, daemon):
    connection = daemon.connect("sessions")

    def requests():
        stats = connection.stats()
        return int(stats["cmd_get"]), int(stats["cmd_set"])

    session = SessionStore(saved.session_key)
    session["a"] = 1
    reads, writes = requests()
    session.save()
    assert requests() == (reads, writes + 1)
    SessionStore().create()
    assert requests() == (reads, writes + 2)


@pytest.mark.parametrize(
    "planted",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b'"text"',
        b"null",
        b"\xff\xfe",
        b"[" * 200_000,
        pickle.dumps({"user": "anna"}),
        pickle.dumps({"user": "anna"}, protocol=0),
    ],
    ids=lambda planted: repr(planted[:12]),
)
@pytest.mark.parametrize("flags", [0, 1])
def test_what_is_no_session_is_an_empty_one_with_its_key(saved, daemon, caplog, planted, flags):
    key = saved.cache_key.encode()
    assert daemon.connect("sessions").set(key, planted, flags=flags) == b"STORED"
    session = SessionStore(saved.session_key)
    with caplog.at_level(logging.WARNING, "django.security.SuspiciousSession"):
        assert dict(session.items()) == {}
    assert "Session data corrupted" in caplog.text
    assert session.session_key == saved.session_key
    session["user"] = "otto"
    session.save()
    assert SessionStore(saved.session_key)["user"] == "otto"


sprung = []


def spring():
    """What the trap does when somebody unpickles it."""
    sprung.append(True)


class Trap:
    """Its pickle calls `spring` when it is read."""

    def __reduce__(self):
        return spring, ()


def test_a_pickle_planted_in_the_pool_is_never_executed(saved, daemon):
    connection = daemon.connect("sessions")
    for flags in range(64):
        for value in (pickle.dumps(Trap()), base64.b64encode(pickle.dumps(Trap()))):
            connection.set(saved.cache_key.encode(), value, flags=flags)
            session = SessionStore(saved.session_key)
            assert dict(session.items()) == {}
            assert session.exists(saved.session_key)
            session.save()
    assert not sprung
    pickle.loads(pickle.dumps(Trap()))
    assert sprung, "the trap itself does not work"


@pytest.mark.parametrize("name", ["Opaque", "PickleSerializer"])
def test_a_serializer_that_pickles_is_refused(daemon, name):
    with override_settings(SESSION_SERIALIZER=f"serializers.{name}"):
        with pytest.raises(ImproperlyConfigured, match="SESSION_SERIALIZER.*pickles.*Use"):
            SessionStore()


@pytest.mark.skipif(django.VERSION >= (5,), reason="Django 5.0 has none")
def test_djangos_own_pickle_serializer_is_refused(daemon):
    name = "django.contrib.sessions.serializers.PickleSerializer"
    with override_settings(SESSION_SERIALIZER=name):
        with pytest.raises(ImproperlyConfigured, match="pickles"):
            SessionStore()


def test_a_serializer_of_the_sites_own_is_used(daemon):
    with override_settings(SESSION_SERIALIZER="serializers.Shouting"):
        session = SessionStore()
        session["a"] = "b"
        session.save()
        assert dict(SessionStore(session.session_key).items()) == {"A": "B"}


def test_what_json_cannot_express_is_an_error_that_names_the_entry(saved):
    saved["when"] = object()
    with pytest.raises(TypeError, match="'when'.*JSON's own types"):
        saved.save()
    assert "when" not in SessionStore(saved.session_key)


@pytest.mark.parametrize("url", [None, "", "redis://127.0.0.1/", "memcached://127.0.0.1/"])
def test_a_store_without_a_valid_session_cache_is_improperly_configured(daemon, url):
    with override_settings(SESSION_CACHE=url):
        with pytest.raises(ImproperlyConfigured, match="SESSION_CACHE"):
            SessionStore()


def test_the_session_cache_follows_the_setting(daemon):
    assert session_cache.url == daemon.url("sessions")
    with override_settings(SESSION_CACHE=daemon.unix_url("sessions")):
        assert session_cache.url == daemon.unix_url("sessions")
        session = SessionStore()
        session.create()
    assert SessionStore().exists(session.session_key)


def test_concurrent_saves_of_many_sessions_mix_nothing_up(daemon):
    errors = []

    def visitor(number):
        try:
            session = SessionStore()
            session["number"] = number
            session.save()
            for visit in range(30):
                session = SessionStore(session.session_key)
                assert session["number"] == number
                assert session.get("visit", -1) == visit - 1
                session["visit"] = visit
                session.save()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=visitor, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors


def test_a_save_never_revives_a_session_that_is_deleted_at_the_same_time(daemon):
    """Django's own store looks first and then writes: its write undoes a delete in between."""
    for _ in range(200):
        session = SessionStore()
        session["a"] = 1
        session.save()
        other = SessionStore(session.session_key)
        other["a"] = 2
        barrier = threading.Barrier(2)

        def save():
            barrier.wait()
            try:
                other.save()
            except UpdateError:
                pass

        thread = threading.Thread(target=save)
        thread.start()
        barrier.wait()
        session.delete()
        thread.join()
        assert not session.exists(session.session_key)


def test_a_store_is_set_up_as_djangos_own_base_does_it(daemon, monkeypatch):
    """SessionStore leaves out SessionBase.__init__, which is right only while that sets the known
    attributes."""
    assert session_backend._BASE_IS_KNOWN
    stores = [SessionStore("k" * 32)]
    monkeypatch.setattr(session_backend, "_BASE_IS_KNOWN", False)
    stores.append(SessionStore("k" * 32))
    assert vars(stores[0]) == vars(stores[1])
