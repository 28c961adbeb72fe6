"""pylibmc, which is libmemcached, over the binary protocol: on memcached and on each pool."""

import pylibmc
import pytest


@pytest.fixture
def connect(server):
    """Makes binary clients with given behaviours; the pool is empty when the test begins."""
    server, pool = server

    def make(**behaviors):
        return pylibmc.Client([server.address(pool)], binary=True, behaviors=behaviors or None)

    return make


def test_items_of_every_type_come_back(connect, empty_values):
    client = connect()
    for value in (b"bytes", "text", 5, 2**70, True, 1.5, [1, {"a": None}], b"\r\n\x80\0",
                  b"v" * 900_000, *empty_values):
        assert client.set("k", value)
        assert client.get("k") == value
    assert client.get("none") is None
    assert client.get("none", 7) == 7
    assert "k" in client and "none" not in client


def test_conditions_hold(connect):
    client = connect()
    with pytest.raises(pylibmc.NotFound):
        client.replace("k", "a")
    assert client.add("k", "b")
    assert not client.add("k", "c")
    assert client.replace("k", "d")
    assert client.append("k", "e") and client.prepend("k", "f")
    assert client.get("k") == "fde"
    assert client.delete("k")
    assert not client.delete("k")


def test_numbers_are_counted(connect):
    client = connect()
    with pytest.raises(pylibmc.NotFound):
        client.incr("n")
    assert client.set("n", 5)
    assert client.incr("n", 3) == 8
    assert client.decr("n", 10) == 0
    assert client.get("n") == 0


def test_many_keys_go_in_one_pipeline(connect, empty_values):
    client = connect()
    least = 0 if empty_values else 1
    items = {f"key-{number}": f"value-{number}" * max(number % 50, least) for number in range(3000)}
    assert client.set_multi(items) == []
    assert client.get_multi([*items, "none-1", "none-2"]) == items
    assert client.delete_multi(list(items)[:2000])
    assert len(client.get_multi(list(items))) == 1000


def test_a_cas_number_that_is_too_old_is_refused(connect):
    client = connect(cas=True)
    assert client.set("k", "a")
    value, number = client.gets("k")
    assert value == "a" and number > 0
    assert client.cas("k", "b", number)
    assert not client.cas("k", "c", number)
    assert client.get("k") == "b"


def test_touch_prolongs_and_ends_an_item(connect):
    client = connect()
    assert client.set("k", "a", time=100)
    assert client.touch("k", 200)
    assert client.get("k") == "a"
    assert not client.touch("none", 200)
    assert client.touch("k", 1_000_000_000)  # in 2001
    assert client.get("k") is None


@pytest.mark.parametrize("behaviors", [
    {"tcp_nodelay": True},
    {"no_block": True},
    {"no_block": True, "tcp_nodelay": True, "cas": True},
    {"ketama": True, "hash": "md5"},
    {"_noreply": True},  # libmemcached then uses the quiet opcodes
    {"_io_key_prefetch": 2, "_io_msg_watermark": 3},
], ids=lambda behaviors: "-".join(behaviors))
def test_every_behaviour_leaves_the_connection_in_step(connect, behaviors):
    client = connect(**behaviors)
    for number in range(300):
        client.set(f"k{number % 7}", f"v{number}")
        if number % 5 == 0 and "_noreply" not in behaviors:
            assert client.get("k0") == f"v{number - number % 7}"
        if number % 7 == 6:
            client.delete("k6")
    assert client.get_multi(["k0", "k1", "none"]) == {"k0": "v294", "k1": "v295"}
    assert connect().get("k0") == "v294"


def test_compressed_values_come_back(connect):
    client = connect()
    value = b"abc" * 100_000
    assert client.set("k", value, min_compress_len=100)
    assert client.get("k") == value


def test_a_value_too_large_is_an_error_and_the_client_goes_on(connect):
    client = connect()
    with pytest.raises(pylibmc.Error):
        client.set("k", b"v" * 3_000_000)
    assert client.set("k", "small")
    assert client.get("k") == "small"


def test_statistics_come_as_pairs(connect):
    client = connect()
    [(_, pairs)] = client.get_stats()
    text = {key.decode() if isinstance(key, bytes) else key for key in pairs}
    assert {"pid", "version", "curr_items", "cmd_get", "bytes"} <= text


def test_flush_empties_the_pool_and_disconnect_comes_back(connect):
    client = connect()
    assert client.set("k", "a")
    client.disconnect_all()
    assert client.get("k") == "a"
    assert client.flush_all()
    assert client.get("k") is None
    assert client.clone().get("k") is None
