"""Pools of one daemon share nothing but its threads."""

import threading

import pytest

from support.servers import Stayd


@pytest.fixture(scope="module")
def stayd():
    """A daemon with four pools: the usual two, and one more of each kind."""
    more = {
        "spare": {"memory": "16M", "evict": "yes", "persist": "no"},
        "carts": {"memory": "16M", "evict": "no", "persist": "yes"},
    }
    with Stayd(pools=more) as server:
        yield server


POOLS = ["cache", "sessions", "spare", "carts"]


def test_each_pool_has_its_own_items(stayd):
    connections = {pool: stayd.connect(pool) for pool in POOLS}
    for pool, connection in connections.items():
        assert connection.set(b"k", pool.encode()) == b"STORED"
    for pool, connection in connections.items():
        assert connection.get(b"k") == pool.encode()
    connections["cache"].ask(b"delete k\r\n", b"DELETED\r\n")
    assert connections["sessions"].get(b"k") == b"sessions"


@pytest.mark.parametrize("flush", [b"flush_all\r\n", b"flush_all 0\r\n", b"flush_all -1\r\n"])
@pytest.mark.parametrize("flushed", POOLS)
def test_a_flush_of_one_pool_changes_nothing_in_another(stayd, flushed, flush):
    """Invariant 3: value, flags, remaining time and CAS number are as before."""
    count = 300
    before = {}
    for pool in POOLS:
        connection = stayd.connect(pool)
        for number in range(count):
            connection.send(b"set f%d %d 0 %d noreply\r\n%b\r\n" % (number, number, number,
                                                                    b"x" * number))
        connection.expect_in_step()
        before[pool] = everything(connection, count)
        assert before[pool].count(b"VA ") == count
    stayd.connect(flushed).ask(flush, b"OK\r\n")
    for pool in POOLS:
        after = everything(stayd.connect(pool), count)
        assert after == (b"EN\r\n" * count if pool == flushed else before[pool]), pool


def everything(connection, count):
    """Everything that the pool reports about the keys f0, f1, ..."""
    request = b"".join(b"mg f%d v f t c s\r\n" % number for number in range(count))
    connection.send(request + b"mn\r\n")
    return connection.read_until(b"MN\r\n")[:-4]


def test_a_flush_while_other_pools_are_written_loses_none_of_their_items(stayd):
    stop = threading.Event()

    def flush():
        with stayd.connect("cache") as connection:
            while not stop.is_set():
                connection.ask(b"set k 0 0 1\r\nv\r\nflush_all\r\n", b"STORED\r\nOK\r\n")

    flusher = threading.Thread(target=flush)
    flusher.start()
    try:
        with stayd.connect("sessions") as connection:
            for number in range(3000):
                assert connection.set(b"s%d" % number, b"%d" % number) == b"STORED"
            for number in range(3000):
                assert connection.get(b"s%d" % number) == b"%d" % number
    finally:
        stop.set()
        flusher.join()


def test_a_full_pool_takes_nothing_from_another():
    small = {"memory": "16M", "item_max": "64K"}
    with Stayd(cache=small, sessions=small) as stayd:
        sessions = stayd.connect("sessions")
        for number in range(500):
            assert sessions.set(b"s%d" % number, b"%d" % number) == b"STORED"
        cache = stayd.connect("cache")
        cache.send(b"".join(
            b"set c%d 0 0 30000 noreply\r\n%b\r\n" % (n, b"x" * 30000) for n in range(1500)
        ))
        cache.expect_in_step()
        for number in range(500):
            assert sessions.get(b"s%d" % number) == b"%d" % number


def test_only_the_persistent_pools_have_a_file(stayd):
    assert sorted(path.name for path in stayd.data_dir.glob("*.pool")) == [
        "carts.pool", "sessions.pool"
    ]
