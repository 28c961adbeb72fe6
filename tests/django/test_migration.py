"""Moving in: the command that copies all sessions from each of Django's back ends, and its messages."""

import io
import logging
import shutil
import signal
import time

import django
import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command, execute_from_command_line
from django.test.utils import override_settings
from sitesettings import caches_at
from stayd.django import checks, session_cache, session_copying, session_sources
from stayd.django.session_backend import SessionStore
from stayd.django.session_items import RESERVATION
from stayd.django.session_names import digest_name
from support.redis import REDIS, Redis
from support.servers import Memcached

DEBIANS = "django.core.cache.backends.memcached.PyMemcacheCache"


@pytest.fixture(scope="module")
def memcached():
    """memcached without the thread that moves items between its LRU lists: the list of all keys may lack
    an item that is being moved."""
    with Memcached(options=["-o", "no_lru_maintainer"]) as server:
        yield server


@pytest.fixture
def places(daemon, database, memcached, tmp_path):
    """Everything that sessions can be moved from, empty."""
    from django.contrib.sessions.backends import file
    from django.contrib.sessions.models import Session

    Session.objects.all().delete()
    memcached.connect().ask(b"flush_all\r\n", b"OK\r\n")
    if hasattr(file.SessionStore, "_storage_path"):
        del file.SessionStore._storage_path
    with override_settings(
        SESSION_FILE_PATH=str(tmp_path), SESSION_CACHE_ALIAS="old",
        CACHES={**caches_at(daemon.address("cache")),
                "old": {"BACKEND": DEBIANS, "LOCATION": memcached.address(), "KEY_PREFIX": "site"},
                "ours": {**caches_at(daemon.address("cache"))["default"]},
                "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    ):
        yield
    if hasattr(file.SessionStore, "_storage_path"):
        del file.SessionStore._storage_path


def old_store(place, key=None):
    return session_sources.named(place).store(key)


def fill(place, count, age_s=5000):
    """Sessions {"n": number} in a back end of Django's; returns their keys."""
    keys = []
    for number in range(count):
        session = old_store(place)
        session["n"] = number
        session.set_expiry(age_s + number)
        session.save()
        keys.append(session.session_key)
    return keys


def migrate(place, *arguments, setting=True):
    """(the exit status, what the command printed)"""
    out, error = io.StringIO(), io.StringIO()
    try:
        with override_settings(SESSION_CACHE_MIGRATE_FROM=place if setting else None):
            call_command("stayd_migrate_sessions", "--from", place, *arguments, stdout=out, stderr=error)
    except CommandError as fault:
        return fault.returncode, out.getvalue() + str(fault)
    return 0, out.getvalue()


def expiry_of(daemon, key):
    """When the session expires, in Unix seconds, as the daemon reports it."""
    name = digest_name(key)
    raw = daemon.connect("sessions")
    raw.send(f"mg {name} t\r\n".encode())
    return time.time() + int(raw.read_line().split(b"t")[-1])


PLACES = ["db", "cached_db", "file", "cache:old", "cache:ours",
          "django.contrib.sessions.backends.cached_db"]


@pytest.mark.parametrize("place", PLACES)
def test_all_sessions_are_copied_with_their_expiry(daemon, places, place):
    keys = fill(place, 3)
    status, text = migrate(place)
    assert status == 0 and "3 copied" in text
    for number, key in enumerate(keys):
        assert SessionStore(key).load()["n"] == number
        assert abs(expiry_of(daemon, key) - (time.time() + 5000 + number)) < 600
    assert old_store(place, keys[0]).load()["n"] == 0, "it must stay there too"
    status, text = migrate(place)
    assert status == 0 and " 0 copied" in text and "3 already there" in text


def test_some_thousand_sessions(places):
    store = old_store("db")
    session_class = store.model
    text = store.encode({"visits": 1, "name": "x" * 50})
    date = session_sources._date(int(time.time()) + 5000)
    session_class.objects.bulk_create(
        [session_class(session_key=f"{number:032}", session_data=text, expire_date=date)
         for number in range(2000)], batch_size=300)
    status, text = migrate("db")
    assert status == 0 and "2,000 copied" in text
    assert session_cache.client().stats()["curr_items"] == 2000
    assert SessionStore(f"{1999:032}").load()["visits"] == 1


def test_a_dry_run_changes_nothing(places):
    fill("db", 2)
    (there,) = fill("cache:old", 1)
    status, text = migrate("db", "--dry-run", setting=False)
    assert status == 0 and "2 copied" in text and "dry run" in text
    assert session_cache.client().stats()["curr_items"] == 0
    status, text = migrate("cache:old", "--dry-run")
    assert SessionStore(there).load() == {}


def test_what_does_not_decode_is_counted_and_the_rest_is_copied(places, caplog):
    good, bad, other = fill("db", 3)
    table = old_store("db").model.objects
    table.filter(session_key=bad).update(session_data="rubbish")
    with override_settings(SECRET_KEY="another"):
        text = old_store("db").encode({"n": 1})
    table.filter(session_key=other).update(session_data=text)
    caplog.set_level(logging.CRITICAL)
    status, text = migrate("db")
    assert status == 1 and "1 copied" in text and "2 unreadable" in text and "Not copied: 2" in text
    assert SessionStore(good).load()["n"] == 0 and SessionStore(bad).load() == {}


def test_rubbish_in_a_cache_and_in_a_folder(places, tmp_path):
    (key,) = fill("cache:old", 1)
    store = old_store("cache:old", key)
    store._cache.set(store.cache_key, "no dict", 1000)
    assert migrate("cache:old")[0] == 1
    fill("file", 1)
    (tmp_path / f"sessionid{'a' * 32}").write_bytes(b"\xff\x00")
    (tmp_path / "sessionid").write_text("")
    (tmp_path / "sessionid_out_x").write_text("")
    status, text = migrate("file")
    assert status == 1 and "1 copied" in text and "1 unreadable" in text


def test_what_the_serializer_cannot_express_is_refused_by_name(places):
    """A cache pickles its sessions, so they may hold anything."""
    store = old_store("cache:old")
    store["when"] = {1, 2}
    store.save()
    status, text = migrate("cache:old")
    assert status == 1 and "1 refused" in text and "'when'" in text
    assert store.session_key not in text, "no output may hold a session key"


def test_sessions_that_expire_meanwhile_are_not_copied(places, monkeypatch):
    keys = fill("db", 3)
    find_many = session_sources.DatabaseSource.find_many

    def find_later(self, some):
        old_store("db").model.objects.filter(session_key=keys[0]).update(
            expire_date=session_sources._date(int(time.time()) - 1))
        old_store("db").delete(keys[1])
        return find_many(self, some)

    monkeypatch.setattr(session_sources.DatabaseSource, "find_many", find_later)
    status, text = migrate("db")
    assert status == 0 and "1 copied" in text and "2 ended or expired meanwhile" in text
    assert [SessionStore(key).load() == {} for key in keys] == [True, True, False]


def test_it_goes_on_after_an_interruption(places, monkeypatch):
    keys = fill("db", 12)
    monkeypatch.setattr(session_sources, "CHUNK", 5)
    copy = session_copying.PoolTarget.copy
    calls = []

    def interrupted(self, *arguments):
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        copy(self, *arguments)

    monkeypatch.setattr(session_copying.PoolTarget, "copy", interrupted)
    status, text = migrate("db")
    assert status == 130 and "5 copied" in text and "Run the command again" in text
    status, text = migrate("db")
    assert status == 0 and "7 copied" in text and "5 already there" in text
    assert all(SessionStore(key).load() for key in keys)


def test_a_copy_that_died_leaves_nothing_in_the_way(places):
    """The reservations of the copy that died do not count as sessions, and the next copy takes them over."""
    (key,) = fill("db", 1)
    session_cache.client().add(digest_name(key), RESERVATION, 60)
    assert "1 copied" in migrate("db")[1]
    assert SessionStore(key).load()["n"] == 0


def test_reservations_that_expire_are_made_again(places, monkeypatch):
    """On a slow machine a chunk may take longer than its reservations last. A logout removes a reservation
    for good."""
    late, ended, key = fill("db", 3)
    find_many = session_sources.DatabaseSource.find_many
    calls = []

    def find_late(self, some):
        found = find_many(self, some)
        if not calls:
            session_cache.client().delete(digest_name(late))
            old_store("db").delete(ended)
            session_cache.client().delete(digest_name(ended))
        calls.append(1)
        return found

    monkeypatch.setattr(session_sources.DatabaseSource, "find_many", find_late)
    status, text = migrate("db")
    assert status == 0 and "2 copied" in text and "1 ended" in text and len(calls) == 2
    assert SessionStore(late).load() and SessionStore(key).load() and not SessionStore(ended).load()


def test_a_newer_session_in_stayd_is_not_overwritten(places):
    (key,) = fill("db", 1)
    migrate("db")
    session = SessionStore(key)
    session["n"] = "newer"
    session.save()
    assert "1 already there" in migrate("db")[1]
    assert SessionStore(key).load()["n"] == "newer"


def test_a_full_pool_ends_the_command_with_a_remedy(own_daemon, database):
    from django.contrib.sessions.models import Session

    Session.objects.all().delete()
    fill("db", 1)
    raw = own_daemon.connect("sessions")
    number = 0
    while raw.set(b"filler%d" % number, b"v" * 100_000) == b"STORED":
        number += 1
    while raw.set(b"small%d" % number, b"v" * 10) == b"STORED":
        number += 1
    status, text = migrate("db")
    assert status == 1 and "raise its memory" in text


def test_an_unreachable_pool_or_cache_is_an_error(places, memcached):
    fill("db", 1)
    with override_settings(SESSION_CACHE="memcached://127.0.0.1:9/?restart_wait=0"):
        status, text = migrate("db")
    assert status == 1 and "run the command again" in text
    nowhere = {"default": {"BACKEND": DEBIANS, "LOCATION": "127.0.0.1:9"}}
    with override_settings(CACHES=nowhere, SESSION_CACHE_ALIAS="default"):
        status, text = migrate("cache:default")
    assert status == 1 and "cannot be asked for its keys" in text


@pytest.mark.parametrize("place, words", [
    ("dbb", "names no session back end"), ("cache:nowhere", "CACHES has no 'nowhere'"),
    ("stayd", "session_leaving"), ("no.such.module", "names no session back end"),
    ("cache:local", "cannot be listed"), ("stayd.django.session_cache", "names no session back end"),
])
def test_an_impossible_source_is_told(places, place, words):
    status, text = migrate(place, *(["--dry-run"] if place != "stayd" else []), setting=False)
    assert status == 1 and words in text


def test_the_site_must_know_of_the_earlier_place(places):
    fill("db", 1)
    status, text = migrate("db", setting=False)
    assert status == 1 and "Set SESSION_CACHE_MIGRATE_FROM = 'db' first" in text
    assert session_cache.client().stats()["curr_items"] == 0
    with override_settings(SESSION_CACHE_MIGRATE_FROM="db"):
        call_command("stayd_migrate_sessions", stdout=io.StringIO())
    assert session_cache.client().stats()["curr_items"] == 1
    with pytest.raises(CommandError, match="Say where"):
        call_command("stayd_migrate_sessions")
    assert migrate("db", "--to", "db")[0] == 1


@pytest.mark.parametrize("target", ["db", "file", "cache:old"])
def test_between_two_of_djangos_own(places, target):
    (key,) = fill("cached_db", 1) if target != "db" else fill("cache:old", 1)
    place = "cached_db" if target != "db" else "cache:old"
    status, text = migrate(place, "--to", target)
    assert status == 0 and "1 copied" in text
    assert old_store(target, key).load()["n"] == 0
    assert "1 already there" in migrate(place, "--to", target)[1]


REDIS_CACHES = ["django_redis.cache.RedisCache"]
if django.VERSION >= (4, 0):
    REDIS_CACHES.append("django.core.cache.backends.redis.RedisCache")


@pytest.mark.parametrize("backend_name", REDIS_CACHES)
def test_from_redis(daemon, database, backend_name):
    """The prefix of the keys has characters that have a meaning in a pattern of Redis."""
    pytest.importorskip("django_redis", reason="python3-django-redis is not installed")
    if not shutil.which(REDIS):
        pytest.skip("redis-server is not there")
    with Redis() as server:
        old = {"BACKEND": backend_name, "LOCATION": f"redis://{server.address()}/1", "KEY_PREFIX": "a[b]*?"}
        with override_settings(CACHES={"old": old, "default": old}):
            keys = fill("cache:old", 3)
            caches["old"].set("other", 1)
            status, text = migrate("cache:old")
    assert status == 0 and "3 copied" in text
    for number, key in enumerate(keys):
        assert SessionStore(key).load()["n"] == number
        assert abs(expiry_of(daemon, key) - (time.time() + 5000 + number)) < 600


def test_a_memcached_that_does_not_list_its_keys(places):
    with Memcached(options=["-o", "no_lru_crawler"]) as server:
        old = {"BACKEND": DEBIANS, "LOCATION": server.address()}
        with override_settings(CACHES={"default": old}, SESSION_CACHE_ALIAS="default"):
            status, text = migrate("cache:default")
    assert status == 1 and "no_lru_crawler" in text


def test_a_wrong_setting_is_reported(daemon):
    with override_settings(SESSION_CACHE_MIGRATE_FROM="dbb"):
        assert [each.id for each in checks.check_settings(None)] == ["stayd.E009"]
        with pytest.raises(ImproperlyConfigured):
            SessionStore()
    middleware = ["stayd.django.middleware.UserSessionsMiddleware",
                  "django.contrib.sessions.middleware.SessionMiddleware"]
    with override_settings(SESSION_CACHE_MIGRATE_FROM="db", MIDDLEWARE=middleware):
        assert [each.id for each in checks.check_settings(None)] == ["stayd.E008"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("has_tqdm", [True, False])
def test_a_terminal_shows_progress(monkeypatch, has_tqdm):
    import sys

    from stayd.django import progress

    if has_tqdm:
        pytest.importorskip("tqdm")
    else:
        monkeypatch.setitem(sys.modules, "tqdm", None)
        monkeypatch.setattr(progress, "EVERY_S", 0)
    stream = Terminal()
    with progress.Progress(20, "sessions", stream) as shown:
        shown.advance(5)
        shown.advance(15)
    assert "20" in stream.getvalue() and "sessions" in stream.getvalue()
    quiet = io.StringIO()
    with progress.Progress(20, "sessions", quiet) as shown:
        shown.advance(20)
    assert quiet.getvalue() == ""


def test_it_is_a_command_of_manage_py(capsys):
    with pytest.raises(SystemExit) as end:
        execute_from_command_line(["manage.py", "stayd_migrate_sessions", "--help"])
    assert end.value.code == 0 and "--dry-run" in capsys.readouterr().out
