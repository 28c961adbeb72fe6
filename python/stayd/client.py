"""Client: one pool of stayd (or a memcached).

There are two back ends with the same interface. `native` is a C extension over libstayd: it reads
without a round trip from memory that the daemon shares with this process. If the extension cannot
be built or used, `pymemcache` does the same in Python (stayd.pymemcache_client). `Client.backend`
names the back end in use.
"""

import importlib
import math
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Optional, TypeVar, Union

from stayd.address import Address, checked_time_s, parse_url
from stayd.errors import InvalidKey

CONNECT_TIMEOUT_S = 2.0
TIMEOUT_S = 5.0
"""For one read or write on the socket: long enough for a slow disk under `fsync = always`."""

RESTART_WAIT_S = 1.0
"""For how long a refused connect is tried again: longer than a restart of the daemon takes."""

CLUSTER_CONNECT_TIMEOUT_S = 1.0
CLUSTER_TIMEOUT_S = 12.0
"""For the address of a clustered pool. A write may take some seconds while the cluster elects a leader;
the daemon replies after 10 s at the latest. A host that does not answer a connect is left for
another one, so that limit is short."""

IDLE_TIMEOUT_S = 60.0
"""A connection that is not used for this long is closed."""

CHOICE = "STAYD_CLIENT"
"""The environment variable that chooses a back end: "native" or "pymemcache"."""

Key = Union[str, bytes]
AnyKey = TypeVar("AnyKey", bound=Key)
"""Results have the same key objects as the request."""

extension: Any = None
WITHOUT_EXTENSION = ""
"""Why there is no extension."""

try:
    extension = importlib.import_module("stayd._client")
except ImportError as error:
    WITHOUT_EXTENSION = str(error)


class Client:
    """One pool: `Client("memcached://127.0.0.1:11200/")`, `Client("unix:///run/stayd/cache.sock")`.

    Keys are text or bytes: 1 to 250 bytes in UTF-8 without spaces and control characters, else
    InvalidKey. Values are bytes, or anything that `serde` (see stayd.serde) can convert to bytes. A
    stored value that the serde cannot read counts as missing and is logged. `ttl_s` is seconds from
    now; None: the item does not expire; 0 or below: the item expires at once.

    Raises ConnectionError, RequestRefused and ServerError (OutOfMemory, ValueTooLarge).

    It is thread-safe and may be used on both sides of a fork, even if Python does not notice the
    fork.

    A request whose connection breaks is sent again if it certainly was not carried out, or if it
    only reads. Any other request raises OutcomeUnknown, a ConnectionError: it may have been carried
    out, and the caller decides.

    While the daemon is being restarted, requests wait for it, up to `restart_wait_s`. If the daemon
    is down for longer, requests fail without a try for a time that doubles; at the end of that time
    one request tries.

    `Client(...)` returns a client of the back end that `Client.backend` names. If gevent or
    eventlet has replaced the process's sockets, it returns the pymemcache client, because a wait of
    the native client would block every greenlet. For a clustered pool it returns a client that
    goes over to another host (stayd.cluster_client).
    """

    backend: str = "pymemcache" if extension is None else "native"
    """The back end of this process, unless STAYD_CLIENT in the environment names another."""

    def __new__(cls, *arguments: Any, **options: Any) -> "Client":
        if cls is Client:
            cls = _implementation(arguments[0] if arguments else options.get("url"))
        return super().__new__(cls)

    def __init__(self, url: Union[str, Address], *, serde: Any = None,
                 connect_timeout_s: Optional[float] = None, timeout_s: Optional[float] = None,
                 restart_wait_s: Optional[float] = None, idle_timeout_s: Optional[float] = None,
                 max_connections: Optional[int] = None, username: Union[str, bytes, None] = None,
                 password: Union[str, bytes, None] = None) -> None:
        """`url` is a text as in stayd.address (else InvalidURL) or an Address. Connects to nothing
        before the first request. Times, user and password given here override those of the URL;
        ValueError if they would be invalid there. `serde` None: values are bytes."""
        self.address = url if isinstance(url, Address) else parse_url(url)
        self.url = self.address.url
        connect_default_s, default_s = CONNECT_TIMEOUT_S, TIMEOUT_S
        if self.address.cluster:
            connect_default_s, default_s = CLUSTER_CONNECT_TIMEOUT_S, CLUSTER_TIMEOUT_S
        self._connect_timeout_s = self._time_s(
            "connect_timeout", connect_timeout_s, connect_default_s
        )
        self._timeout_s = self._time_s("timeout", timeout_s, default_s)
        self._restart_wait_s = self._time_s("restart_wait", restart_wait_s, RESTART_WAIT_S)
        self._idle_timeout_s = self._time_s("idle_timeout", idle_timeout_s, IDLE_TIMEOUT_S)
        self._max_connections = max_connections

    def __repr__(self) -> str:
        return f"<stayd.Client {self.url}>"

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def get(self, key: Key, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        raise NotImplementedError

    def get_mapped(self, key: Key, default: Any = None) -> Any:
        """The value under `key` if memory that the daemon shares with this process has it, else
        `default`; then only `get` can tell whether there is a value. Never waits, so an event loop
        may call it. The pymemcache back end always returns `default`."""
        return default

    def gets(self, key: Key) -> tuple[Any, Optional[int]]:
        """(value, number for `cas`), or (None, None)."""
        raise NotImplementedError

    def gets_confirmed(self, key: Key, beginning: Any = None) -> tuple[Any, Optional[int]]:
        """Like `gets`. A host of a clustered pool that does not have the key, or has the value `beginning`,
        first makes sure that no other host has stored another before: some milliseconds, and a write
        to the cluster's log."""
        return self.gets(key)

    def get_many(self, keys: Iterable[AnyKey]) -> dict[AnyKey, Any]:
        """A dict of the existing `keys` and their values."""
        raise NotImplementedError

    def set(self, key: Key, value: Any, ttl_s: Optional[float] = None) -> None:
        """Stores `value`, whether the key exists or not."""
        raise NotImplementedError

    def set_many(
        self, values: Mapping[AnyKey, Any], ttl_s: Optional[float] = None
    ) -> list[AnyKey]:
        """Stores a dict of values; returns the keys whose values the pool had no room for."""
        raise NotImplementedError

    def add(self, key: Key, value: Any, ttl_s: Optional[float] = None) -> bool:
        """Stores `value` if the key does not exist; True if stored."""
        raise NotImplementedError

    def replace(self, key: Key, value: Any, ttl_s: Optional[float] = None) -> bool:
        """Stores `value` if the key exists; True if stored."""
        raise NotImplementedError

    def cas(
        self, key: Key, value: Any, number: int, ttl_s: Optional[float] = None
    ) -> Optional[bool]:
        """Stores `value` if the item has not changed since `gets` returned `number`: True if
        stored, False if the item has changed, None if it does not exist."""
        raise NotImplementedError

    def touch(self, key: Key, ttl_s: Optional[float] = None) -> bool:
        """Gives the item a new time to live; True if the item exists."""
        raise NotImplementedError

    def delete(self, key: Key) -> bool:
        """Removes the item; True if it existed."""
        raise NotImplementedError

    def delete_many(self, keys: Iterable[Key]) -> None:
        """Removes the items of all `keys`."""
        raise NotImplementedError

    def incr(self, key: Key, delta: int = 1) -> Optional[int]:
        """Adds `delta`, which may be negative, to a decimal number; the result stops at 0. Returns
        the new number, or None if there is no such item."""
        raise NotImplementedError

    def flush(self) -> None:
        """Removes every item of this pool. Other pools are not affected."""
        raise NotImplementedError

    def stats(self, *groups: str) -> dict[str, Union[str, int]]:
        """The daemon's statistics as a dict of text to text or int."""
        raise NotImplementedError

    def version(self) -> str:
        """The daemon's version, as text."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes all connections that are not in use. The next request opens one again."""
        raise NotImplementedError

    def _time_s(self, name, given_s, default_s):
        """The time in the argument, else the time in the URL, else the default."""
        if given_s is None:
            given_s = getattr(self.address, f"{name}_s")
        return default_s if given_s is None else checked_time_s(name, given_s)


def refuse_key(key):
    """Raises InvalidKey."""
    raise InvalidKey(
        f"{key!r} is no key: it must be 1 to 250 bytes of text in UTF-8 without spaces and control "
        f"characters."
    )


def _implementation(url):
    """The class of which `Client(url)` returns an instance."""
    if isinstance(url, str) and "cluster=" in url:
        url = parse_url(url)
    if isinstance(url, Address) and url.cluster:
        from stayd.cluster_client import ClusterClient

        return ClusterClient
    choice = os.environ.get(CHOICE) or Client.backend
    if choice not in ("native", "pymemcache"):
        raise ValueError(f"{CHOICE}={choice}: there are native and pymemcache.")
    if choice == "native" and extension is None:
        raise ImportError(f"{CHOICE}=native, but there is no extension: {WITHOUT_EXTENSION}")
    if choice == "native" and not sockets_are_replaced():
        from stayd.native_client import NativeClient

        return NativeClient
    from stayd.pymemcache_client import PymemcacheClient

    return PymemcacheClient


def sockets_are_replaced():
    """True if gevent, eventlet or a similar library has replaced socket.socket by its own class."""
    own = sys.modules.get("_socket")
    return own is None or socket.socket.recv is not own.socket.recv


def whole_ms(time_s):
    """Milliseconds, at least 1."""
    return max(1, math.ceil(time_s * 1000))
