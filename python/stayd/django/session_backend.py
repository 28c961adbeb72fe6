"""SessionStore: Django's sessions in a pool of stayd (or of any memcached).

    SESSION_ENGINE = "stayd.django.session_backend"
    SESSION_CACHE = "memcached://127.0.0.1:11200/"

It can replace django.contrib.sessions.backends.cache, with these differences:

- The value is the output of SESSION_SERIALIZER, JSON by default, packed as in stayd.packing; never a
  pickle. The value is not signed: reading JSON runs no code, and a signature would not help against an
  attacker who can write into the pool (Django's signature does not bind a value to its key, so another
  user's signed session can be copied). Reading a signed session takes ten times as long. Let the pool
  listen on loopback or on a Unix socket, as you would with a database.
- The key is a digest of the session key, so the pool contains no cookies (stayd.django.session_names).
  In earlier versions of this package, the key contained the session key. While
  SESSION_CACHE_KEY_FALLBACK is not False, such sessions are found too; they move when they are saved, or
  stay as they are with "keep" (stayd.django.session_items).
- `save` is one request. If the session was deleted meanwhile, it fails with UpdateError; there is no gap
  between the check and the write. A new session is one `add`, which fails if the key exists.
- An unreachable daemon raises SessionsUnreachable and a full pool SessionsPoolFull. Django's back end
  turns both into an empty session, which logs the user out. A session that a later version of this
  package has packed, or that needs zstd although zstd is not installed, raises UnreadableValue.
- If the connection breaks before the answer, the request may have been carried out. The client itself
  sends only reads again. The session store can repeat more requests, so that a restart of the daemon
  causes no error page. `create` takes another key. `delete` is sent again, because the key of a deleted
  session is never used again. `save` is sent again on the condition that nothing was written since the
  load; if something was, `save` reads the stored session. If that is neither the loaded nor the saved
  version, another request has written before or after this save, and `save` raises
  SessionOutcomeUnknown.
- `set_expiry` accepts a datetime or timedelta with JSON in every Django version; Django's own
  accepts them from 4.1 on.
- The async methods of Django 5.1 and later return at once if the session is in the daemon's shared
  memory. All other calls run in threads of this package (stayd.django.threads). SessionBase's own async
  methods run one after the other in one thread.
"""

import logging
import time
from datetime import datetime, timedelta

import django
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

from stayd.django import checks
from stayd.django.session_items import (
    Found,
    SessionOutcomeUnknown,
    SessionsPoolFull,
    SessionsUnreachable,
)
from stayd.django.session_names import EARLIER_PREFIX
from stayd.django.session_parts import Parts
from stayd.django.session_serializer import unserializable
from stayd.django.threads import in_thread, with_async_forms
from stayd.errors import UnreadableValue
from stayd.packing import unpack
from stayd.repetition import PAUSE_S, TRIES

__all__ = ["SessionOutcomeUnknown", "SessionStore", "SessionsPoolFull", "SessionsUnreachable"]

CREATE_TRIES = 100

checks.require_valid_session_settings()


_BASE_IS_KNOWN = set(SessionBase.__init__.__code__.co_names) == {
    "_session_key", "accessed", "modified", "serializer", "import_string", "settings",
    "SESSION_SERIALIZER",
}
"""True if SessionBase.__init__ only sets these attributes, as in all versions of Django so far. Then
SessionStore sets them itself, because SessionBase imports the serializer anew for each store."""


@with_async_forms("create", "save", "delete")
class SessionStore(SessionBase):
    """One session. Like all of Django's stores it belongs to one request, and so to one thread."""

    cache_key_prefix = EARLIER_PREFIX
    """The prefix of the names in earlier versions."""

    _number = None
    """The CAS number of the version that `load` returned, until this store has written another."""

    _is_earlier = False
    """True if `load` found the session under its earlier name."""

    _is_new_key = False
    """True while `create` saves under a random key."""

    def __init__(self, session_key=None):
        parts = self._parts = _parts.get(type(self)) or _find_parts(type(self))
        if _BASE_IS_KNOWN:
            self._session_key = session_key
            self.accessed = self.modified = False
            self.serializer, self._cache = parts.serializer, parts.client
        else:
            super().__init__(session_key)
            self._cache = parts.client

    @property
    def cache_key(self):
        """The key in the pool; makes a session key if there is none."""
        return self._parts.items.name_of_new(self._get_or_create_session_key())

    async def acache_key(self):
        """Like cache_key. Making a random key needs no thread."""
        return self.cache_key

    def load(self):
        """The session's data; empty, with the session key dropped, if there is no such session.

        A value that cannot be read as a session gives an empty session that keeps its key, and is
        reported to django.security.SuspiciousSession, as with Django's database sessions.
        """
        session = self._load_mapped()
        return self._load() if session is None else session

    async def aload(self):
        """Like `load`. Needs no thread for a session in the daemon's shared memory."""
        session = self._load_mapped()
        return await in_thread(self._load) if session is None else session

    def _load_mapped(self):
        """The session's data; None if the daemon's shared memory does not have them in the usual
        form."""
        key, parts = self.session_key, self._parts
        if key is None or self.serializer is not parts.serializer:
            return None
        loaded = parts.load_mapped(key)
        if loaded is None or not loaded[0]:  # a host of a cluster may not have more of it yet
            return None
        session, self._number = loaded
        self._is_earlier = False
        return session

    def _load(self):
        key = self.session_key
        found = None if key is None else self._parts.items.find(key)
        if found is None:
            self._session_key = self._number = None
            return {}
        _, self._number, self._is_earlier = found
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
        key = self.session_key  # read before `load`, which drops the key if the session no longer exists
        if key is None:
            return self.create()
        session = self._get_session(no_load=must_create)
        data = self.encode(session)
        if self._parts.has_plain_age and not session.get("_session_expiry"):
            age_s = self.get_session_cookie_age()  # the same as get_expiry_age, but quicker
        else:
            age_s = self.get_expiry_age()
        number, self._number = self._number, None
        items = self._parts.items
        if must_create:
            add = items.add if self._is_new_key else items.add_under_any_key
            if not add(key, data, age_s):
                raise CreateError
        else:
            loaded = None if number is None else Found(None, number, self._is_earlier)
            if not items.save(key, data, age_s, loaded):
                raise UpdateError

    def exists(self, session_key):
        """True if there is a session with this key."""
        return bool(session_key) and self._parts.items.find(session_key) is not None

    async def aexists(self, session_key):
        """Like `exists`. Needs no thread for a session in the daemon's shared memory."""
        if session_key and self._parts.items.is_mapped(session_key):
            return True
        return await in_thread(self.exists, session_key)

    def delete(self, session_key=None):
        """Removes the session with this key. With None, removes this session."""
        if session_key is None:
            session_key = self.session_key
        if session_key is not None:
            self._parts.items.delete(session_key)

    @classmethod
    def clear_expired(cls):
        """Does nothing: the pool expires sessions by itself."""

    def encode(self, session_dict):
        """The value to store (bytes)."""
        parts = self._parts
        try:
            if self.serializer is parts.serializer:
                data = parts.dumps(session_dict)
            else:  # a class that has replaced it
                data = self.serializer().dumps(session_dict)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            serializer = self.serializer()
            names = ", ".join(map(repr, unserializable(serializer, session_dict)))
            raise TypeError(
                f"The session cannot be saved: SESSION_SERIALIZER ({type(serializer).__name__}) "
                f"has no form for {names or 'it'}: {error}. Keep JSON's own types in the session."
            ) from error
        return parts.pack(data)

    def decode(self, session_data):
        """The dict in a stored value. If there is none, reports that and returns an empty dict."""
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
            """Like SessionBase's method. A date is stored as ISO text, as in Django 4.1 and later."""
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


_parts: dict[type, Parts] = {}
"""The Parts of each class of stores."""


def _find_parts(store_class):
    ages = (SessionBase.get_expiry_age, SessionStore.get_expiry_age)
    parts = _parts[store_class] = Parts(
        store_class.cache_key_prefix,
        reads_as_stored=store_class.decode is SessionStore.decode,
        has_plain_age=store_class.get_expiry_age in ages,
    )
    return parts


@receiver(setting_changed)
def forget_parts(**_):
    """Called after a change of the settings, as tests make them."""
    _parts.clear()


def _corrupted():
    """Reports the session as unreadable, and returns an empty one."""
    logging.getLogger("django.security.SuspiciousSession").warning("Session data corrupted")
    return {}
