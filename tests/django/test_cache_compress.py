"""StaydCache with OPTIONS {"compress": True}."""

import os

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings
from pymemcache.client.base import Client as LibraryClient
from sitesettings import caches_at
from stayd import packing
from stayd.django.cache import _packing_serde
from stayd.serde import FLAG_ZSTD, PACKED_MIN, UNPACKED_MAX, PackingSerde, json_serde


class Prefixing:
    """A serde of a site's own."""

    def serialize(self, key, value):
        return b"mine:" + value.encode(), 1 << 9

    def deserialize(self, key, value, flags):
        assert flags == 1 << 9
        return value[5:].decode()


VALUES = {
    "short": "x", "number": 5, "text": "page " * 300, "bytes": b"\x00" * 5000, "random": os.urandom(5000),
    "list": [{"name": f"product {number}", "price": number} for number in range(100)],
}


def cache_with(daemon, **options):
    """A StaydCache on the daemon's cache pool."""
    with override_settings(CACHES=caches_at(daemon.address("cache"), OPTIONS=options)):
        return caches["default"]


def stored(daemon, key):
    """(bytes, flags) in the pool."""
    host, port = "127.0.0.1", daemon.port("cache")
    client = LibraryClient((host, port), serde=type("Pairs", (), {
        "serialize": lambda self, key, value: (value, 0),
        "deserialize": lambda self, key, value, flags: (value, flags),
    })())
    try:
        return client.get(f":1:{key}")
    finally:
        client.close()


@pytest.mark.parametrize("options", [{}, {"serde": "stayd.serde.JSONSerde"}], ids=["pickle", "json"])
def test_values_are_the_same_with_and_without(daemon, options):
    packing_cache = cache_with(daemon, compress=True, **options)
    plain_cache = cache_with(daemon, **options)
    for key, value in VALUES.items():
        packing_cache.set(key, value)
        assert packing_cache.get(key) == plain_cache.get(key) == value
        data, flags = stored(daemon, key)
        assert bool(flags & FLAG_ZSTD) == (key in ("text", "bytes", "list"))
        plain_cache.set(key, value)
        plain, plain_flags = stored(daemon, key)
        assert plain_flags == flags & ~FLAG_ZSTD
        assert len(data) < len(plain) / 2 if flags & FLAG_ZSTD else data == plain
        assert packing_cache.get(key) == value
    packing_cache.set_many(VALUES)
    assert plain_cache.get_many(VALUES) == packing_cache.get_many(VALUES) == VALUES
    packing_cache.set("number", 5)
    assert packing_cache.incr("number") == 6


def test_the_limit_is_of_what_the_serde_makes(daemon):
    cache = cache_with(daemon, compress=True)
    for size, is_packed in ((PACKED_MIN - 1, False), (PACKED_MIN, True)):
        cache.set("k", b"x" * size)
        assert bool(stored(daemon, "k")[1] & FLAG_ZSTD) == is_packed
        assert cache.get("k") == b"x" * size


def test_a_value_that_is_too_large_as_it_is_may_fit(daemon):
    cache = cache_with(daemon, compress=True)
    for size in (3 << 20, 10 << 20):
        cache.set("k", b"x" * size)
        assert cache.get("k") == b"x" * size


def test_a_damaged_value_is_missing_and_reported(daemon, caplog):
    cache = cache_with(daemon, compress=True)
    cache.set("k", VALUES["list"])
    data, flags = stored(daemon, "k")
    connection = daemon.connect("cache")
    for damaged in (data[:-4], data[:1], b"", b"\xff" * 30, data[:1] + b"\xff" + data[2:]):
        caplog.clear()
        connection.set(b":1:k", damaged, flags=flags)
        assert cache.get("k", "missing") == "missing"
        assert "cannot be read" in caplog.text


def test_nothing_unpacks_to_more_than_the_limit():
    serde = PackingSerde(json_serde)
    lie = b"\xa0" + (UNPACKED_MAX + 1).to_bytes(4, "little") + b"\x01\x00\x00"
    with pytest.raises(ValueError, match="unpacks to"):
        serde.deserialize("k", lie, FLAG_ZSTD)


def test_a_serde_of_the_sites_own_may_pack(daemon):
    cache = cache_with(daemon, compress=True, serde=Prefixing)
    for text in ("short", "long " * 500):
        cache.set("k", text)
        assert cache.get("k") == text
    assert stored(daemon, "k")[1] == FLAG_ZSTD | 1 << 9


def test_without_zstd_the_option_is_improperly_configured(daemon, monkeypatch):
    monkeypatch.setattr(packing, "can_pack", False)
    _packing_serde.cache_clear()
    with pytest.raises(ImproperlyConfigured, match="python3-zstandard"):
        cache_with(daemon, compress=True)
    cache_with(daemon).set("k", "v" * 1000)
    _packing_serde.cache_clear()
