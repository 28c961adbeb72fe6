"""The sessions pool that settings.SESSION_CACHE names.

    from stayd.django.session_cache import cache
    cache.stats()["curr_items"]

`cache` is the pool's stayd.Client: keys and values as stored in the pool (see session_backend),
durations in seconds. It follows changes of the setting, so override_settings works.
"""

import functools

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from stayd.address import parse_url
from stayd.django.clients import shared_client
from stayd.errors import InvalidURL

_EXAMPLE = 'SESSION_CACHE = "memcached://127.0.0.1:11200/" or "unix:///run/stayd/sessions.sock"'


def client():
    """The Client of the sessions pool; ImproperlyConfigured if the setting is absent or wrong."""
    return _client(getattr(settings, "SESSION_CACHE", None))


def address(url):
    """The Address that a value of SESSION_CACHE names, else ImproperlyConfigured.

    A port is required: memcached's default, 11211, is stayd's cache pool, which evicts.
    """
    if url is None or url == "":
        raise ImproperlyConfigured(
            f"SESSION_CACHE is not set: it names the pool that keeps the sessions, like {_EXAMPLE}."
        )
    try:
        return parse_url(url, default_port=None)
    except InvalidURL as error:
        raise ImproperlyConfigured(f"SESSION_CACHE: {error}") from error


def _client(url):
    if not isinstance(url, str):
        address(url)
    return _client_of(url)


@functools.cache
def _client_of(url):
    return shared_client(address(url))


class _SessionCache:
    """Passes each use of an attribute to `client()`."""

    def __getattr__(self, name):
        return getattr(client(), name)

    def __repr__(self):
        return "<the pool of settings.SESSION_CACHE>"


cache = _SessionCache()
