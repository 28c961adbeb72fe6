"""The Python clients of Debian over the text protocol: pymemcache, pylibmc and python-memcached,
each on memcached and on both pools. (pylibmc over the binary protocol: test_pylibmc_binary.py.)"""

import memcache
import pylibmc
import pymemcache
import pymemcache.exceptions
import pymemcache.serde
import pytest

LARGE = b"v" * 900_000


@pytest.fixture
def address(server):
    """HOST:PORT of an empty pool."""
    server, pool = server
    return server.address(pool)


def of_pymemcache(address, **options):
    host, port = address.split(":")
    return pymemcache.Client((host, int(port)), default_noreply=False, **options)


def test_pymemcache_stores_under_every_condition(address):
    client = of_pymemcache(address)
    assert client.add("k", b"1") and not client.add("k", b"2")
    assert client.replace("k", b"2") and not client.replace("none", b"2")
    assert client.append("k", b"3") and client.prepend("k", b"1")
    assert client.get("k") == b"123"
    value, cas = client.gets("k")
    assert value == b"123"
    assert client.cas("k", b"new", cas) and client.cas("k", b"old", cas) is False
    assert client.cas("none", b"v", b"1") is None
    assert client.delete("k") and not client.delete("k")


def test_pymemcache_counts_touches_and_reads_many(address):
    client = of_pymemcache(address, serde=pymemcache.serde.pickle_serde)
    assert client.set_many({f"k{i}": {"number": i} for i in range(200)}) == []
    found = client.get_many([f"k{i}" for i in range(0, 400, 2)])
    assert found == {f"k{i}": {"number": i} for i in range(0, 200, 2)}
    assert client.set("n", 10) and client.incr("n", 5) == 15 and client.decr("n", 20) == 0
    assert client.incr("none", 1) is None
    assert client.touch("n", 100) and not client.touch("none", 100)
    client.delete_many([f"k{i}" for i in range(200)])
    assert client.get_many(["k1", "k2"]) == {}


def test_pymemcache_stays_in_step_without_replies(address):
    client = of_pymemcache(address)
    for i in range(500):
        client.set("k", b"%d" % i, noreply=True)
        client.incr("k", 1, noreply=True)
        client.touch("k", 100, noreply=True)
        client.delete("none", noreply=True)
    assert client.get("k") == b"500"
    assert client.set("large", LARGE) and client.get("large") == LARGE
    with pytest.raises(pymemcache.exceptions.MemcacheServerError):
        client.set("larger", b"v" * 2_000_000)
    assert client.get("k") == b"500"  # on the same connection
    assert client.set("gone", b"v", expire=-1) and client.get("gone") is None
    assert "1.6" in client.version().decode()
    assert int(client.stats()[b"curr_items"]) >= 1
    assert client.flush_all() and client.get("k") is None


def test_pylibmc_over_text(address, empty_values):
    client = pylibmc.Client([address], binary=False, behaviors={"cas": True, "tcp_nodelay": True})
    for value in (b"bytes", "text", 5, 2**70, True, [1, {"a": None}], LARGE, *empty_values):
        assert client.set("k", value) and client.get("k") == value
    assert client.set("small", {"much": "the same " * 5000}, min_compress_len=100)
    assert client.get("small") == {"much": "the same " * 5000}
    value, cas = client.gets("k")
    assert client.cas("k", b"new", cas)
    with pytest.raises(pylibmc.NotFound):
        client.cas("none", b"v", cas)
    assert not client.add("k", b"x")
    assert client.set("n", 5) and client.incr("n", 3) == 8 and client.decr("n", 1) == 7
    with pytest.raises(pylibmc.NotFound):
        client.incr("none")
    assert client.set_multi({"a": 1, "b": 2}, key_prefix="p-", time=100) == []
    assert client.get_multi(["a", "b", "c"], key_prefix="p-") == {"a": 1, "b": 2}
    assert client.touch("n", 100) and client.delete("n") and client.get("n") is None


def test_pylibmc_over_text_without_waiting(address):
    client = pylibmc.Client([address], binary=False, behaviors={"no_block": True, "_noreply": True})
    for i in range(1000):
        client.set("k", i)
    # requests arrive in order, so this reply belongs to this request
    assert client.get("k") == 999


def test_python_memcached(address):
    client = memcache.Client([address], server_max_value_length=2 * 1024 * 1024,
                             cache_cas=True)
    for value in (b"bytes", "text", 5, 2**70, [1, {"a": None}], LARGE):
        assert client.set("k", value) and client.get("k") == value
    assert client.set("small", "the same " * 5000, min_compress_len=100)
    assert client.get("small") == "the same " * 5000
    assert not client.set("larger", b"v" * 1_200_000) and client.get("larger") is None
    assert client.add("n", 1) and not client.add("n", 1)
    assert client.incr("n", 9) == 10 and client.decr("n") == 9
    assert client.incr("none") is None
    assert client.gets("n") == 9 and client.cas("n", 11)
    other = memcache.Client([address])
    assert client.gets("n") == 11 and other.set("n", 12) and not client.cas("n", 13)
    assert client.set_multi({"a": 1, "b": 2}, time=100, key_prefix="p-") == []
    assert client.get_multi(["a", "b", "c"], key_prefix="p-") == {"a": 1, "b": 2}
    assert client.touch("n", 100) and client.delete("n") and client.get("n") is None
    assert client.delete_multi(["p-a", "p-b"]) and client.get("p-a") is None
    [(_, stats)] = client.get_stats()
    assert int(stats["curr_items"]) >= 1
    assert client.get_stats("settings")
    client.flush_all()
    assert client.get("small") is None
