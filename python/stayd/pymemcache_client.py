"""Client over pymemcache, for processes where stayd._client cannot be built or used.

Other modules decide what happens when a connection breaks or the daemon is away: stayd.repetition
(which requests may be sent a second time), stayd.availability (when to try at all) and
stayd.connections (which connections are kept). This module combines these, converts times and
values, and raises errors that say what to do.
"""

import logging
import math
import os
import re
import time
import weakref
from typing import Any

from pymemcache import exceptions as library

from stayd.address import checked_login
from stayd.availability import Availability
from stayd.client import Client, refuse_key
from stayd.connection import (
    Broken,
    ConnectFailed,
    Connection,
    LoginFailed,
    NoDescriptor,
    TimedOut,
    TurnedAway,
)
from stayd.connections import Connections
from stayd.errors import (
    ConnectionError,
    LoginRefused,
    OutcomeUnknown,
    OutOfMemory,
    RequestRefused,
    ServerError,
    ValueTooLarge,
)
from stayd.repetition import BATCH, HARMLESS, ONCE, TRIES, may_repeat
from stayd.serde import bytes_serde

BATCH_KEYS = 100
"""The largest number of keys in one request of the *_many methods. A limit is needed so that client
and server do not both wait for the other to read."""
BATCH_BYTES = 1 << 20
"""The largest number of bytes of values in one request, so that a refused value affects few other
values."""

_RELATIVE_LIMIT_S = 60 * 60 * 24 * 30
"""Above this the protocol reads an expiry as a Unix time (protocol.txt, "Expiration times")."""

_DATE_LIMIT = 2**31 - 1
"""The last date that every memcached accepts as a date in the future. An item with a later expiry,
which needs more than 31 bits, would expire at once."""

_KEY = re.compile(rb"[!-~\x80-\xff]{1,250}")
_MISSING = object()

logger = logging.getLogger("stayd")
_get_pid = os.getpid


class _LeftAlone(Exception):
    """The daemon is down, and it is not yet time to try again. The argument is the reason."""


class _AllTaken(Exception):
    """All max_connections connections are in use."""


class PymemcacheClient(Client):
    """See stayd.Client."""

    backend = "pymemcache"

    def __init__(self, url, *, serde=None, username=None, password=None, **options):
        super().__init__(url, **options)
        self._serde = bytes_serde if serde is None else serde
        self._tls_context = self.address.tls.new_context() if self.address.tls else None
        self._login = _login_request(self.address, username, password)
        self._connections = self._new_connections()
        _clients.add(self)

    def get(self, key, default=None):
        """The value under `key`, or `default`."""
        key = _wire_key(key)
        pair = self._call("get", key, kind=HARMLESS)
        return default if pair is None else self._decoded(key, pair, default)

    def gets(self, key):
        """(value, number for `cas`), or (None, None)."""
        key = _wire_key(key)
        pair, number = self._call("gets", key, kind=HARMLESS)
        return (None, None) if pair is None else (self._decoded(key, pair, None), int(number))

    def get_many(self, keys):
        """A dict of the existing `keys` and their values."""
        keys = {_wire_key(key): key for key in keys}
        found = {}
        for batch in _batches(keys):
            for key, pair in self._call("get_many", batch, kind=HARMLESS).items():
                value = self._decoded(key, pair, _MISSING)
                if value is not _MISSING:
                    found[keys[key]] = value
        return found

    def set(self, key, value, ttl_s=None):
        """Stores `value`, whether the key exists or not."""
        self._store("set", key, value, ttl_s)

    def set_many(self, values, ttl_s=None):
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

    def add(self, key, value, ttl_s=None):
        """Stores `value` if the key does not exist; True if stored."""
        return self._store("add", key, value, ttl_s)

    def replace(self, key, value, ttl_s=None):
        """Stores `value` if the key exists; True if stored."""
        return self._store("replace", key, value, ttl_s)

    def cas(self, key, value, number, ttl_s=None):
        """Stores `value` if the item has not changed since `gets` returned `number`: True if
        stored, False if the item has changed, None if it does not exist."""
        pair = self._serde.serialize(key, value)
        return self._call("cas", _wire_key(key), pair, number, _expire(ttl_s), kind=ONCE)

    def touch(self, key, ttl_s=None):
        """Gives the item a new time to live; True if the item exists."""
        return self._call("touch", _wire_key(key), _expire(ttl_s), kind=ONCE)

    def delete(self, key):
        """Removes the item; True if it existed."""
        return self._call("delete", _wire_key(key), kind=ONCE)

    def delete_many(self, keys):
        """Removes the items of all `keys`."""
        for batch in _batches([_wire_key(key) for key in keys]):
            kind = BATCH if len(batch) > 1 else ONCE
            self._call("delete_many", batch, kind=kind)

    def incr(self, key, delta=1):
        """Adds `delta`, which may be negative, to a decimal number; the result stops at 0. Returns
        the new number, or None if there is no such item."""
        command = "incr" if delta >= 0 else "decr"
        return self._call(command, _wire_key(key), abs(delta), kind=ONCE)

    def flush(self):
        """Removes every item of this pool. Other pools are not affected."""
        self._call("flush_all", kind=ONCE)

    def stats(self, *groups):
        """The daemon's statistics as a dict of text to text or int."""
        answer = self._call("stats", *groups, kind=HARMLESS)
        return {_text(name): _text(value) for name, value in answer.items()}

    def version(self):
        """The daemon's version, as text."""
        return _text(self._call("version", kind=HARMLESS))

    def close(self):
        """Closes all connections that are not in use. The next request opens one again."""
        self._connections_here().close()

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
        """The connections of this process. A child of a fork gets new ones: two processes on one
        connection would read each other's replies. No lock is used, because a thread of the parent
        may have held it; if several threads call this at once, setdefault keeps the object of one
        of them."""
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
        """Calls the connection's `command`, and repeats it if stayd.repetition allows that."""
        connections = self._connections
        if connections.pid != _get_pid():
            connections = self._connections_here()
        availability = connections.availability
        tries, began_s, request = 0, None, None
        while True:
            if availability.outage is not None:
                request = request or object()
                reason = availability.find_reason_to_fail(request)
                if reason is not None:
                    raise self._explained(_LeftAlone(reason), command)
            connection = connections.take(fresh=tries > 0)
            if connection is None:
                availability.release_probe(request)
                raise self._explained(_AllTaken(), command)
            try:
                if kind is not HARMLESS and (kind is BATCH or not connection.tells_unsent):
                    connection.close_if_dead()
                answer = getattr(connection, command)(*arguments)
            except BaseException as error:
                connections.drop(connection)
                began_s = began_s or connection.taken_s
                failure = connection.why_failed(error)
                goes_again = self._note_failure(connections, connection, failure, began_s, request)
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

    def _note_failure(self, connections, connection, failure, began_s, request):
        """Reports a failed try to the availability. Returns True, after a pause, if a refused
        connect should be tried again. `began_s`: when the request's first try began. `request`: for
        the availability, None if there was no outage."""
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
            availability.release_probe(request)
        return False

    def _explained(self, error, command, kind=HARMLESS):
        """This package's exception for an exception of the connection or of pymemcache; None if
        there is no such exception."""
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
        if isinstance(error, NoDescriptor):
            return ConnectionError(
                f"this process cannot open a connection to {self.url}: {error}. Raise its limit of "
                f"open files (ulimit -n), or close some."
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
        """The exception for a request without an answer."""
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
        if text.startswith("replication unavailable"):
            unknown = OutcomeUnknown(
                f"the cluster of the pool at {self.url} did not confirm {command!r}, so whether that "
                f"was carried out is not known. Look at the daemon's log, and at `stayctl cluster "
                f"status`."
            )
            unknown.timed_out = True
            return unknown
        if text.startswith("catching up"):
            return ConnectionError(
                f"stayd at {self.url} has not caught up with its cluster yet: ask another host, or "
                f"try again later."
            )
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
    """The login over the text protocol (memcached's -Y); None if the address has no user.

    Its expiry is in the past, because a pool without logins stores the value as an item, which no
    client may read.
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
        refuse_key(key)
    return wire


def _expire(ttl_s):
    """The protocol's expiry for a time to live. Rounded up, because the protocol has whole seconds
    only: the item expires when the daemon's clock has advanced by that many full seconds."""
    if ttl_s is None:
        return 0
    if ttl_s <= 0:
        return -1
    if ttl_s > _RELATIVE_LIMIT_S:
        return math.ceil(min(time.time() + ttl_s, _DATE_LIMIT))
    return math.ceil(ttl_s)


def _batches(items, count_bytes=lambda item: 0):
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


_clients: "weakref.WeakSet[PymemcacheClient]" = weakref.WeakSet()


def _after_fork_in_child():
    for client in list(_clients):
        client._connections_here()


os.register_at_fork(after_in_child=_after_fork_in_child)
