"""SessionStore: Django's sessions in a pool of stayd (or of any memcached).

    SESSION_ENGINE = "stayd.django.session_backend"
    SESSION_CACHE = "memcached://127.0.0.1:11200/"

A drop-in for django.contrib.sessions.backends.cache, with these differences:

- The value is the output of SESSION_SERIALIZER, JSON by default, packed as in stayd.packing; never
  a pickle. The value is not signed: reading JSON runs no code, and a signature would not help
  against an attacker who can write into the pool (Django's signature does not bind a value to its
  key, so another user's signed session can be copied). Reading a signed session takes ten times as
  long. Keep the pool's listener on loopback or on a Unix socket, as you would a database's.
- The key is a digest of the session key, so the pool contains no cookies
  (stayd.django.session_names). Sessions of earlier versions of this package, whose keys held the
  session key, are found while SESSION_CACHE_KEY_FALLBACK is not False, and move when they are
  saved, or with "keep" stay as they are (stayd.django.session_items).
- `save` is one request. If the session was deleted meanwhile it fails with UpdateError; there is no
  gap between a check and the write. A new session is one `add`, which fails if the key exists.
- An unreachable daemon raises SessionsUnreachable and a full pool SessionsPoolFull. Django's back
  end turns both into an empty session, which logs the user out. A session that a later version of
  this package packed, or that needs zstd where zstd is not installed, raises UnreadableValue.
- A request that breaks before its answer may have been carried out. The client sends only reads
  again. The session store can repeat more, so that a restart of the daemon causes no error page.
  `create` takes another key. `delete` is sent again, because the key of a deleted session is never
  used again. `save` is sent again on the condition that nothing was written since the load; if
  something was, `save` reads the stored session. If that is neither the loaded nor the saved
  version, another request has written before or after this save, and `save` raises
  SessionOutcomeUnknown.
- `set_expiry` accepts a datetime or timedelta with JSON in every Django version; Django's own
  accepts them from 4.1 on.
- The async methods of Django 5.1 and later run the sync methods in the event loop's thread pool.
  SessionBase's run them one after the other in one thread.
"""

import functools
import logging
import time
from datetime import datetime, timedelta

import django
from django.conf import settings
from django.contrib.sessions.backends.base import (
    VALID_KEY_CHARS,
    CreateError,
    SessionBase,
    UpdateError,
)
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils import timezone
from django.utils.crypto import get_random_string
from django.utils.module_loading import import_string

from stayd.django import checks, session_cache
from stayd.django.session_items import (
    KeepingSessionItems,
    MovingSessionItems,
    SessionItems,
    SessionOutcomeUnknown,
    SessionsPoolFull,
    SessionsUnreachable,
)
from stayd.django.session_names import EARLIER_PREFIX
from stayd.django.session_serializer import require_safe, unserializable
from stayd.django.threads import with_async_forms
from stayd.errors import UnreadableValue
from stayd.packing import pack, unpack, wrap
from stayd.repetition import PAUSE_S, TRIES

__all__ = ["SessionOutcomeUnknown", "SessionStore", "SessionsPoolFull", "SessionsUnreachable"]

CREATE_TRIES = 100

checks.require_valid_session_settings()


@functools.cache
def _items_of(client, fallback, prefix):
    """`fallback`: the setting SESSION_CACHE_KEY_FALLBACK. `prefix`: the prefix of earlier names."""
    if not fallback:
        return SessionItems(client)
    return (KeepingSessionItems if fallback == "keep" else MovingSessionItems)(client, prefix)


_parts: dict = {}
"""By prefix of earlier names: the serializer's class, the Client and the SessionItems that the
settings ask for. A store is made for each request, and settings that a site leaves out take Django
a microsecond each to find missing."""


def _find_parts(prefix):
    serializer = import_string(settings.SESSION_SERIALIZER)
    require_safe(serializer)
    client = session_cache.client()
    fallback = getattr(settings, "SESSION_CACHE_KEY_FALLBACK", True)
    parts = _parts[prefix] = (serializer, client, _items_of(client, fallback, prefix))
    return parts


@receiver(setting_changed)
def forget_parts(**_):
    """After a change of the settings, as tests make them."""
    _parts.clear()


_BASE_IS_KNOWN = set(SessionBase.__init__.__code__.co_names) == {
    "_session_key", "accessed", "modified", "serializer", "import_string", "settings",
    "SESSION_SERIALIZER",
}
"""True if SessionBase.__init__ does no more than set these, as in all versions of Django so far. It
imports the serializer anew for each store; SessionStore sets them itself."""


@with_async_forms("load", "create", "save", "exists", "delete")
class SessionStore(SessionBase):
    """One session. Like all of Django's stores it belongs to one request, and so to one thread."""

    cache_key_prefix = EARLIER_PREFIX
    """The prefix of the names in earlier versions."""

    _found = None
    """The result of `load`, until this store has written another version."""

    _is_new_key = False
    """True while `create` saves under a random key."""

    def __init__(self, session_key=None):
        parts = _parts.get(self.cache_key_prefix) or _find_parts(self.cache_key_prefix)
        if _BASE_IS_KNOWN:
            self._session_key = session_key
            self.accessed = self.modified = False
            self.serializer, self._cache, self._items = parts
        else:
            super().__init__(session_key)
            _, self._cache, self._items = parts

    @property
    def cache_key(self):
        """The key in the pool; makes a session key if there is none."""
        return self._items.name_of_new(self._get_or_create_session_key())

    async def acache_key(self):
        """As cache_key. Making a random key needs no thread."""
        return self.cache_key

    def load(self):
        """The session's data; empty, with the session key dropped, if there is no such session.

        A value that cannot be read as a session gives an empty session that keeps its key, and is
        reported to django.security.SuspiciousSession, as with Django's database sessions.
        """
        key = self.session_key
        found = self._found = None if key is None else self._items.find(key)
        if found is None:
            self._session_key = None
            return {}
        return self._read(found.value) if found.is_earlier else self.decode(found.value)

    def create(self):
        """Creates a session under a new key, and stores it once before this returns."""
        unknown, timed_out = 0, False
        for _ in range(CREATE_TRIES):
            self._session_key = self._get_new_session_key()
            self._is_new_key = True
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            except SessionOutcomeUnknown as error:
                # No visitor has received this key, so a session stored under it is unused, and
                # expires.
                unknown += 1
                if unknown == TRIES or timed_out:
                    raise
                timed_out = error.timed_out
                time.sleep(PAUSE_S)
                continue
            finally:
                self._is_new_key = False
            self.modified = True
            return
        raise RuntimeError(
            f"{self._cache.url} says of {CREATE_TRIES} random session keys that each is taken: "
            f"what listens there does not work as a memcached."
        )

    def save(self, must_create=False):
        """Stores the session for get_expiry_age() seconds. Raises CreateError or UpdateError as
        described in SessionBase.save, TypeError for data that the serializer cannot express, and
        stayd.ValueTooLarge, which leaves the session as it was last saved."""
        key = self.session_key  # before `load`, which drops the key if the session no longer exists
        if key is None:
            return self.create()
        data = self.encode(self._get_session(no_load=must_create))
        age_s = self.get_expiry_age()
        found, self._found = self._found, None
        if must_create:
            add = self._items.add if self._is_new_key else self._items.add_under_any_key
            if not add(key, data, age_s):
                raise CreateError
        elif not self._items.save(key, data, age_s, found):
            raise UpdateError

    def exists(self, session_key):
        """True if there is a session with this key."""
        return bool(session_key) and self._items.find(session_key) is not None

    def delete(self, session_key=None):
        """Removes the session with this key; None: this session."""
        if session_key is None:
            session_key = self.session_key
        if session_key is not None:
            self._items.delete(session_key)

    @classmethod
    def clear_expired(cls):
        """Does nothing: the pool expires sessions by itself."""

    def encode(self, session_dict):
        """The value to store (bytes)."""
        serializer = self.serializer()
        try:
            data = serializer.dumps(session_dict)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            names = ", ".join(map(repr, unserializable(serializer, session_dict)))
            raise TypeError(
                f"The session cannot be saved: SESSION_SERIALIZER ({type(serializer).__name__}) "
                f"has no form for {names or 'it'}: {error}. Keep JSON's own types in the session."
            ) from error
        return pack(data) if getattr(settings, "SESSION_CACHE_COMPRESS", True) else wrap(data)

    def decode(self, session_data):
        """The dict that a stored value holds; an empty one, and a report, if it holds none."""
        if isinstance(session_data, str):
            session_data = session_data.encode("utf-8", "surrogateescape")
        try:
            return self._read(unpack(session_data))
        except UnreadableValue:
            raise
        except Exception:
            return _corrupted()

    def _read(self, serialized):
        try:
            data = self.serializer().loads(serialized)
        except Exception:
            data = None
        return data if isinstance(data, dict) else _corrupted()

    def _get_new_session_key(self):
        """A random key. It is not checked first: `add` fails if the key exists."""
        return get_random_string(32, VALID_KEY_CHARS)

    if django.VERSION < (4, 1):

        def set_expiry(self, value):
            """As SessionBase's. A date is stored as ISO text, as in Django 4.1 and later."""
            if isinstance(value, timedelta):
                value = timezone.now() + value
            if isinstance(value, datetime):
                value = value.isoformat()
            super().set_expiry(value)

        def get_expiry_age(self, **kwargs):
            return super().get_expiry_age(**self._with_date(kwargs))

        def get_expiry_date(self, **kwargs):
            return super().get_expiry_date(**self._with_date(kwargs))

        def _with_date(self, kwargs):
            expiry = kwargs["expiry"] if "expiry" in kwargs else self.get("_session_expiry")
            if isinstance(expiry, str):
                expiry = datetime.fromisoformat(expiry)
            return {**kwargs, "expiry": expiry}


def _corrupted():
    """Reports the session as unreadable, and returns an empty one."""
    logging.getLogger("django.security.SuspiciousSession").warning("Session data corrupted")
    return {}
