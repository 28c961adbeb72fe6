"""Client: one pool of stayd (or of any memcached), as this package's other parts see it.

It is thread-safe and may be used on both sides of a fork. Connections are kept and used again. One
that died meanwhile, because the daemon was restarted, costs no request: those that may be sent
twice are, and the others look first. So a restart costs what was under way at that moment alone.

The protocol itself is pymemcache's business. What is decided here: which requests may be sent a
second time, that times are durations in seconds, that values are bytes unless a serde says
otherwise, and what an error says.
"""

import _socket
import builtins
import contextlib
import logging
import math
import os
import re
import select
import socket
import struct
import sys
import time
import weakref

from pymemcache import exceptions as library
from pymemcache.client.base import Client as LibraryClient
from pymemcache.pool import ObjectPool

from stayd.address import Address, checked_login, parse_url
from stayd.errors import (
    ConnectionError,
    InvalidKey,
    LoginRefused,
    OutOfMemory,
    RequestRefused,
    ServerError,
    ValueTooLarge,
)
from stayd.serde import bytes_serde

CONNECT_TIMEOUT_S = 2.0
TIMEOUT_S = 5.0
"""For one read or write on the socket: long enough for a slow disk under `fsync = always`."""

BATCH = 100
"""Keys in one request of the *_many methods. Bounded so that neither side waits for the other to
read while its own replies lie unread in the socket."""

_RELATIVE_LIMIT_S = 60 * 60 * 24 * 30
"""Above this the protocol reads an expiry as a Unix time (protocol.txt, "Expiration times")."""

_KEY = re.compile(rb"[!-~\x80-\xff]{1,250}")
_MISSING = object()

logger = logging.getLogger("stayd")


class _ConnectFailed(Exception):
    """No connection came about; nothing was sent."""


_TURNED_AWAY = b"ERROR Too many open connections"
_LOGIN_REFUSALS = (
    b"CLIENT_ERROR unauthenticated",
    b"CLIENT_ERROR authentication failure",
    b"CLIENT_ERROR bad authentication token format",
)
"""Also to a set without a login: the pool takes its value for one."""


class _TurnedAway(Exception):
    """Instead of the answer came word that there are too many connections."""


class _LoginFailed(Exception):
    """The pool wants a login, and none or a wrong one was sent."""


class _PairSerde:
    """Leaves (bytes, flags) pairs alone in both directions: Client converts outside the connection,
    so that a value that cannot be read is not taken for a broken connection."""

    def serialize(self, key, value):
        return value

    def deserialize(self, key, value, flags):
        return value, flags


class _Connection(LibraryClient):
    """One connection of the library, with a connect that tries every address of the host (the
    library tries the first: ::1 for `localhost`, even if the daemon listens on 127.0.0.1 only)."""

    login = None
    """What to send first: a whole request, as bytes."""

    _poll = None
    _tls_context = None
    last_words = b""
    """What the other end had said on the connection that was closed last, and nobody had read."""

    def _connect(self):
        self.close()
        self.last_words = b""
        try:
            if isinstance(self.server, tuple):
                sock = socket.create_connection(self.server, self.connect_timeout)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._tls_context is not None:
                    sock = self._shake_hands(sock)
            else:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    sock.settimeout(self.connect_timeout)
                    sock.connect(self.server)
                except OSError:
                    sock.close()
                    raise
        except OSError as error:
            raise _ConnectFailed(error.strerror or str(error)) from error
        if self._tls_context is None:
            _limit_waits(sock, self.timeout)
        else:
            sock.settimeout(self.timeout)  # ssl knows of no other limit
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        self.sock, self._poll = sock, poll
        if self.login is not None:
            self._log_in()

    def _log_in(self):
        try:
            self.sock.sendall(self.login)
            answer = b""
            while not answer.endswith(b"\r\n"):
                piece = self.sock.recv(256)
                if not piece:
                    raise library.MemcacheUnexpectedCloseError
                answer += piece
            self._raise_errors(answer[:-2], b"login")
            if answer != b"STORED\r\n":
                raise library.MemcacheUnknownError(answer[:-2])
        except BaseException:
            self.close()
            raise

    def _shake_hands(self, sock):
        try:
            return self._tls_context.wrap_socket(sock, server_hostname=self.server[0])
        except BaseException:
            sock.close()
            raise

    def close(self):
        # Of TLS it cannot be known whether what there is to read is a word of the server's.
        if self.sock is not None and self._tls_context is None:
            with contextlib.suppress(OSError):
                if self._poll.poll(0):
                    self.last_words = self.sock.recv(len(_TURNED_AWAY))
        super().close()

    def abandon(self):
        """Closes this process's end of it, and leaves what comes on it to the other process."""
        super().close()

    def _raise_errors(self, line, name):
        if line.startswith(_TURNED_AWAY):
            raise _TurnedAway
        if line.startswith(_LOGIN_REFUSALS):
            raise _LoginFailed
        super()._raise_errors(line, name)

    def close_if_dead(self):
        """Closes the socket if the other end did: between requests there is nothing to read on it,
        so anything readable is the end of the stream, an error, or a reply to nothing."""
        if self.sock is not None and self._poll.poll(0):
            self.close()


class Client:
    """One pool: `Client("memcached://127.0.0.1:11200/")`, `Client("unix:///run/stayd/cache.sock")`.

    Keys are text or bytes: 1 to 250 bytes in UTF-8 without spaces and control characters, else
    InvalidKey. Values are bytes, or what `serde` (see stayd.serde) makes bytes of; a stored value
    that the serde cannot read counts as missing and is logged. `ttl_s` is seconds from now, None
    for no end; at 0 or below the item ends at once.

    Raises ConnectionError, RequestRefused and ServerError (OutOfMemory, ValueTooLarge).

    A request whose connection breaks before the answer is sent once more if doing it twice is the
    same as doing it once: all reads, set, replace, touch, delete and flush. After that repetition
    `delete` may say False for an item that the first try had removed. add, cas and incr are not
    repeated: ConnectionError says that their outcome is not known.
    """

    def __init__(self, url, *, serde=bytes_serde, connect_timeout_s=None, timeout_s=None,
                 max_connections=None, username=None, password=None):
        """`url` is a text as in stayd.address (else InvalidURL) or an Address. Connects to nothing
        before the first request. Times, user and password given here win over those in the
        URL."""
        self.address = url if isinstance(url, Address) else parse_url(url)
        self.url = self.address.url
        self._serde = serde
        self._connect_timeout_s = (
            connect_timeout_s or self.address.connect_timeout_s or CONNECT_TIMEOUT_S
        )
        self._timeout_s = timeout_s or self.address.timeout_s or TIMEOUT_S
        self._max_connections = max_connections
        self._tls_context = self.address.tls.new_context() if self.address.tls else None
        self._login = _login_request(self.address, username, password)
        self._pool = self._new_pool()
        _clients.add(self)

    def __repr__(self):
        return f"<stayd.Client {self.url}>"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def get(self, key, default=None):
        """The value under `key`, or `default`."""
        key = _wire_key(key)
        pair = self._call("get", key, again=True)
        return default if pair is None else self._decoded(key, pair, default)

    def gets(self, key):
        """(value, number for `cas`), or (None, None)."""
        key = _wire_key(key)
        pair, number = self._call("gets", key, again=True)
        return (None, None) if pair is None else (self._decoded(key, pair, None), number)

    def get_many(self, keys):
        """A dict of those of `keys` that there are, with their values."""
        keys = {_wire_key(key): key for key in keys}
        found = {}
        for batch in _batches(list(keys)):
            for key, pair in self._call("get_many", batch, again=True).items():
                value = self._decoded(key, pair, _MISSING)
                if value is not _MISSING:
                    found[keys[key]] = value
        return found

    def set(self, key, value, ttl_s=None):
        """Stores `value` whatever there was."""
        self._store("set", key, value, ttl_s, again=True)

    def set_many(self, values, ttl_s=None):
        """Stores a dict of values; returns the keys whose values the pool had no room for."""
        keys = {_wire_key(key): key for key in values}
        expire = _expire(ttl_s)
        failed = []
        for batch in _batches(list(keys)):
            pairs = {key: self._serde.serialize(keys[key], values[keys[key]]) for key in batch}
            try:
                refused = self._call("set_many", pairs, expire, again=True)
            except (OutOfMemory, ValueTooLarge):
                refused = [key for key in batch if not self._fits(key, pairs[key], expire)]
            failed += [keys[key] for key in refused]
        return failed

    def add(self, key, value, ttl_s=None):
        """Stores `value` if there is none; True if it did."""
        return self._store("add", key, value, ttl_s, again=False)

    def replace(self, key, value, ttl_s=None):
        """Stores `value` if there is one already; True if it did."""
        return self._store("replace", key, value, ttl_s, again=True)

    def cas(self, key, value, number, ttl_s=None):
        """Stores `value` if the item is still the one that `gets` gave with `number`: True if it
        did, False if it has changed, None if it is gone."""
        pair = self._serde.serialize(key, value)
        return self._call("cas", _wire_key(key), pair, number, _expire(ttl_s), again=False)

    def touch(self, key, ttl_s=None):
        """Gives the item a new end; True if there is one."""
        return self._call("touch", _wire_key(key), _expire(ttl_s), again=True)

    def delete(self, key):
        """Removes the item; True if there was one."""
        return self._call("delete", _wire_key(key), again=True)

    def delete_many(self, keys):
        """Removes all of `keys` that there are."""
        for batch in _batches([_wire_key(key) for key in keys]):
            self._call("delete_many", batch, again=True)

    def incr(self, key, delta=1):
        """Adds `delta` (also a negative one; not below 0) to a decimal number and returns the new
        one, None if there is no such item."""
        command = "incr" if delta >= 0 else "decr"
        return self._call(command, _wire_key(key), abs(delta), again=False)

    def flush(self):
        """Removes every item of this pool, and of no other."""
        self._call("flush_all", again=True)

    def stats(self, *groups):
        """The daemon's statistics as a dict of text to text or int."""
        answer = self._call("stats", *groups, again=True)
        return {_text(name): _text(value) for name, value in answer.items()}

    def version(self):
        """The daemon's version, as text."""
        return _text(self._call("version", again=True))

    def close(self):
        """Closes all idle connections. The next request opens one again."""
        self._pool.clear()

    def _store(self, command, key, value, ttl_s, again):
        pair = self._serde.serialize(key, value)
        return self._call(command, _wire_key(key), pair, _expire(ttl_s), again=again)

    def _fits(self, key, pair, expire):
        try:
            self._call("set", key, pair, expire, again=True)
        except (OutOfMemory, ValueTooLarge):
            return False
        return True

    def _decoded(self, key, pair, default):
        data, flags = pair
        try:
            return self._serde.deserialize(key, data, flags)
        except Exception as error:
            logger.warning("%s: the value under %r cannot be read: %s", self.url, key, error)
            return default

    def _new_pool(self):
        return ObjectPool(
            self._new_connection,
            after_remove=lambda connection: connection.close(),
            max_size=self._max_connections,
        )

    def _new_connection(self):
        connection = _Connection(
            self.address.server,
            serde=_PairSerde(),
            connect_timeout=self._connect_timeout_s,
            timeout=self._timeout_s,
            default_noreply=False,
        )
        connection._tls_context = self._tls_context
        connection.login = self._login
        return connection

    def _forget_connections(self):
        """In the child of a fork: the connections are the parent's, and two processes on one would
        read each other's replies. The lock of the pool may be held by a thread that is not here."""
        parents = self._pool
        self._pool = self._new_pool()
        for connection in parents.free + parents.used:
            connection.abandon()

    def _call(self, command, *arguments, again):
        """Calls the library's `command` on a connection. `again`: send it a second time, on a new
        connection, if the first breaks before the answer."""
        pool = self._pool
        try:
            connection = pool.get()
        except RuntimeError as error:
            raise ConnectionError(
                f"{self.url}: all {self._max_connections} connections are in use; raise "
                f"max_connections (max_pool_size in CACHES) or serve with fewer threads."
            ) from error
        try:
            if not again:
                connection.close_if_dead()
            try:
                answer = getattr(connection, command)(*arguments)
            except (library.MemcacheUnexpectedCloseError, builtins.ConnectionError):
                if connection.last_words == _TURNED_AWAY:
                    raise _TurnedAway from None
                if not again:
                    raise
                connection.close()
                answer = getattr(connection, command)(*arguments)
        except BaseException as error:
            pool.destroy(connection)
            explained = self._explained(error, command)
            if explained is None:
                raise
            raise explained from error
        pool.release(connection)
        return answer

    def _explained(self, error, command):
        """This package's exception for one of the library or the socket; None if it has none."""
        if isinstance(error, _ConnectFailed):
            return ConnectionError(
                f"stayd cannot be reached at {self.url} ({error}). Start the daemon, or correct "
                f"the address."
            )
        if isinstance(error, _LoginFailed):
            return LoginRefused(self._why_refused())
        if isinstance(error, _TurnedAway):
            return ConnectionError(
                f"stayd at {self.url} has as many connections as it may have. Raise "
                f"max_connections in [server] of its configuration, or serve with fewer threads."
            )
        if isinstance(error, (socket.timeout, BlockingIOError)):
            return ConnectionError(
                f"stayd at {self.url} did not answer {command!r} within {self._timeout_s:g} s. "
                f"Look at the daemon's log; ?timeout=SECONDS in the URL makes it wait longer."
            )
        if isinstance(error, (library.MemcacheUnexpectedCloseError, OSError)):
            return ConnectionError(
                f"stayd at {self.url} closed the connection before it answered {command!r}, so "
                f"whether that was carried out is not known. Look at the daemon's log."
            )
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


def _limit_waits(sock, timeout_s):
    """Lets no read or write on a connected socket wait for longer.

    By the kernel's own limit, where there is one: Python's costs a poll before each read and each
    write. Not for the sockets of gevent and the like, which have a way of their own to wait.
    """
    plain = type(sock).recv is _socket.socket.recv
    if not (plain and sys.platform == "linux"):
        sock.settimeout(timeout_s)
        return
    seconds, part = divmod(math.ceil(timeout_s * 1_000_000), 1_000_000)
    limit = struct.pack("@ll", seconds, part)  # a struct timeval
    sock.settimeout(None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


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


def _batches(keys):
    for start in range(0, len(keys), BATCH):
        yield keys[start:start + BATCH]


def _text(value):
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


_clients = weakref.WeakSet()


def _after_fork_in_child():
    for client in list(_clients):
        client._forget_connections()


os.register_at_fork(after_in_child=_after_fork_in_child)
