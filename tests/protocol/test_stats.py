"""stats: the general statistics, under memcached's names."""

import time

import pytest

from support.servers import Memcached, Stayd, wait_until

GENERAL = """pid uptime time version pointer_size rusage_user rusage_system max_connections
curr_connections total_connections rejected_connections cmd_get cmd_set cmd_flush cmd_touch
get_hits get_misses get_expired get_flushed delete_misses delete_hits incr_misses incr_hits
decr_misses decr_hits cas_misses cas_hits cas_badval touch_hits touch_misses bytes_read
bytes_written limit_maxbytes threads bytes curr_items total_items evictions""".split()


def counts(connection, names):
    """The named counters as a list of ints."""
    stats = connection.stats()
    return [int(stats[name]) for name in names]


def test_stats_has_memcacheds_general_names(connection):
    stats = connection.stats()
    missing = [name for name in GENERAL if name not in stats]
    assert not missing


def test_stats_tells_the_process_and_its_clock(target):
    with target.connect() as connection:
        stats = connection.stats()
    assert int(stats["pid"]) == target.server.pid
    assert abs(int(stats["time"]) - time.time()) < 3
    assert 0 <= int(stats["uptime"]) < 3600
    assert int(stats["pointer_size"]) == 64


def test_reads_are_counted_by_hit_and_miss(connection):
    names = ["cmd_get", "get_hits", "get_misses"]
    before = counts(connection, names)
    connection.set(b"k", b"v")
    connection.send(b"get k none k\r\nmg k\r\nmg none\r\nmn\r\n")
    connection.read_until(b"MN\r\n")
    after = counts(connection, names)
    assert [b - a for a, b in zip(before, after)] == [5, 3, 2]


def test_stores_and_items_are_counted(connection):
    names = ["cmd_set", "total_items", "curr_items"]
    before = counts(connection, names)
    for number in range(10):
        connection.set(b"k%d" % number, b"v")
    connection.set(b"k0", b"v")
    after = counts(connection, names)
    assert after[0] - before[0] == 11
    assert after[1] - before[1] == 11


@pytest.mark.parametrize("kind, pool", [(Memcached, None), (Stayd, "cache"), (Stayd, "sessions")])
def test_curr_items_follows_stores_and_deletes(kind, pool):
    with kind() as server, server.connect(pool) as connection:
        assert counts(connection, ["curr_items"]) == [0]
        for number in range(10):
            connection.set(b"k%d" % number, b"v")
            connection.set(b"k%d" % number, b"again")
        assert counts(connection, ["curr_items"]) == [10]
        for number in range(4):
            connection.ask(b"delete k%d\r\n" % number, b"DELETED\r\n")
        assert counts(connection, ["curr_items"]) == [6]


def test_changes_are_counted_by_hit_and_miss(connection):
    names = ["delete_hits", "delete_misses", "incr_hits", "incr_misses", "decr_hits", "decr_misses",
             "touch_hits", "touch_misses", "cmd_touch", "cas_hits", "cas_misses", "cas_badval",
             "cmd_flush"]
    connection.set(b"n", b"1")
    before = counts(connection, names)
    connection.ask(b"incr n 1\r\nincr x 1\r\nincr x 1\r\n", b"2\r\nNOT_FOUND\r\nNOT_FOUND\r\n")
    connection.ask(b"decr n 1\r\ndecr x 1\r\n", b"1\r\nNOT_FOUND\r\n")
    connection.ask(b"touch n 0\r\ntouch n 0\r\n", b"TOUCHED\r\nTOUCHED\r\n")
    connection.ask(b"touch x 0\r\n", b"NOT_FOUND\r\n")
    number = int(connection.ask(b"mg n c\r\n")[4:])
    connection.ask(b"cas n 0 0 1 %d\r\n1\r\n" % number, b"STORED\r\n")
    connection.ask(b"cas n 0 0 1 %d\r\n1\r\n" % number, b"EXISTS\r\n")
    connection.ask(b"cas x 0 0 1 %d\r\n1\r\n" % number, b"NOT_FOUND\r\n")
    connection.ask(b"delete n\r\ndelete n\r\n", b"DELETED\r\nNOT_FOUND\r\n")
    connection.ask(b"delete x\r\n", b"NOT_FOUND\r\n")
    connection.ask(b"flush_all\r\n", b"OK\r\n")
    after = counts(connection, names)
    assert dict(zip(names, (b - a for a, b in zip(before, after)))) == {
        "delete_hits": 1, "delete_misses": 2, "incr_hits": 1, "incr_misses": 2, "decr_hits": 1,
        "decr_misses": 1, "touch_hits": 2, "touch_misses": 1, "cmd_touch": 3, "cas_hits": 1,
        "cas_misses": 1, "cas_badval": 1, "cmd_flush": 1,
    }


def test_an_expired_read_is_counted_as_such(connection):
    """If the janitor has freed the item before the read, the read counts as a plain miss."""
    for _ in range(4):
        before = counts(connection, ["get_misses", "get_expired"])
        connection.set(b"k", b"v", expiry=1)
        wait_until(lambda: connection.get(b"k") is None, 5, interval=0.001)
        after = counts(connection, ["get_misses", "get_expired"])
        assert after[0] - before[0] == 1
        if after[1] - before[1] == 1:
            return
    raise AssertionError("get_expired never counted")


@pytest.mark.parametrize("kind, pool", [(Memcached, None), (Stayd, "cache"), (Stayd, "sessions")])
def test_connections_are_counted(kind, pool):
    """Runs on a server of its own: on a shared server, connections of earlier tests may still be closing."""
    with kind() as server, server.connect(pool) as connection:
        before = counts(connection, ["curr_connections", "total_connections"])
        others = [server.connect(pool) for _ in range(5)]
        for other in others:
            other.expect_in_step()
        after = counts(connection, ["curr_connections", "total_connections"])
        assert after[1] - before[1] == 5
        for other in others:
            other.close()
        wait_until(lambda: counts(connection, ["curr_connections"])[0] <= after[0] - 5)


def test_bytes_in_and_out_are_counted(connection):
    before = counts(connection, ["bytes_read", "bytes_written"])
    connection.set(b"k", b"v" * 100_000)
    connection.get(b"k")
    after = counts(connection, ["bytes_read", "bytes_written"])
    assert 100_000 < after[0] - before[0] < 101_000
    assert 100_000 < after[1] - before[1] < 105_000


def test_stats_reset_sets_the_counters_to_zero(own_connection):
    connection = own_connection
    connection.set(b"k", b"v")
    connection.get(b"k")
    connection.ask(b"stats reset\r\n", b"RESET\r\n")
    assert counts(connection, ["cmd_get", "get_hits", "cmd_set"]) == [0, 0, 0]
    assert connection.get(b"k") == b"v", "the items stay"


def test_an_unknown_group_is_an_error(connection):
    connection.ask(b"stats foo\r\n", b"ERROR\r\n")


def test_the_memory_limit_is_the_pools():
    with Stayd(cache={"memory": "32M"}, sessions={"memory": "48M"}) as stayd:
        assert int(stayd.connect("cache").stats()["limit_maxbytes"]) == 32 << 20
        assert int(stayd.connect("sessions").stats()["limit_maxbytes"]) == 48 << 20
        assert int(stayd.connect("cache").stats()["threads"]) == 2


def test_each_pool_has_its_own_counters():
    with Stayd() as stayd:
        cache, sessions = stayd.connect("cache"), stayd.connect("sessions")
        cache.set(b"k", b"v")
        assert int(cache.stats()["cmd_set"]) == 1
        assert int(sessions.stats()["cmd_set"]) == 0
