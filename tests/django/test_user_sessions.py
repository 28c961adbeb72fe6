"""The list of a user's sessions: what it contains, what ends a session, and what the pool stores for it."""

import asyncio
import datetime
import json
import threading
import time

import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import transaction
from django.test import AsyncRequestFactory, RequestFactory
from django.test import Client as Browser
from django.test.utils import override_settings
from sitesettings import NOWHERE, WITH_USERS
from stayd.django import checks, middleware, session_cache, session_list, sessions, user_signals
from stayd.django.session_backend import SessionStore
from stayd.django.session_items import RESERVATION
from stayd.django.session_names import digest_name, earlier_name
from support.servers import wait_until

pytestmark = pytest.mark.each_backend

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0"


@pytest.fixture(autouse=True)
def site(daemon):
    """A site with the middleware, on the shared daemon."""
    user_signals.connect()
    with override_settings(**WITH_USERS):
        yield


def logged_in(name="anna", agent=FIREFOX, **options):
    """A browser in which the user has logged in."""
    browser = Browser(HTTP_USER_AGENT=agent, **options)
    answer = browser.post("/login/", {"username": name, "password": "secret"})
    assert answer.content == b"welcome"
    return browser


def next_visit(browser):
    """A browser with the same cookies, whose requests see settings that have changed since."""
    later = Browser(HTTP_USER_AGENT=FIREFOX)
    later.cookies = browser.cookies.copy()
    return later


def key_of(browser):
    return browser.cookies["sessionid"].value


def who(browser):
    return browser.get("/who/").content.decode()


def ids(user):
    return {each.id for each in sessions.for_user(user)}


def digests(*browsers):
    return {digest_name(key_of(browser)) for browser in browsers}


def pool_keys(daemon):
    """The keys of all items in the sessions pool: anyone who reaches the pool can list them."""
    connection = daemon.connect("sessions")
    connection.send(b"lru_crawler metadump all\r\n")
    text = connection.read_until(b"END\r\n").decode()
    return [line.split()[0].removeprefix("key=") for line in text.splitlines() if "key=" in line]


def test_a_login_is_listed_with_what_is_known_of_it(user):
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)
    browser = logged_in(REMOTE_ADDR="2001:db8::7")
    (found,) = sessions.for_user(user, key_of(browser))
    assert found.id == digest_name(key_of(browser))
    assert before <= found.created <= datetime.datetime.now(datetime.timezone.utc)
    assert found.last_seen >= found.created
    assert (found.ip, found.user_agent, found.is_current) == ("2001:db8::7", FIREFOX, True)


def test_each_user_has_a_list_of_their_own(user):
    bert = User.objects.create_user("bert", password="secret")
    anna, others = logged_in(), [logged_in("bert"), logged_in("bert")]
    assert ids(user) == digests(anna)
    assert ids(bert) == digests(*others)
    assert not sessions.end(bert, digest_name(key_of(anna)))
    assert who(anna) == "anna"


def test_a_logout_leaves_the_list_and_the_pool_without_the_session(daemon, user):
    browser, other = logged_in(), logged_in()
    gone = digest_name(key_of(browser))
    browser.post("/logout/")
    assert ids(user) == digests(other)
    assert not any(gone[:18] in key for key in pool_keys(daemon))
    other.post("/logout/")
    assert pool_keys(daemon) == []


def test_a_new_session_key_takes_the_place_of_the_old_one(daemon, user):
    browser = logged_in()
    first = key_of(browser)
    browser.post("/cycle/")
    assert key_of(browser) != first
    listing = session_list.read(session_cache.client(), session_list.list_names(str(user.pk))[0])
    assert set(listing.entries) == ids(user) == digests(browser)
    assert len(pool_keys(daemon)) == 3


def test_another_users_login_in_the_same_browser_ends_the_first(user):
    bert = User.objects.create_user("bert", password="secret")
    browser = logged_in()
    browser.post("/login/", {"username": "bert", "password": "secret"})
    assert sessions.for_user(user) == [] and ids(bert) == digests(browser)


def test_a_session_that_expires_is_not_listed(user):
    browser, other = logged_in(), logged_in()
    session = SessionStore(key_of(browser))
    session.set_expiry(1)
    session.save()
    wait_until(lambda: ids(user) == digests(other), 10, "the session to expire")


def test_one_session_can_be_ended(user):
    browser, other = logged_in(), logged_in()
    assert sessions.end(user, digest_name(key_of(browser)))
    assert not sessions.end(user, digest_name(key_of(browser)))
    assert who(browser) == "nobody" and who(other) == "anna"


def test_all_sessions_or_all_others_can_be_ended(user):
    browsers = [logged_in() for _ in range(5)]
    assert sessions.end_others(user, key_of(browsers[2])) == 4
    assert [who(browser) for browser in browsers] == ["nobody"] * 2 + ["anna"] + ["nobody"] * 2
    assert sessions.end_all(user) == 1
    assert who(browsers[2]) == "nobody" and sessions.for_user(user) == []
    assert sessions.end_all(user) == 0


def test_a_request_under_way_does_not_revive_an_ended_session(user, monkeypatch):
    browser = logged_in(raise_request_exception=False)
    import testsite

    monkeypatch.setattr(testsite, "meanwhile", lambda: sessions.end_all(user))
    assert browser.get("/interrupted/").status_code == 400
    assert sessions.for_user(user) == [] and who(browser) == "nobody"


def test_a_change_of_the_password_ends_the_others(user):
    browser, other = logged_in(), logged_in()
    other_key = key_of(other)
    browser.post("/password/", {"password": "new"})
    assert who(browser) == "anna"
    assert not SessionStore().exists(other_key)
    assert ids(user) == digests(browser)


def test_a_change_that_is_rolled_back_ends_nothing(user):
    browser = logged_in()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        user.set_password("new")
        user.save()
        raise ZeroDivisionError
    assert who(browser) == "anna"
    with transaction.atomic():
        user.refresh_from_db()
        user.set_password("new")
        user.save()
        assert SessionStore().exists(key_of(browser))
    assert not SessionStore().exists(key_of(browser))


@pytest.mark.parametrize("change", ["deactivate", "delete", "only these fields"])
def test_who_is_deactivated_or_deleted_has_no_sessions(user, change):
    browser = logged_in()
    if change == "delete":
        user.delete()
    else:
        user.is_active = False
        user.save(**({"update_fields": ["is_active"]} if change != "deactivate" else {}))
    assert not SessionStore().exists(key_of(browser))


def test_another_change_of_a_user_ends_nothing(user, django_queries):
    browser = logged_in()
    user.first_name = "Anna"
    user.save()
    with django_queries() as count:
        user.save(update_fields=["first_name"])
    assert len(count) == 1
    assert who(browser) == "anna"


@pytest.fixture
def django_queries():
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    return lambda: CaptureQueriesContext(connection)


def test_a_change_goes_through_while_the_pool_is_unreachable(user, caplog):
    with override_settings(SESSION_CACHE=NOWHERE):
        user.set_password("new")
        user.save()
    assert "could not be ended" in caplog.text
    user.refresh_from_db()
    assert user.check_password("new")


def test_the_application_connects_the_signals_if_the_middleware_is_there(monkeypatch):
    from django.apps import apps

    called = []
    monkeypatch.setattr(user_signals, "connect", lambda: called.append(1))
    apps.get_app_config("stayd").ready()
    with override_settings(MIDDLEWARE=[]):
        apps.get_app_config("stayd").ready()
    assert called == [1]


def test_sessions_from_before_are_listed_when_they_are_used(user):
    with override_settings(MIDDLEWARE=WITH_USERS["MIDDLEWARE"][1:]):
        browser = logged_in()
    assert ids(user) == set()
    assert who(next_visit(browser)) == "anna"
    assert ids(user) == digests(browser)


def test_a_session_of_version_0_1_is_listed_when_it_has_moved(user, monkeypatch):
    monkeypatch.setattr(middleware, "LOOK_AGAIN_S", 0)
    browser = Browser()
    browser.force_login(user)
    key = key_of(browser)
    cache = session_cache.client()
    session = SessionStore(key)
    data = json.dumps(session.load()).encode()
    cache.delete(digest_name(key))
    cache.set(earlier_name(key), data, 1000)
    assert who(browser) == "anna" and ids(user) == set()
    browser.get("/count/")
    assert ids(user) == digests(browser)
    cache.set(earlier_name(key), data, 1000)  # left by a process that died while it moved the session
    middleware.noted.clear()
    cache.delete(session_list.about_name(digest_name(key)))
    browser.get("/who/")
    sessions.end_all(user)
    assert who(browser) == "nobody"


def test_a_page_asks_the_pool_for_no_more_than_the_session(daemon, user):
    """This holds between two notes of when the session was last seen. A page that does not use the session
    sends no request."""
    def requests(browser, page, count):
        before = daemon.connect("sessions").stats()
        for _ in range(count):
            browser.get(page)
        after = daemon.connect("sessions").stats()
        names = ("cmd_get", "cmd_set", "cmd_touch", "cmd_meta", "delete_hits", "delete_misses")
        return sum(int(after.get(n, 0)) - int(before.get(n, 0)) for n in names)

    with override_settings(MIDDLEWARE=WITH_USERS["MIDDLEWARE"][1:]):
        without = requests(logged_in(), "/who/", 10)
    browser = logged_in()
    assert requests(browser, "/who/", 10) == without <= 10
    assert requests(browser, "/plain/", 10) == 0


def test_last_seen_is_noted_once_in_a_while(user):
    browser = logged_in(REMOTE_ADDR="192.0.2.1")
    client, name = session_cache.client(), digest_name(key_of(browser))

    def seen_ago(seconds):
        about = session_list.read_about(client, [name])[name]
        moved = about._replace(seen=int(time.time()) - seconds)
        session_list.write_about(client, name, moved, 1000)
        middleware.noted.clear()
        return moved.seen

    early = seen_ago(200)
    browser.get("/who/", REMOTE_ADDR="192.0.2.2")
    (found,) = sessions.for_user(user)
    assert found.last_seen.timestamp() == max(early, found.created.timestamp())
    assert found.ip == "192.0.2.1"
    with override_settings(SESSION_CACHE_SEEN_EVERY=100):
        browser.get("/who/", REMOTE_ADDR="192.0.2.2")
    (found,) = sessions.for_user(user)
    assert found.last_seen.timestamp() > early and found.ip == "192.0.2.2"


def test_a_list_lasts_longer_than_its_sessions(user):
    """Each save extends the life of a session. The list must last as long as the session."""
    browser = logged_in()
    client, list_name = session_cache.client(), session_list.list_names(str(user.pk))[0]
    age_s = 14 * 86400

    def lasts_s():
        return session_list.read(client, list_name).lasts_until - time.time()

    assert lasts_s() > age_s + middleware.SEEN_EVERY_S
    session = SessionStore(key_of(browser))
    session.set_expiry(10 * age_s)
    session.save()
    browser.get("/who/")
    assert lasts_s() > 10 * age_s
    logged_in()  # a new session of two weeks must not shorten the list's life
    assert lasts_s() > 10 * age_s


def test_the_address_is_what_the_site_says(user):
    with override_settings(SESSION_CACHE_CLIENT_IP="test_user_sessions.forwarded"):
        logged_in(HTTP_X_FORWARDED_FOR="192.0.2.77, 10.0.0.1")
        logged_in(HTTP_X_FORWARDED_FOR="<script>, 10.0.0.1")
    assert {each.ip for each in sessions.for_user(user)} == {"192.0.2.77", ""}


def forwarded(request):
    """The function that a site behind one proxy would write."""
    return request.META["HTTP_X_FORWARDED_FOR"].split(",")[0]


def test_user_agents_are_bounded_and_printable(user):
    logged_in(agent="\x1b[31m" + "x" * 100_000)
    (found,) = sessions.for_user(user)
    assert found.user_agent == " [31m" + "x" * 251


def test_the_pool_holds_no_session_key_and_no_cookie_names_a_list(daemon, user):
    browser = logged_in()
    client = session_cache.client()
    keys = pool_keys(daemon)
    assert len(keys) == 3
    for key in keys:
        key = key.replace("%3A", ":")
        assert len(key) == 24
        assert key_of(browser) not in key and key_of(browser).encode() not in client.get(key)
        stranger = Browser()
        for cookie in (key, key[1:]):
            stranger.cookies["sessionid"] = cookie
            assert who(stranger) == "nobody"


def test_two_sites_on_one_pool_do_not_see_each_others_users(user):
    browser = logged_in()
    with override_settings(SECRET_KEY="another"):
        assert sessions.for_user(user) == [] and sessions.end_all(user) == 0
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["only for tests"]):
        assert ids(user) == digests(browser)
        assert sessions.end_all(user) == 1


def test_ten_thousand_sessions_of_one_user(user, backend):
    """All sessions are listed and ended, and limited to SESSION_CACHE_USER_MAX. With the back end that
    needs a round trip for each hundred sessions, the test uses fewer."""
    most = 10_000 if backend == "native" else 1_000
    client, list_name = session_cache.client(), session_list.list_names(str(user.pk))[0]
    value = SessionStore().encode({SESSION_KEY: str(user.pk)})
    names = [digest_name(str(number)) for number in range(most)]
    client.set_many(dict.fromkeys(names, value), 1000)
    listing = session_list.Listing({name: number for number, name in enumerate(names)},
                                   int(time.time()) + 1000, len(names))
    session_list.change(client, list_name, lambda _: listing)
    with override_settings(SESSION_CACHE_USER_MAX=most):
        browser = logged_in()
    found = ids(user)
    assert len(found) == most and digests(browser) <= found
    assert names[0] not in found and client.get(names[0]) is None
    with override_settings(SESSION_CACHE_USER_MAX=3):
        browser = logged_in()
    found = ids(user)
    assert len(found) == 3 and {names[-1], *digests(browser)} <= found
    assert client.stats()["curr_items"] < 20


def test_ended_sessions_do_not_pile_up_in_a_list(user, monkeypatch):
    """Sessions that end without a logout are removed from the list when its length has doubled."""
    monkeypatch.setattr(session_list, "CHECK_FROM", 4)
    client, list_name = session_cache.client(), session_list.list_names(str(user.pk))[0]
    kept = logged_in()
    for _ in range(10):
        client.delete(digest_name(key_of(logged_in())))
    assert len(session_list.read(client, list_name).entries) <= 4
    assert ids(user) == digests(kept)


@pytest.mark.parametrize("rubbish", [b"", b"\x00", RESERVATION, b"\x01" * 40, b"\xff" * 13, b"{}"])
def test_rubbish_in_the_place_of_a_list_or_of_what_is_known(user, rubbish):
    client, list_name = session_cache.client(), session_list.list_names(str(user.pk))[0]
    browser = logged_in()
    client.set(session_list.about_name(digest_name(key_of(browser))), rubbish)
    (found,) = sessions.for_user(user)
    assert found.user_agent == ""
    client.set(list_name, rubbish)
    sessions.for_user(user)
    middleware.noted.clear()
    assert who(browser) == "anna"
    assert digests(browser) <= ids(user)


def test_the_page_goes_on_while_the_list_cannot_be_written(user, caplog, monkeypatch):
    def refuse(*_, **__):
        raise middleware.Error("there is no room")

    monkeypatch.setattr(session_list, "add", refuse)
    browser = logged_in()
    assert who(browser) == "anna" and "there is no room" in caplog.text
    monkeypatch.undo()
    assert who(browser) == "anna" and ids(user) == digests(browser)


def test_many_logins_at_the_same_time_are_all_listed(user):
    browsers = [Browser() for _ in range(16)]
    barrier = threading.Barrier(len(browsers))

    def log_in(browser):
        barrier.wait(60)
        browser.post("/login/", {"username": "anna", "password": "secret"})

    threads = [threading.Thread(target=log_in, args=(browser,)) for browser in browsers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ids(user) == digests(*browsers)
    halves = browsers[:8], browsers[8:]
    threads = [threading.Thread(target=browser.post, args=("/logout/",)) for browser in halves[0]]
    threads += [threading.Thread(target=sessions.end, args=(user, digest_name(key_of(browser))))
                for browser in halves[1][:4]]
    expected = digests(*halves[1][4:])
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ids(user) == expected


def test_the_async_forms_do_the_same(user):
    browser, other = logged_in(), logged_in()

    async def run():
        found = await sessions.afor_user(user, key_of(browser))
        assert {each.id for each in found} == digests(browser, other)
        assert await sessions.aend(user, digest_name(key_of(other)))
        assert await sessions.aend_others(user, key_of(browser)) == 0
        assert await sessions.aend_all(user) == 1

    asyncio.run(run())


def test_the_middleware_serves_async_views(user):
    browser = logged_in()
    session = SessionStore(key_of(browser))
    session[SESSION_KEY]
    sessions_before = ids(user)
    session_list.remove(session_cache.client(), session_list.list_names(str(user.pk))[0], sessions_before)
    session_list.delete_about(session_cache.client(), digest_name(key_of(browser)))
    middleware.noted.clear()

    async def view(request):
        request.session = session
        return "response"

    request = AsyncRequestFactory().get("/")
    assert asyncio.run(middleware.UserSessionsMiddleware(view)(request)) == "response"
    assert ids(user) == digests(browser)


def test_a_request_without_a_session_passes(user):
    request = RequestFactory().get("/")
    assert middleware.UserSessionsMiddleware(lambda request: "response")(request) == "response"


def test_wrong_settings_are_reported():
    names = WITH_USERS["MIDDLEWARE"]
    with override_settings(MIDDLEWARE=[*names[1:], names[0]]):
        assert [each.id for each in checks.check_settings(None)] == ["stayd.E006"]
    with override_settings(SESSION_CACHE_KEY_FALLBACK="keep"):
        assert [each.id for each in checks.check_settings(None)] == ["stayd.E007"]
    assert checks.check_settings(None) == []
    with override_settings(INSTALLED_APPS=["django.contrib.sessions"]):
        with pytest.raises(ImproperlyConfigured, match="INSTALLED_APPS"):
            middleware.UserSessionsMiddleware(lambda request: None)


def test_there_is_a_migration_for_the_model_and_it_makes_no_table(database):
    from django.db import connection

    call_command("makemigrations", "stayd", check=True, dry_run=True, verbosity=0)
    assert not [name for name in connection.introspection.table_names() if "usersession" in name]
