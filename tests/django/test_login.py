"""Users of a real site on stayd, through Django's middleware: users who are logged in stay logged
in."""

import os
import threading

import pytest
import stayd
import testsite
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.cache import cache
from django.test import Client as Browser
from django.test.utils import override_settings
from stayd.django.session_backend import SessionsPoolFull, SessionStore, SessionsUnreachable
from stayd.django.session_names import digest_name
from support.servers import wait_until

COOKIE = settings.SESSION_COOKIE_NAME


def logged_in(**options):
    """A browser in which anna has logged in."""
    browser = Browser(**options)
    answer = browser.post("/login/", {"username": "anna", "password": "secret"})
    assert answer.content == b"welcome"
    return browser


def who(browser):
    """The name of the user that the site sees behind this browser."""
    answer = browser.get("/who/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_login_lasts_from_request_to_request(daemon, user):
    browser = logged_in()
    assert who(browser) == "anna"
    assert [browser.get("/count/").content for _ in range(3)] == [b"1", b"2", b"3"]
    assert who(Browser()) == "nobody"


def test_a_login_lives_through_a_flush_of_the_cache(daemon, user):
    browser = logged_in()
    cache.set("k", 1)
    cache.clear()
    assert cache.get("k") is None
    assert who(browser) == "anna"


def test_a_login_lives_through_a_kill_and_a_restart_of_the_daemon(own_daemon, user):
    """The restart comes between two requests of one process, and breaks its connections."""
    browser = logged_in()
    for _ in range(3):
        own_daemon.kill9()
        own_daemon.start()
        assert browser.get("/count/").status_code == 200
        assert who(browser) == "anna"
    own_daemon.restart()
    assert who(browser) == "anna"
    assert browser.get("/count/").content == b"4"


def test_a_logout_lives_through_a_kill_and_a_restart_of_the_daemon(own_daemon, user):
    browser = logged_in()
    cookie = browser.cookies[COOKIE].value
    browser.post("/logout/")
    own_daemon.kill9()
    own_daemon.start()
    browser.cookies[COOKIE] = cookie
    assert who(browser) == "nobody"


def test_a_login_changes_the_session_key_and_keeps_the_data(daemon, user):
    browser = Browser()
    browser.get("/count/")
    before = browser.cookies[COOKIE].value
    browser.post("/login/", {"username": "anna", "password": "secret"})
    after = browser.cookies[COOKIE].value
    assert before != after
    assert browser.get("/count/").content == b"2"
    assert not SessionStore().exists(before)


def test_a_logout_removes_the_session_and_the_cookie(daemon, user):
    browser = logged_in()
    key = browser.cookies[COOKIE].value
    answer = browser.post("/logout/")
    assert answer.cookies[COOKIE].value == ""
    assert not SessionStore().exists(key)
    assert who(browser) == "nobody"


def test_a_page_that_does_not_use_the_session_asks_nothing_of_the_daemon(own_daemon, user):
    browser = logged_in()
    own_daemon.kill9()
    assert browser.get("/plain/").content == b"plain"


def test_a_visitor_without_a_session_gets_none_by_reading(daemon, user):
    browser = Browser()
    writes = daemon.connect("sessions").stats()["cmd_set"]
    assert who(browser) == "nobody"
    assert COOKIE not in browser.cookies
    assert daemon.connect("sessions").stats()["cmd_set"] == writes


def test_a_made_up_cookie_is_not_taken_for_a_session(daemon, user):
    for cookie in ("made-up-by-somebody", "x" * 300, "k\u00e9y-k\u00e9y", "../../etc/passwd"):
        browser = Browser()
        browser.cookies[COOKIE] = cookie
        assert who(browser) == "nobody"
        browser.cookies[COOKIE] = cookie
        assert browser.get("/count/").content == b"1"
        assert browser.cookies[COOKIE].value != cookie


def test_a_save_after_a_logout_in_another_tab_revives_nothing(daemon, user, monkeypatch):
    browser, tab = logged_in(), Browser()
    tab.cookies = browser.cookies.copy()
    key = browser.cookies[COOKIE].value
    monkeypatch.setattr(testsite, "meanwhile", lambda: tab.post("/logout/"))
    answer = browser.get("/interrupted/")
    assert answer.status_code == 400
    assert not SessionStore().exists(key)
    assert who(browser) == "nobody"


def test_two_requests_of_one_session_may_save_at_the_same_time(daemon, user, monkeypatch):
    browser = logged_in()
    count = 8
    barrier = threading.Barrier(count)
    monkeypatch.setattr(testsite, "meanwhile", lambda: barrier.wait(10))
    statuses = []

    def request():
        tab = Browser()
        tab.cookies = browser.cookies.copy()
        statuses.append(tab.get("/interrupted/").status_code)

    threads = [threading.Thread(target=request) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert statuses == [200] * count
    assert who(browser) == "anna"
    assert SessionStore(browser.cookies[COOKIE].value)["late"] is True


def test_who_is_logged_in_is_read_on_while_no_daemon_runs(own_daemon, user):
    """Pages read through the mapping, which outlives the daemon. Only a page that writes is an error."""
    with stayd.Client(own_daemon.url("sessions")) as client:
        if client.backend != "native":
            pytest.skip("only the native client reads through the mapping")
    browser = logged_in(raise_request_exception=False)
    other = logged_in()
    assert who(browser) == who(other) == "anna"
    own_daemon.kill9()
    for _ in range(3):
        assert who(browser) == "anna"
    assert browser.get("/count/").status_code == 500
    own_daemon.start()
    other.post("/logout/")
    assert who(other) != "anna"
    assert who(browser) == "anna"


@pytest.mark.usefixtures("inside_pymemcache")
def test_an_outage_is_an_error_and_no_logout(own_daemon, user):
    browser = logged_in(raise_request_exception=False)
    key = browser.cookies[COOKIE].value
    own_daemon.kill9()
    for page in ("/who/", "/count/", "/interrupted/"):
        answer = browser.get(page)
        assert answer.status_code == 500
        assert answer.exc_info[0] is SessionsUnreachable
        assert COOKIE not in answer.cookies
    assert browser.post("/logout/").status_code == 500
    own_daemon.start()
    wait_until(lambda: browser.get("/who/").status_code == 200, what="a try")
    assert browser.cookies[COOKIE].value == key
    assert who(browser) == "anna"


def test_a_logout_during_an_outage_is_an_error_and_not_a_false_success(own_daemon, user):
    browser = logged_in()
    own_daemon.kill9()
    with pytest.raises(SessionsUnreachable, match="Start the (daemon|server)"):
        browser.post("/logout/")


def test_a_full_pool_refuses_new_visitors_and_keeps_those_who_are_logged_in(own_daemon, user):
    browser = logged_in()
    visitor = Browser(raise_request_exception=False)
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        with pytest.raises(SessionsPoolFull):
            for _ in range(1000):
                filler = SessionStore()
                filler["filler"] = os.urandom(25_000).hex()
                filler.save()
        answers = [visitor.get("/count/").status_code for _ in range(20)]
        assert set(answers) <= {200, 500}
        for _ in range(20):
            assert who(browser) == "anna"


def test_a_corrupt_session_is_a_logout_of_its_owner_and_no_error(daemon, user):
    browser = logged_in()
    key = browser.cookies[COOKIE].value
    daemon.connect("sessions").set(digest_name(key).encode(), b"\x80garbage")
    assert who(browser) == "nobody"
    assert browser.post("/login/", {"username": "anna", "password": "secret"}).status_code == 200
    assert who(browser) == "anna"


def test_the_cookie_lasts_as_long_as_the_session(daemon, user):
    browser = logged_in()
    assert browser.cookies[COOKIE]["max-age"] == settings.SESSION_COOKIE_AGE
    with override_settings(SESSION_EXPIRE_AT_BROWSER_CLOSE=True):
        browser = logged_in()
        assert browser.cookies[COOKIE]["max-age"] == ""
        assert SessionStore(browser.cookies[COOKIE].value)[SESSION_KEY] == str(user.pk)


def test_the_cache_and_the_sessions_of_one_site_are_apart(daemon, user):
    browser = logged_in()
    assert browser.get("/cached/").content == b"made"
    session_key = digest_name(browser.cookies[COOKIE].value).encode()
    sessions, cached = daemon.connect("sessions"), daemon.connect("cache")
    assert sessions.get(session_key) and not sessions.get(b":1:page")
    assert cached.get(b":1:page") and not cached.get(session_key)
