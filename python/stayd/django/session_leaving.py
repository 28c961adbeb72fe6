"""SessionStore for a site that leaves stayd: one of Django's own stores, which also finds the sessions
that are still in the pool.

    SESSION_ENGINE = "stayd.django.session_leaving"
    SESSION_CACHE_MIGRATE_TO = "db"     # or cached_db, file, cache:ALIAS, an engine's dotted name
    SESSION_CACHE = ...                 # as before

If that store does not have a session, this one looks for it in the pool, and moves the session to that
store. The pool holds digests and no session keys, so a session can only move when its visitor sends the
key. After SESSION_COOKIE_AGE (two weeks by default) every session has moved or expired, and the site can
use Django's engine alone.
"""

from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import CreateError
from django.core.exceptions import ImproperlyConfigured

from stayd.django import session_cache
from stayd.django.session_backend import SessionStore as StaydStore
from stayd.django.session_items import RESERVATION
from stayd.django.session_names import digest_name, earlier_name
from stayd.django.session_sources import POSSIBLE_KEY, named
from stayd.django.threads import with_async_forms

__all__ = ["SessionStore"]


def _find_target():
    name = getattr(settings, "SESSION_CACHE_MIGRATE_TO", None)
    if not name:
        raise ImproperlyConfigured(
            "SESSION_CACHE_MIGRATE_TO is not set: it names the back end that the sessions move to: db, "
            "cached_db, file or cache:ALIAS."
        )
    return named(name)


_TARGET = _find_target()
_Base: Any = type(_TARGET.store())


@with_async_forms("load", "delete", "exists")
class SessionStore(_Base):
    """See above."""

    def __init__(self, session_key=None):
        super().__init__(session_key)
        other = _TARGET.store()
        if hasattr(other, "_cache"):
            self._cache = other._cache  # the cache of cache:ALIAS

    def load(self):
        """The session from its new place, or else from the pool; then it moves."""
        session_key = self.session_key
        data = super().load()
        if session_key is None or self.session_key is not None:
            return data
        client, names = session_cache.client(), _names(session_key)
        for name in names:
            value = client.get(name)
            if value is not None and value != RESERVATION:
                return self._move(client, names, session_key, StaydStore().decode(value))
        # Another request may have moved the session since the first look.
        self._session_key = session_key
        return super().load()

    def delete(self, session_key=None):
        """Removes the session from both places, from the pool first, so that no request moves it
        afterwards."""
        key = self.session_key if session_key is None else session_key
        if key is not None:
            _remove(session_cache.client(), _names(key))
        super().delete(session_key)

    def exists(self, session_key):
        """True if either place has the session."""
        values = session_cache.client().get_many(_names(session_key)).values()
        return bool(super().exists(session_key)) or any(each != RESERVATION for each in values)

    def _move(self, client, names, session_key, data):
        """Stores the session in its new place, and then removes it from the pool. If the pool no longer
        has it, the session was deleted meanwhile, and this method removes it from its new place too."""
        self._session_key, self._session_cache = session_key, data
        try:
            super().save(must_create=True)
        except CreateError:  # another request has moved it
            del self._session_cache
            return super().load()
        if not _remove(client, names):
            super().delete(session_key)
            self._session_key = None
            return {}
        return data


def _names(session_key):
    """The session's names in the pool."""
    names = [digest_name(session_key)]
    if getattr(settings, "SESSION_CACHE_KEY_FALLBACK", True):
        earlier = earlier_name(session_key, StaydStore.cache_key_prefix)
        if earlier is not None and POSSIBLE_KEY.fullmatch(session_key):
            names.append(earlier)
    return names


def _remove(client, names):
    """True if one of the names was in the pool."""
    removed = [client.delete(name) for name in names]
    return any(removed)
