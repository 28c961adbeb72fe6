"""Client: one pool of stayd (or of any memcached), as this package's other parts see it.

A Client is thread-safe and may be used on both sides of a fork, even a fork that Python does not
know of. Other modules decide what happens when a connection breaks or the daemon does not reply:
stayd.repetition (what may be sent again), stayd.availability (when to try), stayd.connections
(which connections are kept). This module combines them, converts times to seconds and values to
bytes, and raises errors that say what to do.
"""

import logging
import math
import os
import re
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Optional, TypeVar, Union

from pymemcache import exceptions as library

from stayd.address import Address, checked_login, checked_time_s, parse_url
from stayd.availability import Availability
from stayd.connection import (
    Broken,
    ConnectFailed,
    Connection,
    LoginFailed,
    TimedOut,
    TurnedAway,
)
from stayd.connections import Connections
from stayd.errors import (
    ConnectionError,
    InvalidKey,
    LoginRefused,
    OutcomeUnknown,
    OutOfMemory,
    RequestRefused,
    ServerError,
    ValueTooLarge,
)
from stayd.repetition import BATCH, HARMLESS, ONCE, TRIES, may_repeat
from stayd.serde import bytes_serde

CONNECT_TIMEOUT_S = 2.0
TIMEOUT_S = 5.0
"""For one read or write on the socket: long enough for a slow disk under `fsync = always`."""

RESTART_WAIT_S = 1.0
"""For how long a refused connect is tried again: longer than a restart of the daemon takes."""

IDLE_TIMEOUT_S = 60.0
"""A connection that was not used for so long is closed."""

BATCH_KEYS = 100
"""Keys in one request of the *_many methods. Bounded so that neither side waits for the other to
read while its own replies lie unread in the socket."""
BATCH_BYTES = 1 << 20
"""Of values in one request, so that a value that is refused takes few others with it."""

_RELATIVE_LIMIT_S = 60 * 60 * 24 * 30
"""Above this the protocol reads an expiry as a Unix time (protocol.txt, "Expiration times")."""

_KEY = re.compile(rb"[!-~\x80-\xff]{1,250}")
_MISSING = object()

Key = Union[str, bytes]
AnyKey = TypeVar("AnyKey", bound=Key)
"""What comes back is keyed as it was asked for."""

logger = logging.getLogger("stayd")
_get_pid = os.getpid


class _LeftAlone(Exception):
    """The daemon is down, and it is not yet time to try again. The argument is the reason."""


class _AllTaken(Exception):
    """max_connections are in use."""


class Client:
    """One pool: `Client("memcached://127.0.0.1:11200/")`, `Client("unix:///run/stayd/cache.sock")`.

    Keys are text or bytes: 1 to 250 bytes in UTF-8 without spaces and control characters, else
    InvalidKey. Values are bytes, or what `serde` (see stayd.serde) makes bytes of; a stored value
    that the serde cannot read counts as missing and is logged. `ttl_s` is seconds from now, None
    for no end; at 0 or below the item ends at once.

    Raises ConnectionError, RequestRefused and ServerError (OutOfMemory, ValueTooLarge).

    A request whose connection breaks is sent again if it surely was not carried out, or if it
    changes nothing. For all others OutcomeUnknown, a ConnectionError, says that they may have been
    carried out: the caller knows what follows from it.

    While the daemon is being restarted, requests wait for it, up to `restart_wait_s`. When it is
    away for longer, they fail without a try for a while that doubles, and one of them tries.
    """

    backend: str = "pymemcache"
    """What speaks the protocol."""

    def __init__(self, url: Union[str, Address], *, serde: Any = bytes_serde,
                 connect_timeout_s: Optional[float] = None, timeout_s: Optional[float] = None,
                 restart_wait_s: Optional[float] = None, idle_timeout_s: Optional[float] = None,
                 max_connections: Optional[int] = None, username: Union[str, bytes, None] = None,
                 password: Union[str, bytes, None] = None) -> None:
        """`url` is a text as in stayd.address (else InvalidURL) or an Address. Connects to nothing
        before the first request. Times, user and password given here win over those in the URL;
        ValueError for what could not stand there."""
        self.address = url if isinstance(url, Address) else parse_url(url)
        self.url = self.address.url
        self._serde = serde
        self._connect_timeout_s = self._time_s(
            "connect_timeout", connect_timeout_s, CONNECT_TIMEOUT_S
        )
        self._timeout_s = self._time_s("timeout", timeout_s, TIMEOUT_S)
        self._restart_wait_s = self._time_s("restart_wait", restart_wait_s, RESTART_WAIT_S)
        self._idle_timeout_s = self._time_s("idle_timeout", idle_timeout_s, IDLE_TIMEOUT_S)
        self._max_connections = max_connections
        self._tls_context = self.address.tls.new_context() if self.address.tls else None
        self._login = _login_request(self.address, username, password)
        self._connections = self._new_connections()
        _clients.add(self)

    def __repr__(self) -> str:
        return f"<stayd.Client {self.url}>"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def get(self, key: Key, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        key = _wire_key(key)
        pair = self._call("get", key, kind=HARMLESS)
        return default if pair is None else self._decoded(key, pair, default)

    def gets(self, key: Key) -> tuple[Any, Optional[bytes]]:
        """(value, number for `cas`), or (None, None)."""
        key = _wire_key(key)
        pair, number = self._call("gets", key, kind=HARMLESS)
        return (None, None) if pair is None else (self._decoded(key, pair, None), number)

    def get_many(self, keys: Iterable[AnyKey]) -> dict[AnyKey, Any]:
        """A dict of those of `keys` that there are, with their values."""
        asked = {_wire_key(key): key for key in keys}
        found = {}
        for batch in _batches(asked):
            for key, pair in self._call("get_many", batch, kind=HARMLESS).items():
                value = self._decoded(key, pair, _MISSING)
                if value is not _MISSING:
                    found[asked[key]] = value
        return found

    def set(self, key: Key, value: Any, ttl_s: Optional[float] = None) -> None:
        """Stores `value` whatever there was."""
        self._store("set", key, value, ttl_s)

    def set_many(
        self, values: Mapping[AnyKey, Any], ttl_s: Optional[float] = None
    ) -> list[AnyKey]:
        """Stores a dict of values; returns the keys whose values the pool had no room for."""
        keys = {_wire_key(key): key for key in values}
        expire = _expire(ttl_s)
        pairs = ((wire, self._serde.serialize(key, values[key])) for wire, key in keys.items())
        failed = []
        for batch in _batches(pairs, lambda pair: len(pair[1][0])):
            kind = BATCH if len(batch) > 1 else ONCE
            refused = self._call("set_many", dict(batch), expire, kind=kind)
            for key, error in refused.items():
                explained = self._explained(error, "set")
                if not isinstance(explained, (OutOfMemory, ValueTooLarge)):
                    raise explained from error
                failed.append(keys[key])
        return failed

    def add(self, key: Key, value: Any, ttl_s: Optional[float] = None) -> bool:
        """Stores `value` if there is none; True if it did."""
        return self._store("add", key, value, ttl_s)

    def replace(self, key: Key, value: Any, ttl_s: Optional[float] = None) -> bool:
        """Stores `value` if there is one already; True if it did."""
        return self._store("replace", key, value, ttl_s)

    def cas(
        self, key: Key, value: Any, number: Union[bytes, int, str], ttl_s: Optional[float] = None
    ) -> Optional[bool]:
        """Stores `value` if the item is still the one that `gets` gave with `number`: True if it
        did, False if it has changed, None if it is gone."""
        pair = self._serde.serialize(key, value)
        return self._call("cas", _wire_key(key), pair, number, _expire(ttl_s), kind=ONCE)

    def touch(self, key: Key, ttl_s: Optional[float] = None) -> bool:
        """Gives the item a new end; True if there is one."""
        return self._call("touch", _wire_key(key), _expire(ttl_s), kind=ONCE)

    def delete(self, key: Key) -> bool:
        """Removes the item; True if there was one."""
        return self._call("delete", _wire_key(key), kind=ONCE)

    def delete_many(self, keys: Iterable[Key]) -> None:
        """Removes all of `keys` that there are."""
        for batch in _batches([_wire_key(key) for key in keys]):
            kind = BATCH if len(batch) > 1 else ONCE
            self._call("delete_many", batch, kind=kind)

    def incr(self, key: Key, delta: int = 1) -> Optional[int]:
        """Adds `delta` (also a negative one; not below 0) to a decimal number and returns the new
        one, None if there is no such item."""
        command = "incr" if delta >= 0 else "decr"
        return self._call(command, _wire_key(key), abs(delta), kind=ONCE)

    def flush(self) -> None:
        """Removes every item of this pool, and of no other."""
        self._call("flush_all", kind=ONCE)

    def stats(self, *groups: str) -> dict[str, Union[str, int]]:
        """The daemon's statistics as a dict of text to text or int."""
        answer = self._call("stats", *groups, kind=HARMLESS)
        return {_text(name): _text(value) for name, value in answer.items()}

    def version(self) -> str:
        """The daemon's version, as text."""
        return _text(self._call("version", kind=HARMLESS))

    def close(self) -> None:
        """Closes all connections that are not in use. The next request opens one again."""
        self._connections_here().close()

    def _time_s(self, name, given_s, default_s):
        """The time that was given, else the URL's, else the default."""
        if given_s is None:
            given_s = getattr(self.address, f"{name}_s")
        return default_s if given_s is None else checked_time_s(name, given_s)

    def _store(self, command, key, value, ttl_s):
        pair = self._serde.serialize(key, value)
        return self._call(command, _wire_key(key), pair, _expire(ttl_s), kind=ONCE)

    def _decoded(self, key, pair, default):
        data, flags = pair
        try:
            return self._serde.deserialize(key, data, flags)
        except Exception as error:
            logger.warning("%s: the value under %r cannot be read: %s", self.url, key, error)
            return default

    def _new_connections(self):
        probe_limit_s = self._connect_timeout_s + self._timeout_s
        availability = Availability(self._restart_wait_s, probe_limit_s)
        return Connections(
            self._new_connection, availability, self._max_connections, self._idle_timeout_s
        )

    def _new_connection(self):
        return Connection(
            self.address, self._tls_context, self._login, self._connect_timeout_s, self._timeout_s
        )

    def _connections_here(self):
        """This process's own. In the child of a fork they are new: two processes on one connection
        would read each other's replies. No lock is taken for that, as a thread of the parent may
        have held it; of several threads that come here at once, setdefault lets one win."""
        connections = self._connections
        pid = _get_pid()
        if connections.pid == pid:
            return connections
        new = self._new_connections()
        winner = connections.successors.setdefault(pid, new)
        if winner is new:
            self._connections = new
            connections.abandon()
        return winner

    def _call(self, command, *arguments, kind):
        """Calls the connection's `command`, again where stayd.repetition allows it."""
        connections = self._connections
        if connections.pid != _get_pid():
            connections = self._connections_here()
        availability = connections.availability
        tries, began_s = 0, None
        while True:
            if availability.outage is not None:
                reason = availability.find_reason_to_fail()
                if reason is not None:
                    raise self._explained(_LeftAlone(reason), command)
            connection = connections.take(fresh=tries > 0)
            if connection is None:
                availability.release_probe()  # it may be this request's
                raise self._explained(_AllTaken(), command)
            try:
                if kind is not HARMLESS and (kind is BATCH or not connection.tells_unsent):
                    connection.close_if_dead()
                answer = getattr(connection, command)(*arguments)
            except BaseException as error:
                connections.drop(connection)
                began_s = began_s or connection.taken_s
                failure = connection.why_failed(error)
                goes_again = self._note_failure(connections, connection, failure, began_s)
                if isinstance(failure, Broken):
                    tries += 1
                    goes_again = tries < TRIES and may_repeat(kind, failure.sent)
                if not goes_again:
                    explained = self._explained(failure, command, kind)
                    if explained is None:
                        raise
                    raise explained from error
                continue
            connections.give_back(connection)
            if availability.outage is not None:
                availability.answered()
            return answer

    def _note_failure(self, connections, connection, failure, began_s):
        """Tells the availability what a failed try says of the daemon. True, after a pause, if a
        refused connect is to be tried again. `began_s`: when the request's first try began."""
        availability = connections.availability
        if isinstance(failure, ConnectFailed):
            if failure.refused:
                pause_s = availability.find_retry_pause(began_s)
                if pause_s is not None:
                    time.sleep(pause_s)
                    return True
            availability.failed(connection.taken_s, str(failure), failure.refused)
        elif isinstance(failure, TimedOut):
            reason = f"it did not answer within {self._timeout_s:g} s"
            availability.note_silence(connection.taken_s, connections.answered_s, reason)
        elif isinstance(failure, (TurnedAway, LoginFailed, library.MemcacheError)):
            if availability.outage is not None:
                availability.answered()
        else:
            availability.release_probe()
        return False

    def _explained(self, error, command, kind=HARMLESS):
        """This package's exception for one of the connection or the library; None if it has
        none."""
        if isinstance(error, _AllTaken):
            return ConnectionError(
                f"{self.url}: all {self._max_connections} connections are in use; raise "
                f"max_connections (max_pool_size in CACHES) or serve with fewer threads."
            )
        if isinstance(error, (ConnectFailed, _LeftAlone)):
            return ConnectionError(
                f"stayd cannot be reached at {self.url} ({error}). Start the daemon, or correct "
                f"the address."
            )
        if isinstance(error, LoginFailed):
            return LoginRefused(self._why_refused())
        if isinstance(error, TurnedAway):
            return ConnectionError(
                f"stayd at {self.url} has as many connections as it may have. Raise "
                f"max_connections in [server] of its configuration, or serve with fewer threads."
            )
        if isinstance(error, (TimedOut, Broken)):
            return self._lost(error, command, kind)
        text = _text(error.args[0]) if error.args else ""
        if isinstance(error, library.MemcacheServerError):
            return self._server_error(text, command)
        if isinstance(error, library.MemcacheUnknownCommandError):
            return RequestRefused(f"the server at {self.url} has no command {command!r}.")
        if isinstance(error, library.MemcacheClientError):
            return RequestRefused(f"the server at {self.url} refused {command!r}: {text}.")
        if isinstance(error, (library.MemcacheError, KeyError, ValueError, IndexError)):
            return RequestRefused(
                f"the answer of {self.url} to {command!r} is not one of the memcached protocol "
                f"({text}). Is it another kind of server that listens there?"
            )
        return None

    def _lost(self, error, command, kind):
        """For a request that has no answer."""
        if isinstance(error, TimedOut):
            what = f"stayd at {self.url} did not answer {command!r} within {self._timeout_s:g} s"
            hint = "?timeout=SECONDS in the URL makes it wait longer."
        else:
            what = f"stayd at {self.url} closed the connection before it answered {command!r}"
            hint = ""
        if kind is HARMLESS:
            return ConnectionError(f"{what}. Look at the daemon's log. {hint}".rstrip())
        unknown = OutcomeUnknown(
            f"{what}, so whether that was carried out is not known. It was not sent again, as that "
            f"could undo what others did meanwhile. Look at the daemon's log. {hint}".rstrip()
        )
        unknown.timed_out = isinstance(error, TimedOut)
        return unknown

    def _why_refused(self):
        if self._login is None:
            return (
                f"the pool at {self.url} asks for a user and a password: give them in the URL, "
                f"{self.url.replace('://', '://USER:PASSWORD@')}, percent-encoded."
            )
        return (
            f"the pool at {self.url} refuses this user and password. Compare them with the pool's "
            f"auth_file; after too many wrong ones from one address it refuses all for a minute."
        )

    def _server_error(self, text, command):
        if text.startswith("out of memory"):
            return OutOfMemory(
                f"the pool at {self.url} is full and drops no live item for a new one ({text}). "
                f"Raise `memory` of that pool in stayd's configuration."
            )
        if "too large" in text:
            return ValueTooLarge(
                f"the value is too large for the pool at {self.url} ({text}). Store less under one "
                f"key, or raise `item_max` of that pool in stayd's configuration."
            )
        return ServerError(f"stayd at {self.url} could not carry out {command!r}: {text}.")


def _login_request(address, username, password):
    """The login over the text protocol (memcached's -Y); None if there is nobody to log in as.

    It has an expiry that has passed: a pool that asks for no login takes it for an item, and must
    not show it to anybody.
    """
    login = (address.username, address.password)
    if username is not None or password is not None:
        given = checked_login(username, password)
        login = (given["username"], given["password"])
    if login[0] is None:
        return None
    value = b" ".join(login)
    return b"set stayd-login 0 -1 %d\r\n%b\r\n" % (len(value), value)


def _wire_key(key):
    """The key as bytes, or InvalidKey."""
    try:
        wire = key if isinstance(key, bytes) else key.encode()
    except (AttributeError, UnicodeEncodeError):
        wire = b""
    if not _KEY.fullmatch(wire):
        raise InvalidKey(
            f"{key!r} is no key: it must be 1 to 250 bytes of text in UTF-8 without spaces and "
            f"control characters."
        )
    return wire


def _expire(ttl_s):
    """The protocol's expiry for a duration. Rounded up, as the protocol knows whole seconds only:
    the item ends when the daemon's clock has passed that many full seconds."""
    if ttl_s is None:
        return 0
    if ttl_s <= 0:
        return -1
    if ttl_s > _RELATIVE_LIMIT_S:
        return math.ceil(time.time() + ttl_s)
    return math.ceil(ttl_s)


def _batches(items: Iterable[Any], count_bytes: Any = lambda item: 0) -> Iterator[list[Any]]:
    """Lists of `items` for one request each, bounded by their number and by their bytes."""
    batch: list[Any] = []
    size_bytes = 0
    for item in items:
        item_bytes = count_bytes(item)
        if batch and (len(batch) >= BATCH_KEYS or size_bytes + item_bytes > BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(item)
        size_bytes += item_bytes
    if batch:
        yield batch


def _text(value):
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


def _after_fork_in_child():
    for client in list(_clients):
        client._connections_here()


os.register_at_fork(after_in_child=_after_fork_in_child)
