"""Lists the keys in a cache, and when they expire: Django's caches can do neither.

This works for memcached and stayd (with Django's two back ends and this package's), and for Redis (with
Django's back end, from 4.0 on, and django-redis).
"""

import re
import socket
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, Optional

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured

from stayd.address import parse_location, split_location
from stayd.errors import ConnectionError, RequestRefused

TIMEOUT_S = 10.0
BUSY_S = 30.0
"""memcached makes one listing at a time, so this one waits for another one for at most this time."""

LISTINGS = 2
"""memcached leaves out items that another thread uses at the moment, so it is asked twice. A session
that is missing in both listings moves when it is used."""

_MARK = "stayd-mark"


def list_cache(alias: str, prefix: str) -> Iterator[tuple[str, Optional[int]]]:
    """(the rest of the key, its expiry in Unix seconds or None) for all keys of CACHES[alias] that
    begin with `prefix`. ImproperlyConfigured for a cache that cannot list its keys."""
    cache: Any = caches[alias]
    names = {f"{each.__module__}.{each.__name__}" for each in type(cache).__mro__}
    if "django.core.cache.backends.memcached.BaseMemcachedCache" in names:
        return _list_memcached(cache, cache._servers, prefix)
    if "stayd.django.cache.StaydCache" in names:
        servers = [client.address for client in cache._clients.values()]
        return _list_memcached(cache, servers, prefix)
    if "django_redis.cache.RedisCache" in names:
        return _list_django_redis(cache, prefix)
    if "django.core.cache.backends.redis.RedisCache" in names:
        return _list_redis(cache, prefix)
    raise ImproperlyConfigured(
        f"CACHES[{alias!r}] is a {type(cache).__name__}, whose keys cannot be listed. Its sessions move "
        f"when they are used, while SESSION_CACHE_MIGRATE_FROM names it."
    )


def _list_memcached(cache, servers, prefix):
    head, tail = cache.make_key(prefix + _MARK).split(_MARK)
    for server in servers if isinstance(servers, (list, tuple)) else split_location(servers):
        address = parse_location(server) if isinstance(server, str) else server
        found = {}
        for line in (line for _ in range(LISTINGS) for line in _metadump(address)):
            fields = dict(field.split("=", 1) for field in line.split() if "=" in field)
            key = urllib.parse.unquote(fields.get("key", ""))
            if key.startswith(head) and key.endswith(tail) and len(key) > len(head) + len(tail):
                expires_s = int(fields.get("exp", "-1"))
                found[key[len(head) : len(key) - len(tail)]] = expires_s if expires_s > 0 else None
        yield from found.items()


def _metadump(address):
    """The lines of memcached's `lru_crawler metadump all`."""
    give_up = time.monotonic() + BUSY_S
    while True:
        lines = _ask(address, b"lru_crawler metadump all\r\n")
        first = next(lines, "END")
        if not first.startswith("BUSY"):
            break
        if time.monotonic() > give_up:
            raise RequestRefused(f"{address.url}: another listing of its keys is under way.")
        time.sleep(0.1)
    if first.startswith(("ERROR", "CLIENT_ERROR", "SERVER_ERROR")):
        raise RequestRefused(
            f"{address.url} does not list its keys: {first}. It takes memcached 1.5.6 or later with its "
            f"crawler (no `-o no_lru_crawler`), and no user and password."
        )
    while first != "END":
        yield first
        try:
            first = next(lines)
        except StopIteration:
            raise ConnectionError(f"{address.url} closed the connection in the middle of its list.") from None


def _ask(address, request):
    """The lines that a server answers."""
    try:
        with _connect(address) as connection, connection.makefile("rb") as file:
            connection.sendall(request)
            for line in file:
                yield line.decode("utf-8", "replace").rstrip("\r\n")
    except (OSError, ssl.SSLError) as error:
        raise ConnectionError(f"{address.url} cannot be asked for its keys: {error}") from error


def _connect(address):
    if address.path is not None:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT_S)
        connection.connect(address.path)
        return connection
    connection = socket.create_connection((address.host, address.port), TIMEOUT_S)
    if address.tls is not None:
        return address.tls.new_context().wrap_socket(connection, server_hostname=address.host)
    return connection


def _list_django_redis(cache, prefix):
    for name in cache.iter_keys(_quoted(prefix) + "*"):
        ttl_s = cache.ttl(name)
        if ttl_s != 0:
            yield name[len(prefix) :], None if ttl_s is None else int(time.time()) + ttl_s


def _list_redis(cache, prefix):
    head, tail = cache.make_key(prefix + _MARK).split(_MARK)
    client = cache._cache.get_client(None)
    for key in client.scan_iter(match=f"{_quoted(head)}*{_quoted(tail)}", count=1000):
        ttl_s = client.ttl(key)
        if ttl_s != -2:
            name = key.decode()[len(head) :]
            yield name[: len(name) - len(tail)], None if ttl_s < 0 else int(time.time()) + ttl_s


def _quoted(text):
    """The text, escaped for a pattern of Redis."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)
