"""Configures Django for these tests, with real pools.

The settings are made here and not in a file, so that each run has a database of its own. Each test
gets empty pools. `daemon` is shared by all tests that do not stop it; `own_daemon` is started for
one test.
"""

import os
import pathlib
import tempfile

import django
import pytest
from django.conf import settings
from django.core.signals import setting_changed
from django.test.utils import override_settings

from stayd import client

from sitesettings import NOWHERE, TEMPLATES, caches_at
from support.servers import Stayd

_directory = tempfile.TemporaryDirectory(prefix="stayd-django-")


def pytest_configure(config):
    """Sets Django up before any test module is imported."""
    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["testserver"],
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "stayd.django",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        ROOT_URLCONF="testsite",
        TEMPLATES=TEMPLATES,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.path.join(_directory.name, "site.sqlite3"),
                "OPTIONS": {"timeout": 60},  # seconds, for threads that log in at the same time
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        CACHES=caches_at(NOWHERE),
        SESSION_ENGINE="stayd.django.session_backend",
        SESSION_CACHE=NOWHERE,
        USE_TZ=True,
    )
    django.setup()
    global clients, session_cache
    from stayd.django import clients, session_cache


def pytest_generate_tests(metafunc):
    """Runs the tests of modules that are marked `each_backend` on both of stayd.Client's."""
    if metafunc.definition.get_closest_marker("each_backend"):
        if "inside_pymemcache" not in metafunc.fixturenames:
            metafunc.parametrize("backend", ["native", "pymemcache"], indirect=True)


@pytest.fixture(autouse=True)
def backend(request, monkeypatch):
    """The back end of every client that the test makes: the usual one, except in modules that are marked
    `each_backend`."""
    if not hasattr(request, "param"):
        yield None
        return
    if request.param == "native" and client.extension is None:
        pytest.skip(f"stayd._client is not there: {client.WITHOUT_EXTENSION}")
    _choose_backend(monkeypatch, request.param)
    yield request.param
    _forget_clients()


@pytest.fixture
def inside_pymemcache(monkeypatch):
    """For a test that looks into stayd.pymemcache_client."""
    _choose_backend(monkeypatch, "pymemcache")
    yield
    _forget_clients()


def _choose_backend(monkeypatch, name):
    _forget_clients()
    monkeypatch.setenv(client.CHOICE, name)


def _forget_clients():
    """Drops the clients that all tests share."""
    clients.shared_client.cache_clear()
    session_cache._client_of.cache_clear()
    setting_changed.send(None, setting="SESSION_CACHE", value=None, enter=False)


def pytest_unconfigure(config):
    """Removes the database."""
    _directory.cleanup()


def settings_for(daemon):
    """The two settings that put a site on a daemon."""
    return override_settings(
        SESSION_CACHE=daemon.url("sessions"), CACHES=caches_at(daemon.address("cache"))
    )


@pytest.fixture(scope="session")
def shared_daemon():
    """A daemon with the two built-in pools, for the whole run."""
    with Stayd() as server:
        yield server


@pytest.fixture
def daemon(shared_daemon):
    """The shared daemon, both of its pools empty, and the settings that point at it."""
    for pool in ("sessions", "cache"):
        with shared_daemon.connect(pool) as connection:
            connection.ask(b"flush_all\r\n", b"OK\r\n")
    with settings_for(shared_daemon):
        yield shared_daemon


@pytest.fixture
def own_daemon():
    """A daemon for this test alone, to be killed, stopped and filled, and the settings for it."""
    with Stayd(sessions={"memory": "16M"}) as server:
        with settings_for(server):
            yield server


@pytest.fixture(scope="session")
def database():
    """The tables of the applications, in a database file, because requests may run in several threads."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    return pathlib.Path(settings.DATABASES["default"]["NAME"])


@pytest.fixture
def user(database):
    """The user `anna`, password `secret`."""
    from django.contrib.auth.models import User

    User.objects.all().delete()
    return User.objects.create_user("anna", password="secret")


@pytest.fixture
def saved(daemon):
    """A session of stayd's, saved with one entry."""
    from stayd.django.session_backend import SessionStore

    session = SessionStore()
    session["user"] = "anna"
    session.save()
    return session
