"""Django's own session back ends, as places from which and to which sessions move.

    db              django.contrib.sessions.backends.db
    cached_db       django.contrib.sessions.backends.cached_db
    file            django.contrib.sessions.backends.file
    cache:ALIAS     django.contrib.sessions.backends.cache, on CACHES[ALIAS]
    a.dotted.name   a module whose SessionStore is a subclass of one of these

`named` returns the Source for such a text. Unlike Django's stores, a Source distinguishes an outage from
a missing session, and a damaged session from an empty session.
"""

import datetime
import importlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Optional, Union

from django.conf import settings
from django.contrib.sessions.backends.base import VALID_KEY_CHARS, CreateError, UpdateError
from django.core import signing
from django.core.cache import InvalidCacheBackendError, caches
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from stayd.django.session_listing import list_cache

CHUNK = 500
"""This many sessions are read together."""

_BACKENDS = "django.contrib.sessions.backends."

POSSIBLE_KEY = re.compile(r"[!-~]{8,128}")
"""Cookies that do not match this are not the key of any session, and some back ends raise errors for
them."""


class Unreadable(Exception):
    """A stored session that cannot be decoded: damaged, or signed with another SECRET_KEY."""


class Stored(NamedTuple):
    """A session as another back end stores it."""

    data: dict
    expires_s: int
    """In Unix seconds."""


class Key(NamedTuple):
    """A session's key, and its expiry in Unix seconds if the listing has that."""

    session_key: str
    expires_s: Optional[int] = None


class Source:
    """One of Django's session back ends. Each subclass reads the sessions of one back end."""

    def __init__(self, name: str, engine: str) -> None:
        self.name = name
        self._engine = importlib.import_module(engine)

    def count(self) -> int:
        """About the number of sessions that `keys` will return. Called at most once, before `keys`."""
        raise NotImplementedError

    def keys(self) -> Iterator[list[Key]]:
        """The sessions that have not expired, in lists of up to CHUNK. Sessions that begin meanwhile may
        be missing."""
        raise NotImplementedError

    def find(self, session_key: str) -> Optional[Stored]:
        """The session under this key; None if there is none, or it cannot be read. Raises the back end's
        errors if the back end cannot be reached."""
        if not POSSIBLE_KEY.fullmatch(session_key):
            return None
        found = self.find_many([Key(session_key)]).get(session_key)
        return None if isinstance(found, Unreadable) or found is None else found

    def find_many(self, keys: Iterable[Key]) -> dict[str, Union[Stored, Unreadable]]:
        """Those of these sessions that exist and have not expired."""
        raise NotImplementedError

    def store(self, session_key: Optional[str] = None) -> Any:
        """Django's SessionStore for this key."""
        return self._engine.SessionStore(session_key)

    def insert(self, session_key: str, data: dict, expires_s: int) -> bool:
        """Stores a session that does not exist yet: False if it exists."""
        store: Any = self.store(session_key)
        store._session_cache = data
        age_s = max(1, expires_s - int(time.time()))
        store.get_expiry_age = lambda **_: age_s
        store.get_expiry_date = lambda **_: _date(expires_s)
        try:
            store.save(must_create=True)
        except CreateError:
            return False
        return True

    def update(self, session_key: str, data: dict) -> None:
        """Stores the next version of a session, if the session exists."""
        store: Any = self.store(session_key)
        store._session_cache = data
        try:
            store.save()
        except UpdateError:
            pass

    def delete(self, session_key: str) -> None:
        """Removes the session."""
        if POSSIBLE_KEY.fullmatch(session_key):
            self.store().delete(session_key)

    def _decoded(self, store, text):
        """The data in a stored text, or Unreadable. Django's `decode` returns {} for a damaged
        session."""
        data = store.decode(text)
        if data:
            return data
        try:
            signing.loads(text, salt=store.key_salt, serializer=store.serializer)
        except Exception as error:
            raise Unreadable(str(error)) from error
        return data


class DatabaseSource(Source):
    """Sessions in a table."""

    def _rows(self) -> Any:
        return self._engine.SessionStore.get_model_class().objects.filter(
            expire_date__gt=timezone.now()
        )

    def count(self) -> int:
        return self._rows().count()

    def keys(self) -> Iterator[list[Key]]:
        last = ""
        while True:
            rows = self._rows().filter(session_key__gt=last).order_by("session_key")
            found = list(rows.values_list("session_key", "expire_date")[:CHUNK])
            if not found:
                return
            yield [Key(key, int(date.timestamp())) for key, date in found]
            last = found[-1][0]

    def find_many(self, keys: Iterable[Key]) -> dict[str, Union[Stored, Unreadable]]:
        store = self.store()
        rows = self._rows().filter(session_key__in=[key.session_key for key in keys])
        found: dict[str, Union[Stored, Unreadable]] = {}
        for key, text, date in rows.values_list("session_key", "session_data", "expire_date"):
            try:
                found[key] = Stored(self._decoded(store, text), int(date.timestamp()))
            except Unreadable as error:
                found[key] = error
        return found


class ListedSource(Source):
    """A Source whose keys come in one list."""

    _keys: Optional[list[Key]] = None

    def _listed(self) -> list[Key]:
        raise NotImplementedError

    def count(self) -> int:
        self._keys = self._listed()
        return len(self._keys)

    def keys(self) -> Iterator[list[Key]]:
        keys = self._listed() if self._keys is None else self._keys
        self._keys = None
        for start in range(0, len(keys), CHUNK):
            yield keys[start : start + CHUNK]


class CacheSource(ListedSource):
    """Sessions in one of CACHES."""

    def __init__(self, name: str, engine: str, alias: str) -> None:
        super().__init__(name, engine)
        self._alias = alias
        try:
            caches[alias]  # an unknown alias is an error now, not at the first session
        except InvalidCacheBackendError as error:
            raise ImproperlyConfigured(f"{name!r}: CACHES has no {alias!r}.") from error

    def store(self, session_key: Optional[str] = None) -> Any:
        store: Any = super().store(session_key)
        store._cache = caches[self._alias]
        return store

    def _listed(self):
        """All keys, before any session is read, because memcached waits for a client that does not read
        the list."""
        prefix = self._engine.SessionStore.cache_key_prefix
        return [Key(name, expires_s) for name, expires_s in list_cache(self._alias, prefix)]

    def find_many(self, keys: Iterable[Key]) -> dict[str, Union[Stored, Unreadable]]:
        keys = list(keys)
        prefix = self._engine.SessionStore.cache_key_prefix
        values = caches[self._alias].get_many([prefix + key.session_key for key in keys])
        found: dict[str, Union[Stored, Unreadable]] = {}
        for key in keys:
            data = values.get(prefix + key.session_key)
            if data is not None and not isinstance(data, dict):
                found[key.session_key] = Unreadable(f"a {type(data).__name__} is no session")
            elif data is not None:
                found[key.session_key] = Stored(data, key.expires_s or _expiry(data, time.time()))
        return found


class FileSource(ListedSource):
    """Sessions in a folder."""

    def _listed(self):
        prefix = settings.SESSION_COOKIE_NAME
        names = sorted(os.listdir(self._engine.SessionStore._get_storage_path()))
        found = [Key(name[len(prefix) :]) for name in names if name.startswith(prefix)]
        return [key for key in found if key.session_key and VALID.issuperset(key.session_key)]

    def find_many(self, keys: Iterable[Key]) -> dict[str, Union[Stored, Unreadable]]:
        found: dict[str, Union[Stored, Unreadable]] = {}
        for key in keys:
            if not VALID.issuperset(key.session_key):
                continue
            store: Any = self.store(key.session_key)
            try:
                path = store._key_to_file()
                with open(path, encoding="ascii") as file:
                    modified_s = os.fstat(file.fileno()).st_mtime
                    data = self._decoded(store, file.read())
            except FileNotFoundError:
                continue
            except (Unreadable, UnicodeDecodeError) as error:
                found[key.session_key] = Unreadable(str(error))
                continue
            stored = Stored(data, _expiry(data, modified_s))
            if stored.expires_s > time.time():
                found[key.session_key] = stored
        return found


VALID = frozenset(VALID_KEY_CHARS)


def named(name: str) -> Source:
    """The Source that this text names, else ImproperlyConfigured."""
    if name in ("db", "cached_db"):
        return DatabaseSource(name, _BACKENDS + name)
    if name == "file":
        return FileSource(name, _BACKENDS + name)
    if name.startswith("cache:"):
        return CacheSource(name, _BACKENDS + "cache", name[len("cache:") :])
    if "." in name:
        return _source_of_engine(name)
    raise ImproperlyConfigured(
        f"{name!r} names no session back end: there are db, cached_db, file, cache:ALIAS, and the dotted "
        f"name of an engine that is made from one of these."
    )


def _source_of_engine(engine):
    from django.contrib.sessions.backends import cache, db, file

    try:
        store = importlib.import_module(engine).SessionStore
    except (ImportError, AttributeError) as error:
        raise ImproperlyConfigured(f"{engine!r} names no session back end: {error}") from error
    if issubclass(store, db.SessionStore):  # also the store of cached_db
        return DatabaseSource(engine, engine)
    if issubclass(store, file.SessionStore):
        return FileSource(engine, engine)
    if issubclass(store, cache.SessionStore):
        return CacheSource(engine, engine, settings.SESSION_CACHE_ALIAS)
    raise ImproperlyConfigured(
        f"{engine!r}: sessions can be moved from stores that are made from Django's own."
    )


def portable(data: dict) -> dict:
    """The data with the session's own expiry as text, as Django writes it from 4.1 on. Earlier versions
    store a date object in a cache."""
    expiry = data.get("_session_expiry")
    if isinstance(expiry, datetime.timedelta):
        expiry = timezone.now() + expiry
    if isinstance(expiry, datetime.datetime):
        return {**data, "_session_expiry": expiry.isoformat()}
    return data


def _expiry(data, modified_s):
    """When a session expires that was saved at `modified_s`, in Unix seconds."""
    expiry = portable(data).get("_session_expiry")
    if isinstance(expiry, str):
        return int(datetime.datetime.fromisoformat(expiry).timestamp())
    return int(modified_s + (expiry or settings.SESSION_COOKIE_AGE))


def _date(unix_s):
    """The time in the form that the database needs."""
    zone = datetime.timezone.utc if settings.USE_TZ else None
    return datetime.datetime.fromtimestamp(unix_s, zone)
