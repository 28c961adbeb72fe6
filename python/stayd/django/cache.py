"""StaydCache: Django's cache on a pool of stayd.

    CACHES = {
        "default": {
            "BACKEND": "stayd.django.cache.StaydCache",
            "LOCATION": "127.0.0.1:11211",  # or memcached://..., unix:///..., or a list
        }
    }

It behaves like Django's own PyMemcacheCache and can take over its pool: keys, flags and pickled values
are the same. These are the differences:

- connections are kept between requests and shared by all threads;
- a value for which the pool has no room (the value is larger than item_max, or the pool is full
  and does not evict) is logged and not stored, because a cache may lose values; PyMemcacheCache
  raises. Both also delete the key's old value, so that no outdated value is read;
- `clear()` empties this pool only.

OPTIONS: `serde` (an object as in stayd.serde, a class of such objects, or the dotted name of either;
default: Django's choice, pymemcache.serde.pickle_serde), in seconds `timeout`, `connect_timeout`,
`restart_wait` (for how long a refused connect is tried again) and `pool_idle_timeout`, `max_pool_size`
(connections in a process), `username` and `password` (of a pool with an `auth_file`; or in LOCATION's
URL), `compress` (see below), and `ignore_exc`: with True an unreachable daemon counts as an empty cache,
and only `clear` raises. `no_delay`, `use_pooling` and `allow_unicode_keys` may be True, and
`default_noreply` may be False: sites set these for pymemcache, and they have no effect here.

With `compress` True, values of 512 bytes and more are packed with zstd if that makes them shorter.
Other clients cannot read packed values. With False, packed values are still read, unless the site
has a `serde` of its own.

The async methods `aget`, `aget_many` and `ahas_key` return at once if the values are in the daemon's
shared memory. All other calls run in threads, each as one request. (Django's own `aincr` first reads and
then writes, and its `aget_many` sends one request for each key.)
"""

import functools
import logging
from typing import Any

from django.core.cache.backends.base import (
    DEFAULT_TIMEOUT,
    BaseCache,
    InvalidCacheKey,
    memcache_key_warnings,
)
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from pymemcache.client.rendezvous import RendezvousHash
from pymemcache.serde import pickle_serde

from stayd import packing
from stayd.address import checked_login, checked_time_s, parse_location, split_location
from stayd.django import checks  # noqa: F401  (importing it registers the checks)
from stayd.django.clients import shared_client
from stayd.django.reports import Reports
from stayd.django.threads import in_thread, with_async_forms
from stayd.errors import (
    ConnectionError,
    InvalidURL,
    OutOfMemory,
    UnreadableValue,
    ValueTooLarge,
)
from stayd.serde import JSONSerde, PackingSerde

_OPTIONS = {
    "serde": "serde",
    "timeout": "timeout_s",
    "connect_timeout": "connect_timeout_s",
    "restart_wait": "restart_wait_s",
    "pool_idle_timeout": "idle_timeout_s",
    "max_pool_size": "max_connections",
    "username": "username",
    "password": "password",
    "compress": "compress",
}
"""The names in OPTIONS, which are pymemcache's, and their names in Client."""

_TIMES = {"timeout", "connect_timeout", "restart_wait", "pool_idle_timeout"}

_ABSENT = object()
"""Stands for "no value": no serde returns it."""

_ALWAYS = {"no_delay": True, "use_pooling": True, "allow_unicode_keys": True, "default_noreply": False}
"""Settings of pymemcache and PyMemcacheCache that sites may have, and that are always in force here."""

logger = logging.getLogger("stayd")


@with_async_forms(
    "add", "set", "touch", "delete", "incr", "decr", "set_many", "delete_many", "clear",
)
class StaydCache(BaseCache):
    """The cache back end. Methods are BaseCache's; each raises stayd.ConnectionError when the
    daemon cannot be reached, and its OutcomeUnknown when a change was sent and not answered, unless
    OPTIONS has `ignore_exc`."""

    def __init__(self, server, params):
        super().__init__(params)
        options = dict(params.get("OPTIONS") or {})
        self._ignore_exc = bool(options.pop("ignore_exc", False))
        options = _client_options(options)
        clients = [shared_client(address, **options) for address in _addresses(server)]
        self._clients = {_node(client.address): client for client in clients}
        self._only = clients[0] if len(self._clients) == 1 else None
        # The nodes and the hash are those of pymemcache's HashClient, so that keys stay on the
        # servers where PyMemcacheCache stored them.
        self._hash = RendezvousHash()
        for node in self._clients:
            self._hash.add_node(node)

    def get_backend_timeout(self, timeout=DEFAULT_TIMEOUT):
        """The time to live in whole seconds for Client (0 and below: expires at once); None: no
        expiry."""
        if timeout == DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return None if timeout is None else int(timeout)

    def validate_key(self, key):
        """Raises InvalidCacheKey for a key that the protocol does not allow."""
        for warning in memcache_key_warnings(key):
            raise InvalidCacheKey(warning)

    def add(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        key = self._key(key, version)
        ttl_s = self.get_backend_timeout(timeout)
        try:
            return self._ask(False, self._client(key).add, key, value, ttl_s)
        except (OutOfMemory, ValueTooLarge) as error:
            logger.warning("The cache does not keep %r: %s", key, error)
            return False

    def get(self, key, default=None, version=None):
        key = self._key(key, version)
        return self._ask(default, self._client(key).get, key, default)

    async def aget(self, key, default=None, version=None):
        """Like `get`. Needs no thread for a value in the daemon's shared memory."""
        wire_key = self._key(key, version)
        value = self._client(wire_key).get_mapped(wire_key, _ABSENT)
        return await in_thread(self.get, key, default, version) if value is _ABSENT else value

    async def ahas_key(self, key, version=None):
        """Like `has_key`. Needs no thread for a value in the daemon's shared memory."""
        return await self.aget(key, _ABSENT, version) is not _ABSENT

    def set(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        key = self._key(key, version)
        client = self._client(key)
        try:
            self._ask(None, client.set, key, value, self.get_backend_timeout(timeout))
        except (OutOfMemory, ValueTooLarge) as error:
            logger.warning("The cache does not keep %r: %s", key, error)
            self._ask(False, client.delete, key)

    def touch(self, key, timeout=DEFAULT_TIMEOUT, version=None):
        key = self._key(key, version)
        return self._ask(False, self._client(key).touch, key, self.get_backend_timeout(timeout))

    def delete(self, key, version=None):
        key = self._key(key, version)
        return self._ask(False, self._client(key).delete, key)

    def get_many(self, keys, version=None):
        keys = {self._key(key, version): key for key in keys}
        found = {}
        for client, group in self._groups(keys):
            found.update(self._ask({}, client.get_many, group))
        return {keys[key]: value for key, value in found.items()}

    async def aget_many(self, keys, version=None):
        """Like `get_many`. Needs no thread if all values are in the daemon's shared memory."""
        keys = list(keys)
        found = {}
        for key in keys:
            wire_key = self._key(key, version)
            value = self._client(wire_key).get_mapped(wire_key, _ABSENT)
            if value is not _ABSENT:
                found[key] = value
        rest = [key for key in keys if key not in found]
        if rest:
            found.update(await in_thread(self.get_many, rest, version))
        return found

    def set_many(self, data, timeout=DEFAULT_TIMEOUT, version=None):
        keys = {self._key(key, version): key for key in data}
        ttl_s = self.get_backend_timeout(timeout)
        failed = []
        for client, group in self._groups(keys):
            values = {key: data[keys[key]] for key in group}
            refused = self._ask(None, client.set_many, values, ttl_s)
            if refused is None:
                failed += group
            elif refused:
                logger.warning("The cache at %s does not keep %r", client.url, refused)
                self._ask(None, client.delete_many, refused)
                failed += refused
        return [keys[key] for key in failed]

    def delete_many(self, keys, version=None):
        keys = [self._key(key, version) for key in keys]
        for client, group in self._groups(keys):
            self._ask(None, client.delete_many, group)

    def incr(self, key, delta=1, version=None):
        wire_key = self._key(key, version)
        value = self._ask(None, self._client(wire_key).incr, wire_key, delta)
        if value is None:
            raise ValueError(f"Key '{key}' not found")
        return value

    def decr(self, key, delta=1, version=None):
        return self.incr(key, -delta, version=version)

    def clear(self):
        for client in self._clients.values():
            client.flush()

    def _key(self, key, version):
        """The key as stored. Django 4.1 and later have these two steps in one method; 3.2 has two."""
        key = self.make_key(key, version=version)
        self.validate_key(key)
        return key

    def _client(self, key):
        return self._only or self._clients[self._hash.get_node(key)]

    def _groups(self, keys):
        """(client, its keys) for each client that has any of `keys`."""
        groups: dict[Any, list] = {}
        for key in keys:
            groups.setdefault(self._client(key), []).append(key)
        return groups.items()

    def _ask(self, unreachable, request, *arguments):
        """The result of `request`; with `ignore_exc`, `unreachable` if the daemon cannot be
        reached."""
        try:
            return request(*arguments)
        except ConnectionError as error:
            if not self._ignore_exc:
                raise
            _report_outage(error)
            return unreachable


_outages = Reports()


def _report_outage(error):
    """Logs an outage that `ignore_exc` hides, at most once in reports.EVERY_S."""
    text = str(error)
    if _outages.is_due(text):
        logger.warning("The cache goes on without its daemon: %s", text)


def _addresses(server):
    """The addresses in LOCATION."""
    try:
        return [parse_location(location) for location in split_location(server) or [""]]
    except InvalidURL as error:
        raise ImproperlyConfigured(f"CACHES, LOCATION of StaydCache: {error}") from error


def _client_options(options):
    """Client's keyword arguments for OPTIONS; ImproperlyConfigured for an unknown option."""
    result = {}
    for name, value in options.items():
        if name in _OPTIONS:
            result[_OPTIONS[name]] = value
        elif name not in _ALWAYS or bool(value) != _ALWAYS[name]:
            known = ", ".join([*_OPTIONS, "ignore_exc"])
            raise ImproperlyConfigured(
                f"CACHES, OPTIONS of StaydCache: {name!r}: {value!r} has no meaning here. There "
                f"are {known}."
            )
    try:
        for name in _TIMES & options.keys():
            if options[name] is not None:
                result[_OPTIONS[name]] = checked_time_s(name, options[name])
        if "username" in result or "password" in result:
            result.update(checked_login(result.get("username"), result.get("password")))
    except ValueError as error:
        raise ImproperlyConfigured(f"CACHES, OPTIONS of StaydCache: {error}") from error
    serde = result.get("serde", "pymemcache.serde.pickle_serde")
    if isinstance(serde, str):
        serde = import_string(serde)
    serde = _serde_instance(serde) if isinstance(serde, type) else serde
    packs = bool(result.pop("compress", False))
    if packs or serde is pickle_serde or type(serde) is JSONSerde:
        serde = _packing_serde(serde, packs)
    result["serde"] = serde
    return result


@functools.cache
def _packing_serde(serde, packs):
    """Returns the same instance for equal options, like _serde_instance."""
    try:
        return PackingSerde(serde, packs)
    except UnreadableValue:
        raise ImproperlyConfigured(
            f"CACHES, OPTIONS of StaydCache: compress takes zstd, which is not installed. "
            f"{packing.REMEDY}"
        ) from None


_serde_instances: dict[str, Any] = {}


def _serde_instance(serde_class):
    """Returns the same instance for the same class, so that shared_client sees equal options as
    equal."""
    return _serde_instances.setdefault(serde_class, serde_class())


def _node(address):
    """The name of a server in pymemcache's HashClient."""
    return address.path if address.path is not None else f"{address.host}:{address.port}"
