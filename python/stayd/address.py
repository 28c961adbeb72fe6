"""Addresses of pools: URLs, and the shorter forms that Django's CACHES accepts.

    memcached://127.0.0.1:11200/            TCP
    memcached://[::1]:11200/?timeout=0.5    TCP, with its own limit for one request
    unix:///run/stayd/sessions.sock         a Unix socket; unix:/run/... is the same
    memcached://web:pass%20word@db1:11200/  as a user with a password; unix://web:...@/run/... too
    memcacheds://cache.example:11200/?ca=/etc/ssl/ours.pem    TLS over TCP
    memcached://127.0.0.1:11200,app2:11200,app3:11200/?cluster=yes    hosts of one clustered pool
    memcached://%2Frun%2Fstayd%2Fsessions.sock,app2:11200/?cluster=yes    the first over its socket

The query may set times in seconds: `timeout`, `connect_timeout`, `restart_wait` (for how long a
refused connect is tried again; 0: not at all) and `idle_timeout` (after which an unused connection
is closed). With memcacheds it may also set `ca` (the CA that must have signed the server's
certificate; the default is the system's list), and `cert` and `key` (the client's certificate, for
a pool with a tls_ca): absolute paths of PEM files. The certificate must be for the host that the
URL names.

Several hosts and `cluster=yes` name one clustered pool: every host has all items. The client uses
the first, which should be on this machine, and another one only while the first cannot serve. Login,
times and files are the same for all hosts. Without `cluster=yes`, several hosts are an error: a
client that took a list of plain pools for a cluster would log users out.

In user and password, all characters except letters, digits and -._~ are percent-encoded.
"""

import dataclasses
import math
import os
import re
import ssl
from typing import Any, Optional
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

from stayd.errors import InvalidURL

DEFAULT_PORT = 11211
"""The port of memcached, and of stayd's cache pool."""

SESSIONS_PORT = 11200
"""The port of stayd's sessions pool. Used in messages only: it is never the default of a URL."""

_TIMES = ("timeout", "connect_timeout", "restart_wait", "idle_timeout")

_CLUSTER_LOCATION = re.compile(r"\s*memcacheds?://[^/?#]*,[^/?#]*/?\?(.*&)?cluster=", re.IGNORECASE)
_HOSTS = re.compile(r"(memcacheds?://(?:[^/?#]*@)?)([^/?#@]*)(.*)", re.IGNORECASE)
_SOCKET = re.compile("%2f", re.IGNORECASE)

_FORMS = "memcached://HOST:PORT/, memcacheds://HOST:PORT/ (TLS) or unix:///PATH/TO/SOCKET"
_LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}


@dataclasses.dataclass(frozen=True)
class Tls:
    """The TLS settings: paths of PEM files; None if the URL has none."""

    ca: Optional[str] = None
    cert: Optional[str] = None
    key: Optional[str] = None

    def new_context(self):
        """An ssl.SSLContext that checks the server. InvalidURL if a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ValueError) as error:
            files = ", ".join(path for path in (self.ca, self.cert, self.key) if path)
            raise InvalidURL(
                f"TLS cannot use {files or 'the certificates of the system'}: {error}."
            ) from error
        return context


@dataclasses.dataclass(frozen=True)
class Address:
    """A pool's address: either `host` and `port`, or `path`. Times are seconds, None = default.
    `username` and `password` are both there or both None."""

    host: Optional[str] = None
    port: Optional[int] = None
    path: Optional[str] = None
    connect_timeout_s: Optional[float] = None
    timeout_s: Optional[float] = None
    restart_wait_s: Optional[float] = None
    idle_timeout_s: Optional[float] = None
    tls: Optional[Tls] = None
    """None: without TLS."""
    username: Optional[bytes] = None
    password: Optional[bytes] = dataclasses.field(default=None, repr=False)
    cluster: bool = False
    """True: the pool is replicated to several hosts."""
    neighbours: tuple["Address", ...] = ()
    """The same clustered pool on other hosts."""

    @property
    def url(self):
        """The address as a URL for messages: without user, password and query."""
        if self.path is not None and not self.neighbours:
            return f"unix://{self.path}"
        hosts = ",".join(member._host_and_port for member in self.members)
        secure = any(member.tls for member in self.members)
        return f"memcached{'s' if secure else ''}://{hosts}/"

    @property
    def _host_and_port(self):
        if self.path is not None:
            return self.path.replace("/", "%2F")
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def members(self):
        """The Address of each host, in the URL's order: one, except for several hosts of a cluster."""
        own = dataclasses.replace(self, neighbours=()) if self.neighbours else self
        return (own, *self.neighbours)

    @property
    def server(self):
        """The address in pymemcache's form: (host, port) or the socket's path."""
        return self.path if self.path is not None else (self.host, self.port)

    @property
    def is_local(self):
        """True if the address can only be on this machine."""
        return self.path is not None or self.host in _LOOPBACK

    @property
    def place(self):
        """Equal for two addresses of the same listener, even if they are written differently.

        All names of this machine's loopback count as one host. A TCP port and a Unix socket of the
        same pool are not equal: only the daemon knows that they belong together (its `pool`
        statistic).
        """
        if self.path is not None:
            return os.path.realpath(self.path)
        return ("127.0.0.1" if self.host in _LOOPBACK else self.host, self.port)


def parse_url(url, default_port=DEFAULT_PORT):
    """The Address that `url` names. Raises InvalidURL, which says what is wrong with the URL.

    If `default_port` is None, a TCP address without a port is an error.
    """
    if not isinstance(url, str) or not url:
        raise InvalidURL(f"{url!r} is no address of a pool: give a text like {_FORMS}.")
    shown = repr(re.sub(r"//.*@", "//...@", url, flags=re.DOTALL))
    if re.search(r"[\x00-\x20\x7f]", url):
        raise InvalidURL(f"{shown} holds spaces or control characters: give {_FORMS}.")
    several = _HOSTS.match(url)
    if several and ("," in several[2] or _SOCKET.match(several[2])):
        return _parse_cluster(several, shown, default_port)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidURL(f"{shown} cannot be read ({error}): give {_FORMS}.") from None
    if not (url.lower().startswith(("memcached://", "memcacheds://")) or parts.scheme == "unix"):
        raise InvalidURL(f"{shown} has an unknown scheme: give {_FORMS}.")
    if parts.fragment:
        raise InvalidURL(f"{shown} has a fragment (#...), which means nothing here: give {_FORMS}.")
    options = {**_options(shown, parts), **_login(shown, parts)}
    if parts.scheme == "unix":
        if host or port is not None or not parts.path.startswith("/") or parts.path.endswith("/"):
            raise InvalidURL(f"{shown} has no absolute path of a socket: give unix:///PATH.")
        return Address(path=parts.path, **options)
    if not host:
        raise InvalidURL(f"{shown} names no host: give memcached://HOST:PORT/.")
    if parts.path not in ("", "/"):
        raise InvalidURL(f"{shown} has a path ({parts.path}): a pool is named by its port alone.")
    if port is None:
        port = default_port
    if port is None:
        raise InvalidURL(
            f"{shown} names no port: stayd's sessions pool listens on {SESSIONS_PORT} unless its "
            f"configuration says otherwise, the cache pool on {DEFAULT_PORT}."
        )
    if port == 0:
        raise InvalidURL(f"{shown} names port 0, on which nothing can listen.")
    return Address(host=host, port=port, **options)


def _parse_cluster(several, shown, default_port):
    """The Address of the first host in a URL with several hosts, and the others as its neighbours.
    `several`: the match of _HOSTS."""
    begin, hosts, end = several.groups()
    members = []
    for host in hosts.split(","):
        if not host:
            raise InvalidURL(f"{shown} has an empty name between two commas.")
        if _SOCKET.match(host):
            # The times and the login are those of the URL; a socket has no port and no TLS.
            member = parse_url(f"{begin}localhost:1{end}")
            path = os.fsdecode(unquote_to_bytes(host))
            member = dataclasses.replace(member, host=None, port=None, path=path, tls=None)
        else:
            member = parse_url(f"{begin}{host}{end}", default_port)
        members.append(member)
    if len(members) > 1 and not members[0].cluster:
        raise InvalidURL(
            f"{shown} names {len(members)} hosts. If all of them keep one clustered pool, say so: "
            f"/?cluster=yes. A pool without a cluster is on one host: give that one."
        )
    if len({member.place for member in members}) < len(members):
        raise InvalidURL(f"{shown} names a host twice.")
    return dataclasses.replace(members[0], neighbours=tuple(members[1:]))


def _login(shown, parts):
    """The user and the password in a URL, under Address's names."""
    if parts.username is None and parts.password is None:
        return {}
    try:
        return checked_login(unquote_to_bytes(parts.username or ""),
                             unquote_to_bytes(parts.password or ""))
    except ValueError as error:
        raise InvalidURL(f"{shown}: {error}") from None


def checked_login(username, password):
    """The user and the password as a dict of bytes, under Address's names; ValueError if no pool
    can have such a user."""
    username = username.encode() if isinstance(username, str) else username
    password = password.encode() if isinstance(password, str) else password
    if not username or not re.fullmatch(rb"[!-9;-~\x80-\xff]{1,128}", username):
        raise ValueError("a user's name is 1 to 128 bytes without spaces and colons.")
    if not password or not re.fullmatch(rb"[ -~\x80-\xff]{1,511}", password):
        raise ValueError("a password is 1 to 511 bytes without control characters.")
    return {"username": username, "password": password}


def checked_time_s(name, value):
    """The time as a float; ValueError if the URL's option `name` cannot have this value."""
    try:
        time_s = float(value)
    except (TypeError, ValueError):
        time_s = math.nan
    least = "seconds from 0" if name == "restart_wait" else "seconds above 0"
    if not (math.isfinite(time_s) and (time_s > 0 or (time_s == 0 and name == "restart_wait"))):
        raise ValueError(f"{name} as {value!r}: give {least}, like 0.5.")
    return time_s


def _options(shown, parts):
    """The settings in a URL's query and scheme, under Address's names."""
    names = {name: f"{name}_s" for name in _TIMES}
    files = ("ca", "cert", "key") if parts.scheme == "memcacheds" else ()
    options: dict[str, Any] = {}
    paths: dict[str, str] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name == "cluster":
            if text not in ("yes", "no"):
                raise InvalidURL(f"{shown} gives cluster as {text!r}: give yes or no.")
            options["cluster"] = text == "yes"
            continue
        if name in files:
            if not text.startswith("/"):
                raise InvalidURL(f"{shown} gives {name} as {text!r}: give an absolute path.")
            paths[name] = text
            continue
        if name not in names:
            known = ", ".join((*names, "cluster", *files))
            raise InvalidURL(f"{shown} has an unknown option {name!r}: there are {known}.")
        try:
            options[names[name]] = checked_time_s(name, text)
        except ValueError as error:
            raise InvalidURL(f"{shown} gives {error}") from None
    if "key" in paths and "cert" not in paths:
        raise InvalidURL(f"{shown} gives a key without its certificate: add cert=PATH.")
    if parts.scheme == "memcacheds":
        options["tls"] = Tls(**paths)
    return options


def split_location(location):
    """The servers in a LOCATION of Django's CACHES: a text with commas or semicolons between them,
    a path, or a list of these. Keys are distributed over them. One URL with several hosts and
    `cluster=` in its query is one server. Any other value names no server: other back ends accept
    other types."""
    if isinstance(location, os.PathLike):
        return [location]
    if isinstance(location, str):
        return [location] if _CLUSTER_LOCATION.match(location) else re.split("[;,]", location)
    return list(location) if isinstance(location, (list, tuple, set, frozenset)) else []


def parse_location(location):
    """The Address of one server in a LOCATION of Django's CACHES.

    Accepts what parse_url and Django's own memcached back ends accept: HOST:PORT, HOST, unix:/PATH
    and /PATH, also as a pathlib.Path. Raises InvalidURL.
    """
    if isinstance(location, os.PathLike):
        location = os.fsdecode(location)
    if isinstance(location, str):
        location = location.strip()
        if location.startswith("/"):
            location = f"unix:{location}"
        elif "://" not in location and not location.startswith("unix:") and location:
            location = f"memcached://{location}"
    return parse_url(location)
