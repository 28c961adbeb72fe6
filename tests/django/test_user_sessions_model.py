"""The lists of users' sessions, compared with a model: logins, logouts, expiry and ends in several
threads, while the daemon is killed and started again.

The model is what each browser knows: which session keys it has received, and which of these sessions
have certainly ended. In the end a list must have exactly the keys under which the pool has a session of
that user, and possibly one more for a login that ended in an error page.
"""

import random
import threading

import pytest
import stayd
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import UpdateError
from django.db import connection
from django.test import Client as Browser
from django.test.utils import override_settings
from sitesettings import WITH_USERS
from stayd.django import sessions, user_signals
from stayd.django.session_backend import SessionStore
from stayd.django.session_names import digest_name
from support.servers import wait_until

pytestmark = pytest.mark.each_backend

NAMES = ("anna", "bert")
THREADS, STEPS, KILLS = 4, 25, 3


class Model:
    """What is known of all sessions. Several threads write it without a lock: each change is one step of
    the interpreter, or a count that need not be exact."""

    def __init__(self):
        self.steps = 0
        self.keys = {}  # each session key that a browser has received, and its user
        self.over = set()  # digests of sessions that have certainly ended
        self.touched = set()  # digests of sessions that someone has tried to end
        self.faults = []
        self.lock = threading.Lock()
        self.failed_logins = 0  # each failed login may have left a session whose key no browser has received
        self.sweeps_begun = self.sweeps_over = 0  # calls of end_others


class Visitor:
    """One thread's browsers, and what it does with them."""

    def __init__(self, model, users, seed):
        self.model, self.users, self.choose = model, users, random.Random(seed)
        self.browsers = []

    def run(self):
        try:
            for _ in range(STEPS):
                choices = [self.log_in] * 3 + [self.log_out, self.visit, self.visit, self.save,
                                               self.expire, self.end_one, self.end_others]
                self.choose.choice(choices)()
                self.model.steps += 1
        except Exception as error:
            self.model.faults.append(error)
        finally:
            self.model.steps += STEPS
            connection.close()

    def log_in(self):
        name, sweeps_over = self.choose.choice(NAMES), self.model.sweeps_over
        browser = Browser(raise_request_exception=False)
        answer = browser.post("/login/", {"username": name, "password": "secret"})
        if answer.status_code == 200:
            self.model.keys[self.key(browser)] = name
            self.browsers.append(browser)
            if self.model.sweeps_begun != sweeps_over:  # a sweep may have come between
                self.model.touched.add(digest_name(self.key(browser)))
        else:
            with self.model.lock:
                self.model.failed_logins += 1

    def log_out(self):
        if self.browsers:
            browser = self.browsers.pop(self.choose.randrange(len(self.browsers)))
            name = digest_name(self.key(browser))
            self.model.touched.add(name)
            if browser.post("/logout/").status_code == 200:
                self.model.over.add(name)
            else:
                self.browsers.append(browser)

    def visit(self):
        if self.browsers:
            self.choose.choice(self.browsers).get("/who/")

    def save(self):
        if self.browsers:
            self.choose.choice(self.browsers).get("/count/")

    def expire(self):
        if self.browsers:
            key = self.key(self.choose.choice(self.browsers))
            if key not in self.model.keys:
                return
            self.model.touched.add(digest_name(key))
            try:
                session = SessionStore(key)
                session.set_expiry(1)
                session.save()
            except (stayd.ConnectionError, UpdateError):
                pass  # the daemon is away, or the session has ended

    def end_one(self):
        user = self.choose.choice(self.users)
        try:
            found = sessions.for_user(user)
            if found:
                name = self.choose.choice(found).id
                self.model.touched.add(name)
                if sessions.end(user, name):
                    self.model.over.add(name)
        except stayd.ConnectionError:
            pass

    def end_others(self):
        if self.browsers and self.choose.random() < 0.3:
            key = self.key(self.choose.choice(self.browsers))
            user = next((each for each in self.users if each.username == self.model.keys.get(key)), None)
            if user is None:
                return
            names = {digest_name(each) for each, owner in list(self.model.keys.items())
                     if owner == user.username and each != key}
            self.model.touched.update(names)
            with self.model.lock:
                self.model.sweeps_begun += 1
            try:
                listed = {each.id for each in sessions.for_user(user)} - {digest_name(key)}
                self.model.touched.update(listed)
                sessions.end_others(user, key)
                self.model.over.update(listed)
            except stayd.ConnectionError:
                pass
            finally:
                with self.model.lock:
                    self.model.sweeps_over += 1

    def key(self, browser):
        """The browser's session key, or "" if its session has ended."""
        return browser.cookies["sessionid"].value


def alive(key, user):
    """True if the pool has a session of the user under this key."""
    return SessionStore(key).load().get(SESSION_KEY) == str(user.pk)


def test_lists_agree_with_the_sessions_after_kills_and_restarts(own_daemon, user):
    users = [user, User.objects.create_user("bert", password="secret")]
    user_signals.connect()
    model = Model()
    with override_settings(**WITH_USERS):
        visitors = [Visitor(model, users, seed) for seed in range(THREADS)]
        threads = [threading.Thread(target=visitor.run) for visitor in visitors]
        for thread in threads:
            thread.start()
        for number in range(KILLS):
            goal = THREADS * STEPS * (number + 1) // (KILLS + 1)
            wait_until(lambda: model.steps >= goal, 60, "the visitors to go on")
            own_daemon.kill9()
            own_daemon.start()
        for thread in threads:
            thread.join(120)
        assert not model.faults
        for visitor in visitors:  # this adds to the lists what could not be listed while the daemon was down
            for browser in visitor.browsers:
                wait_until(lambda: browser.get("/who/").status_code == 200, 20, "an answer")

        def compare():
            unknown = 0
            for each in users:
                keys = [key for key, name in list(model.keys.items()) if name == each.username]
                expected = {digest_name(key) for key in keys if alive(key, each)}
                found = {one.id for one in sessions.for_user(each)}
                if not expected <= found:
                    return False
                unknown += len(found - expected)
            return unknown <= model.failed_logins

        wait_until(compare, 10, "both to agree")  # a session may expire between the two checks
        living = {found.id for each in users for found in sessions.for_user(each)}
        assert not living & model.over
        known = {digest_name(key) for key in model.keys}
        assert known - model.touched <= living, "a session that nobody ended is gone"
        assert len(model.keys) > 10
