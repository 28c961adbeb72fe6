"""Django's tests of session stores and of memcached caches, on this package's back ends."""

import unittest
from unittest import mock

import stayd
from cache.tests import BaseMemcachedTests, caches_setting_for_tests, memcached_excluded_caches
from django.conf import settings
from django.core.cache import cache, caches
from django.test import SimpleTestCase, TestCase, override_settings
from sessions_tests import tests as sessions
from stayd.django.session_backend import SessionStore

PARAMS = settings.CACHES["default"]


def does_not_apply(reason):
    """Takes the place of a test of Django's."""
    return unittest.skip(f"does not apply: {reason}")(lambda self: None)


class SessionTests(sessions.SessionTestsMixin, SimpleTestCase):
    backend = SessionStore


@override_settings(SESSION_CACHE_KEY_FALLBACK=False)
class SessionTestsOnDigests(SessionTests):
    pass


class CacheTests(BaseMemcachedTests, TestCase):
    base_params = PARAMS
    should_disconnect_on_close = False
    incr_decr_type_error = stayd.RequestRefused

    test_close = does_not_apply(
        "it watches disconnect_all of a client library; connections are kept between requests here"
    )
    test_set_many_returns_failing_keys = does_not_apply(
        "it replaces set_multi of a client library; test_django_cache.py has the same with a real "
        "daemon that refuses values"
    )
    test_location_multiple_servers = does_not_apply(
        "it reads the private list of servers; test_address.py has the same LOCATIONs"
    )


class CompressedCacheTests(CacheTests):
    pass


def _settings(**params):
    return override_settings(
        CACHES=caches_setting_for_tests(base=PARAMS, exclude=memcached_excluded_caches, **params)
    )


CacheTests = _settings()(CacheTests)
CompressedCacheTests = _settings(OPTIONS={"compress": True})(CompressedCacheTests)


class _Table:
    """Looks in the pool for what Django's test looks for in the table of the database sessions."""

    @staticmethod
    def get(session_key):
        data = SessionStore(session_key).load()
        return mock.Mock(get_decoded=lambda: data)


class MiddlewareTests(sessions.SessionMiddlewareTests):
    """The settings name this package's engine."""

    def test_empty_session_saved(self):
        with mock.patch.object(sessions, "Session", mock.Mock(objects=_Table)):
            super().test_empty_session_saved()


class SetUpTests(SimpleTestCase):
    def test_the_back_ends_are_this_packages(self):
        cache.set("k", "v")
        self.assertEqual(cache.get("k"), "v")
        self.assertEqual(settings.SESSION_ENGINE, SessionStore.__module__)
        self.assertEqual(type(caches["default"]).__module__, "stayd.django.cache")
