"""While a site moves to stayd, and while it leaves stayd, nobody is logged out, and no logout is undone."""

import importlib
import random
import sys
import time

import pytest
import test_migration
from django.contrib.sessions.backends.base import CreateError
from django.test import Client as Browser
from django.test.utils import override_settings
from stayd.django import session_cache, session_sources
from stayd.django.session_backend import SessionStore
from stayd.django.session_items import RESERVATION, SessionsUnreachable
from stayd.django.session_names import digest_name, earlier_name
from stayd.django.session_sources import Stored
from stayd.django.session_transition import TransitionSessionItems
from support.servers import Memcached
from test_session_moves import KEY, NAME, Killed, Pool, Process

memcached, places = test_migration.memcached, test_migration.places

ENGINES = {
    "db": "django.contrib.sessions.backends.db",
    "cached_db": "django.contrib.sessions.backends.cached_db",
    "file": "django.contrib.sessions.backends.file",
    "cache:old": "django.contrib.sessions.backends.cache",
}
LEAVING = "stayd.django.session_leaving"


def on(engine, **settings):
    """The site with this engine."""
    return override_settings(SESSION_ENGINE=engine, **settings)


def before(place):
    """The site before it moves."""
    return on(ENGINES[place])


def moving(place):
    """The site on stayd, which also looks in the earlier back end."""
    return override_settings(SESSION_CACHE_MIGRATE_FROM=place)


def leaving(place):
    """The site that leaves stayd. The module is loaded again, because it is made for the target in the
    settings."""
    sys.modules.pop(LEAVING, None)
    return on(LEAVING, SESSION_CACHE_MIGRATE_TO=place)


def visit(browser=None):
    """A browser with the same cookies, in a process with the current settings."""
    later = Browser()
    if browser is not None:
        later.cookies = browser.cookies.copy()
    return later


def log_in():
    browser = Browser()
    answer = browser.post("/login/", {"username": "anna", "password": "secret"})
    assert answer.content == b"welcome"
    return browser


def who(browser):
    """The name of the user that the site sees, in a process with the current settings."""
    return visit(browser).get("/who/").content.decode()


def key_of(browser):
    return browser.cookies["sessionid"].value


@pytest.mark.parametrize("place", ENGINES)
def test_nobody_is_logged_out_by_the_move(places, user, place):
    with before(place):
        browser, other = log_in(), log_in()
        assert visit(browser).get("/count/").content == b"1"
    assert who(visit(other)) == "nobody"  # without the setting
    with moving(place):
        assert who(browser) == who(other) == "anna"
        assert visit(browser).get("/count/").content == b"2"
    assert who(browser) == "anna"  # all of it is in stayd
    assert visit(browser).get("/count/").content == b"3"


@pytest.mark.parametrize("place", ENGINES)
def test_processes_on_both_sides_serve_the_same_users(places, user, place):
    with before(place):
        first = log_in()
    with moving(place):
        second = log_in()
        assert visit(first).get("/count/").content == b"1"
        assert visit(second).get("/count/").content == b"1"
    with before(place):
        assert who(first) == who(second) == "anna"
        assert visit(second).get("/count/").content == b"2"
    with moving(place):
        visit(second).post("/logout/")
        assert who(second) == "nobody" and who(first) == "anna"
    with before(place):
        assert who(second) == "nobody" and who(first) == "anna"


@pytest.mark.parametrize("place", ENGINES)
def test_a_copy_expires_with_the_session(daemon, places, place):
    (key,) = test_migration.fill(place, 1)
    with moving(place):
        assert SessionStore(key).load()["n"] == 0
    assert abs(test_migration.expiry_of(daemon, key) - (time.time() + 5000)) < 600


@pytest.mark.parametrize("place", ENGINES)
def test_made_up_cookies_find_nothing(places, user, place):
    with moving(place):
        for cookie in ("made-up-by-somebody", "x" * 300, "k\u00e9y-k\u00e9y-k\u00e9y", "../../etc/passwd",
                       "a b", ""):
            browser = Browser()
            browser.cookies["sessionid"] = cookie
            assert browser.get("/who/").content == b"nobody"
    assert session_cache.client().stats()["curr_items"] == 0


def test_an_outage_of_the_earlier_back_end_is_an_error_and_no_logout(places, user):
    with Memcached() as server:
        old = {"BACKEND": test_migration.DEBIANS, "LOCATION": server.address()}
        with override_settings(CACHES={"default": old, "old": old}):
            with before("cache:old"):
                browser = log_in()
            with moving("cache:old"):
                known = log_in()
                server.kill9()
                with pytest.raises(Exception) as error:
                    visit(browser).get("/who/")
                assert isinstance(error.value, OSError)
                assert who(known) == "anna"  # stayd has it
                assert visit(known).get("/count/").content == b"1"  # and stayd saves it, with a warning
                server.start()


def test_an_outage_of_stayd_is_an_error_and_no_logout(own_daemon, database, user):
    with moving("db"):
        browser = log_in()
        own_daemon.kill9()
        with pytest.raises(SessionsUnreachable):
            visit(browser).get("/count/")
        own_daemon.start()
        assert who(browser) == "anna"


class Shelf:
    """A Source on a dict. Each request first passes the pool's gate."""

    name = "the test's shelf"

    def __init__(self, pool):
        self.pool, self.data = pool, {KEY: {"by": "first"}}

    def find(self, key):
        self.pool.gate()
        found = self.data.get(key)
        return None if found is None else Stored(found, int(time.time()) + 1000)

    def update(self, key, data):
        self.pool.gate()
        if key in self.data:
            self.data[key] = data

    def delete(self, key):
        self.pool.gate()
        self.data.pop(key, None)


class Coder:
    """Encodes and decodes values as a session store does."""

    encode = staticmethod(lambda data: data["by"].encode())
    decode = staticmethod(lambda value: {"by": value.decode()})


def save(name):
    """A request that loads the session and saves it."""

    def action(items):
        found = items.find(KEY)
        return "nobody" if found is None else items.save(KEY, name.encode(), 1000, found)

    return action


SAVES = {name: save(name) for name in ("one", "two", "three")}


def run(seed, actions, check):
    """Runs the actions in an order that the seed decides. Some of the saves die."""
    choose = random.Random(seed)
    pool = Pool()
    shelf = Shelf(pool)
    items = TransitionSessionItems(pool, shelf)
    items._store = Coder
    processes = {name: Process(pool, lambda a=a: a(items)) for name, a in actions.items()}
    running = dict(processes)
    while running:
        name = choose.choice(sorted(running))
        for _ in range(choose.choice((1, 1, 2, 9))):
            if name in SAVES and choose.random() < 0.05:
                running[name].kill()
            else:
                running[name].step()
            if running[name].is_over:
                del running[name]
                break
            check(pool, shelf, processes)
        check(pool, shelf, processes)
    return pool, shelf, processes


def test_what_was_logged_out_never_comes_back_from_the_earlier_back_end():
    def check(pool, shelf, processes):
        if processes["logout"].is_over:
            assert KEY not in shelf.data
            assert pool.items.get(NAME, (RESERVATION,))[0] == RESERVATION

    actions = {**SAVES, "load": lambda items: items.find(KEY), "logout": lambda items: items.delete(KEY)}
    for seed in range(400):
        run(seed, actions, check)


def test_a_session_is_there_at_every_moment_of_the_move():
    def check(pool, shelf, processes):
        assert KEY in shelf.data

    loads = {name: lambda items: items.find(KEY) is not None for name in ("load", "again")}
    for seed in range(300):
        _, _, processes = run(seed, {**SAVES, **loads}, check)
        for name, process in processes.items():
            assert process.result in ((True, "killed") if name in SAVES else (True,))


def test_the_schedules_reach_what_they_are_for(monkeypatch):
    """If the copy does not read again after its reservation, a session comes back, and some schedule finds
    that."""
    find = Shelf.find
    seen = {}

    def careless(self, key):
        seen.setdefault(self, find(self, key))
        return seen[self]

    monkeypatch.setattr(Shelf, "find", careless)
    returned = 0
    actions = {**SAVES, "logout": lambda items: items.delete(KEY)}
    for seed in range(200):
        pool, _, _ = run(seed, actions, lambda *_: None)
        returned += pool.items.get(NAME, (RESERVATION,))[0] != RESERVATION
    assert returned > 0 and issubclass(Killed, BaseException)


@pytest.mark.parametrize("place", ENGINES)
def test_nobody_is_logged_out_by_leaving(places, user, place):
    browser, other = log_in(), log_in()
    assert visit(browser).get("/count/").content == b"1"
    with leaving(place):
        assert who(browser) == "anna"
        assert visit(browser).get("/count/").content == b"2"
        third = log_in()
        visit(other).post("/logout/")
        assert who(other) == "nobody" and who(third) == "anna"
    assert session_cache.client().stats()["curr_items"] == 0
    with before(place):
        assert who(browser) == who(third) == "anna"
        assert visit(browser).get("/count/").content == b"3"


def test_a_session_of_version_0_1_leaves_too(places, user):
    browser = log_in()
    client, key = session_cache.client(), key_of(browser)
    data = SessionStore().serializer().dumps(SessionStore(key).load())
    client.delete(digest_name(key))
    client.set(earlier_name(key), data, 1000)
    with leaving("db"):
        assert who(browser) == "anna"
    assert client.stats()["curr_items"] == 0


def test_a_logout_while_the_session_leaves_is_not_undone(places, user, monkeypatch):
    browser = log_in()
    with leaving("db"):
        store = importlib.import_module(LEAVING).SessionStore(key_of(browser))
        base_save = type(store).__mro__[1].save

        def save_after_logout(self, must_create=False):
            session_cache.client().delete(digest_name(key_of(browser)))
            base_save(self, must_create)

        monkeypatch.setattr(type(store).__mro__[1], "save", save_after_logout)
        assert store.load() == {} and store.session_key is None
        monkeypatch.undo()
        assert who(browser) == "nobody"


def test_two_requests_move_a_session_that_leaves_once(places, user, monkeypatch):
    browser = log_in()
    with leaving("db"):
        store = importlib.import_module(LEAVING).SessionStore(key_of(browser))
        base = type(store).__mro__[1]

        def lose(self, must_create=False):
            monkeypatch.undo()
            assert who(browser) == "anna"
            raise CreateError

        monkeypatch.setattr(base, "save", lose)
        assert store.load()["_auth_user_id"] == str(user.pk)
        assert store.session_key == key_of(browser)


def test_leaving_needs_a_place_to_go_to(daemon):
    sys.modules.pop(LEAVING, None)
    with pytest.raises(session_sources.ImproperlyConfigured, match="SESSION_CACHE_MIGRATE_TO"):
        importlib.import_module(LEAVING)
