"""SessionStore: Django's sessions in a pool of stayd (or of any memcached).

    SESSION_ENGINE = "stayd.django.session_backend"
    SESSION_CACHE = "memcached://127.0.0.1:11200/"

A drop-in for django.contrib.sessions.backends.cache, with these differences:

- The value is what SESSION_SERIALIZER makes of the session, JSON by default, as it is; never a
  pickle. It is not signed: JSON runs no code when it is read, and whoever can write into the pool
  can also read the session keys there and be any user, signature or not (Django's does not bind a
  value to its key). Reading a signed session takes ten times as long. Keep the pool's listener on
  loopback or on a Unix socket, as you would a database's.
- The key is a version digit and the session key, nothing more. The digit changes when the
  value's format does.
- `save` is one `replace`, so it fails with UpdateError for a session that was deleted meanwhile
  without a gap between looking and writing; a new session is one `add`, which proves its key new.
- An unreachable daemon raises SessionsUnreachable and a full pool SessionsPoolFull. Django's back
  end turns both into an empty session, which logs the user out.
- A request that breaks before its answer may have been carried out. The client repeats only what
  does no harm; the store knows more of its sessions, so that a restart of the daemon is no error
  page: `create` takes another key; `delete` goes again, since the key of a session that ended is
  never used again; `save` goes again on the condition that nothing was written since the load, and
  else looks at what there is. If that is neither what was loaded nor what was saved, another
  request has written, before or after: then `save` raises SessionOutcomeUnknown.
- `set_expiry` takes a datetime or timedelta with JSON on every Django; Django's own took them from
  4.1 on.

The async methods of Django 5.1 and later are SessionBase's, which run these in a thread.
"""

import logging
from datetime import datetime, timedelta

import django
from django.contrib.sessions.backends.base import (
    VALID_KEY_CHARS,
    CreateError,
    SessionBase,
    UpdateError,
)
from django.utils import timezone
from django.utils.crypto import get_random_string

from stayd.django import checks, session_cache
from stayd.django.session_serializer import require_safe, unserializable
from stayd.errors import ConnectionError, InvalidKey, OutcomeUnknown, OutOfMemory
from stayd.repetition import TRIES

KEY_VERSION = "1"
CREATE_TRIES = 100

checks.require_valid_session_settings()


class SessionsUnreachable(ConnectionError):
    """The daemon that keeps the sessions cannot be reached: who is logged in is not known now."""


class SessionOutcomeUnknown(SessionsUnreachable, OutcomeUnknown):
    """The connection broke while this session was changed, and whether it was cannot be found
    out."""


class SessionsPoolFull(OutOfMemory):
    """The sessions pool has no room for a new session. Those that it holds are unharmed."""


class SessionStore(SessionBase):
    """One session. Like all of Django's stores it belongs to one request, and so to one thread."""

    cache_key_prefix = KEY_VERSION

    _loaded_number = None
    """For `cas`: of the version that `load` gave, until this store has written another."""

    def __init__(self, session_key=None):
        super().__init__(session_key)
        require_safe(self.serializer)
        self._cache = session_cache.client()

    @property
    def cache_key(self):
        """The key in the pool; makes a session key if there is none."""
        return self.cache_key_prefix + self._get_or_create_session_key()

    def load(self):
        """The session's data; empty, with the session key dropped, if there is no such session.

        What cannot be read as a session is an empty one that keeps its key, and is reported to
        django.security.SuspiciousSession, as Django's database sessions do.
        """
        key = self.session_key
        found = None if key is None else self._ask(self._cache.gets, key)
        data, self._loaded_number = found or (None, None)
        if data is None:
            self._session_key = None
            return {}
        return self.decode(data)

    def create(self):
        """A new session under a new key, stored once before this returns."""
        unknown, timed_out = 0, False
        for _ in range(CREATE_TRIES):
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            except SessionOutcomeUnknown as error:
                # Nobody has been told the key: a session that lies there is nobody's, and expires.
                unknown += 1
                if unknown == TRIES or timed_out:
                    raise
                timed_out = error.timed_out
                continue
            self.modified = True
            return
        raise RuntimeError(
            f"{self._cache.url} says of {CREATE_TRIES} random session keys that each is taken: "
            f"what listens there does not work as a memcached."
        )

    def save(self, must_create=False):
        """Stores the session for get_expiry_age() seconds. Raises CreateError or UpdateError as
        SessionBase.save says, TypeError for data that the serializer cannot express, and
        stayd.ValueTooLarge, which leaves the session as it was last saved."""
        key = self.session_key  # before `load`, which drops that of a session that is gone
        if key is None:
            return self.create()
        data = self.encode(self._get_session(no_load=must_create))
        age_s = self.get_expiry_age()
        number, self._loaded_number = self._loaded_number, None
        if must_create:
            if not self._ask(self._cache.add, key, data, age_s):
                raise CreateError
            return
        try:
            there_was = self._ask(self._cache.replace, key, data, age_s)
        except SessionOutcomeUnknown as error:
            there_was = self._save_again(key, data, age_s, number, error)
        if not there_was:
            raise UpdateError

    def exists(self, session_key):
        """True if there is a session with this key."""
        return bool(session_key) and self._ask(self._cache.get, session_key) is not None

    def delete(self, session_key=None):
        """Removes the session with this key, else this one."""
        if session_key is None:
            session_key = self.session_key
        if session_key is not None:
            self._ask_again(self._cache.delete, session_key)

    @classmethod
    def clear_expired(cls):
        """Nothing: the pool ends every session at its second."""

    def encode(self, session_dict):
        """The value as stored (bytes)."""
        serializer = self.serializer()
        try:
            return serializer.dumps(session_dict)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            names = ", ".join(map(repr, unserializable(serializer, session_dict)))
            raise TypeError(
                f"The session cannot be saved: SESSION_SERIALIZER ({type(serializer).__name__}) "
                f"has no form for {names or 'it'}: {error}. Keep JSON's own types in the session."
            ) from error

    def decode(self, session_data):
        """The dict that a stored value holds; an empty one, and a report, if it holds none."""
        if isinstance(session_data, str):
            session_data = session_data.encode("utf-8", "surrogateescape")
        try:
            data = self.serializer().loads(session_data)
        except Exception:
            data = None
        if isinstance(data, dict):
            return data
        logging.getLogger("django.security.SuspiciousSession").warning("Session data corrupted")
        return {}

    def _get_new_session_key(self):
        """A random key. Not asked about first: `add` finds out in the same step as it stores."""
        return get_random_string(32, VALID_KEY_CHARS)

    def _save_again(self, key, data, age_s, number, error):
        """After a save without an answer: True if the session is saved now, False if it is gone.

        `number` is that of the version that was loaded. While the pool has this one, nothing was
        written since, by this save or another, so storing over it on that condition is safe however
        often it is sent. `error` is raised if another version is there that is not this save's.
        """
        if number and number != b"0":  # 0: a memcached with -C, which keeps no numbers
            stored = self._ask_again(
                self._cache.cas, key, data, number, age_s, timed_out=error.timed_out
            )
            if stored is not False:
                return bool(stored)
        found = self._ask(self._cache.get, key)
        if found is not None and found != data:
            raise error
        return found is not None

    def _ask_again(self, request, session_key, *arguments, timed_out=False):
        """As `_ask`, for what does a session no harm when it is done twice: up to TRIES times, but
        once after a request that timed out (`timed_out`: one before this has)."""
        tries = 0
        while True:
            try:
                return self._ask(request, session_key, *arguments)
            except SessionOutcomeUnknown as error:
                tries += 1
                if tries == TRIES or timed_out:
                    raise
                timed_out = error.timed_out

    def _ask(self, request, session_key, *arguments):
        """What the Client's method returns for this session, None if no such key can exist (the
        session key is the cookie's text, which may be anything)."""
        try:
            return request(f"{self.cache_key_prefix}{session_key}", *arguments)
        except InvalidKey:
            return None
        except OutcomeUnknown as error:
            unknown = SessionOutcomeUnknown(str(error))
            unknown.timed_out = error.timed_out
            raise unknown from error
        except ConnectionError as error:
            raise SessionsUnreachable(str(error)) from error
        except OutOfMemory as error:
            raise SessionsPoolFull(str(error)) from error

    if django.VERSION < (4, 1):

        def set_expiry(self, value):
            """As SessionBase's; a date is kept as its ISO text, as from Django 4.1 on."""
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
