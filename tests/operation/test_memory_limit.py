"""cache_memlimit on the running daemon: its memory as the system counts it, and what clients
see."""

import urllib.request

from support.servers import Stayd, wait_until

VALUE = b"v" * 4000


def store_all(connection, count):
    for number in range(count):
        connection.send(b"set key-%d 0 0 %d noreply\r\n%s\r\n" % (number, len(VALUE), VALUE))
    connection.ask(b"mn\r\n", b"MN\r\n")


def number_of(connection, name):
    return int(connection.stats()[name])


def metric(stayd, name, pool):
    page = urllib.request.urlopen(stayd.admin_url() + "/metrics").read().decode()
    line = next(line for line in page.splitlines() if line.startswith(f'{name}{{pool="{pool}"}}'))
    return float(line.split()[-1])


def resident_mebibytes(stayd):
    return stayd.resident_bytes() / 2**20


def test_a_cache_gives_memory_back_and_takes_it_again():
    with Stayd(cache={"memory": "64M", "item_max": "16K"}) as stayd:
        connection = stayd.connect("cache")
        store_all(connection, 20_000)
        assert resident_mebibytes(stayd) > 60
        connection.ask(b"cache_memlimit 16\r\n", b"OK\r\n")
        assert number_of(connection, "limit_maxbytes") == 16 << 20
        assert connection.stats(b"settings")["maxbytes"] == str(16 << 20)
        wait_until(lambda: resident_mebibytes(stayd) < 16 + 12, what="16M and the daemon's own")
        assert 12 << 20 < number_of(connection, "capacity_bytes") <= 16 << 20
        assert metric(stayd, "stayd_pool_capacity_bytes", "cache") <= 16 << 20
        assert number_of(connection, "curr_items") > 1000
        store_all(connection, 20_000)
        assert resident_mebibytes(stayd) < 16 + 12
        connection.ask(b"cache_memlimit 128 noreply\r\ncache_memlimit 128\r\n", b"OK\r\n")
        store_all(connection, 30_000)
        assert number_of(connection, "curr_items") == 30_000, "nothing is evicted from 128M"


def test_an_amount_that_cannot_be_had_is_refused_and_changes_nothing():
    failed = b"MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n"
    pools = {"full": {"memory": "32M", "item_max": "16K", "evict": "no", "persist": "no"}}
    with Stayd(sessions={"memory": "16M", "item_max": "16K"}, pools=pools) as stayd:
        connection = stayd.connect("full")
        store_all(connection, 5_000)
        connection.ask(b"cache_memlimit 16\r\n", failed)  # the pool holds 20M, and may not evict
        connection.ask(b"cache_memlimit 129\r\n", failed)  # more than four times the limit at the start
        assert number_of(connection, "limit_maxbytes") == 32 << 20
        connection.ask(b"cache_memlimit 24\r\n", b"OK\r\n")
        assert number_of(connection, "curr_items") == 5_000
        sessions = stayd.connect("sessions")
        sessions.ask(b"cache_memlimit 8\r\n", failed)  # its file keeps its size
        sessions.ask(b"cache_memlimit 16\r\n", b"OK\r\n")  # what it has


def test_what_a_full_pool_refuses_it_takes_under_a_higher_limit():
    pools = {"full": {"memory": "16M", "item_max": "16K", "evict": "no", "persist": "no"}}
    with Stayd(pools=pools) as stayd:
        connection = stayd.connect("full")
        store_all(connection, 5_000)
        assert connection.stats()["full"] == "yes"
        kept = number_of(connection, "curr_items")
        assert kept < 4_200
        connection.ask(b"cache_memlimit 32\r\n", b"OK\r\n")
        store_all(connection, 5_000)
        assert number_of(connection, "curr_items") == 5_000
        wait_until(lambda: connection.stats()["full"] == "no")
