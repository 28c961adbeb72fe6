"""A full pool: with `evict = no` it refuses new keys, with `evict = yes` it evicts the items that are read
least."""

import random
import threading

import pytest

from support.servers import Memcached, Stayd, wait_until

FULL = b"SERVER_ERROR out of memory storing object"

KEEP = {"memory": "16M", "item_max": "64K"}


def fill(connection, value_bytes, prefix=b"k", expiry=0):
    """Stores new keys until one is refused; returns how many were taken."""
    count = 0
    while True:
        batch = range(count, count + 50)
        connection.send(b"".join(
            b"set %b%d 0 %d %d\r\n%b\r\n" % (
                prefix, n, expiry, value_bytes, value_of(n, value_bytes)) for n in batch
        ))
        replies = [connection.read_line() for _ in batch]
        taken = replies.index(FULL) if FULL in replies else len(replies)
        assert replies[:taken] == [b"STORED"] * taken, replies
        assert set(replies[taken:]) <= {FULL, b"STORED"}, replies
        for number, reply in zip(batch, replies):
            if reply == b"STORED" and number >= count + taken:
                connection.ask(b"delete %b%d\r\n" % (prefix, number), b"DELETED\r\n")
        count += taken
        if taken < len(replies):
            return count
        assert count * value_bytes < 64 << 20, "a pool of 16 MiB takes everything"


def value_of(number, size, turn=0):
    """A value of `size` bytes that is different for each number."""
    return (b"%d/%d " % (number, turn)).ljust(size, b"x")


def all_are_there(connection, count, value_bytes, prefix=b"k", turn=0):
    """Fails unless every key has its value."""
    for start in range(0, count, 50):
        numbers = range(start, min(start + 50, count))
        connection.ask(
            b"get " + b" ".join(b"%b%d" % (prefix, n) for n in numbers) + b"\r\n",
            b"".join(b"VALUE %b%d 0 %d\r\n%b\r\n" % (prefix, n, value_bytes,
                                                     value_of(n, value_bytes, turn))
                     for n in numbers) + b"END\r\n",
        )


@pytest.fixture
def stayd():
    """A daemon whose pools are small."""
    with Stayd(sessions=KEEP, cache=KEEP) as server:
        yield server


@pytest.mark.parametrize("value_bytes", [200, 4000, 60_000])
def test_a_pool_that_keeps_refuses_new_keys_when_it_is_full_and_has_lost_nobody(stayd, value_bytes):
    connection = stayd.connect("sessions")
    count = fill(connection, value_bytes)
    assert count * value_bytes > 10 << 20, f"full with {count} values in 16 MiB"
    all_are_there(connection, count, value_bytes)
    for command in (b"set new 0 0 %d", b"add new 0 0 %d", b"ms new %d"):
        request = command % value_bytes + b"\r\n" + b"x" * value_bytes + b"\r\n"
        connection.ask(request, FULL + b"\r\n")
    connection.expect_in_step()
    assert connection.get(b"new") is None
    assert int(connection.stats()["evictions"]) == 0


def test_in_a_full_pool_updates_of_those_who_are_there_go_on(stayd):
    """Updates, touches and counts of several times the pool's size: no item is lost."""
    connection = stayd.connect("sessions")
    value_bytes = 4000
    count = fill(connection, value_bytes)
    for turn in range(1, 3):
        for start in range(0, count, 50):
            numbers = range(start, min(start + 50, count))
            connection.send(b"".join(
                b"set k%d 0 0 %d\r\n%b\r\ntouch k%d 10000\r\n" % (
                    n, value_bytes, value_of(n, value_bytes, turn), n) for n in numbers
            ))
            for number in numbers:
                assert connection.read_line() == b"STORED", f"update {turn} of k{number}"
                assert connection.read_line() == b"TOUCHED"
        all_are_there(connection, count, value_bytes, turn=turn)
    assert fill(connection, value_bytes, prefix=b"new") < count // 20, "it was full, and is"


@pytest.mark.parametrize("memory, item_max, value_bytes, updates", [
    ("16M", "1M", 400, 5000), ("16M", "64K", 400, 5000), ("32M", "1M", 400, 5000),
    ("64M", "4M", 4000, 5000), ("64M", "1M", 30_000, 500),
])
def test_no_update_is_refused_once_new_keys_are(memory, item_max, value_bytes, updates):
    """The pool is filled with half new keys and half updates, so that updates open segments as well."""
    generator, sizes, refused = random.Random(5), [], 0
    options = {"memory": memory, "item_max": item_max, "fsync": "no"}
    with Stayd(sessions=options) as stayd, stayd.connect("sessions") as connection:
        def store(wishes):
            connection.send(b"".join(b"set k%d 0 0 %d\r\n%b\r\n" % (
                number, size, value_of(number, size)) for number, size in wishes))
            return [connection.read_line(timeout=60) for _ in wishes]

        while refused < 200:
            new = [(len(sizes) + number, generator.randrange(value_bytes // 2, value_bytes * 3 // 2))
                   for number in range(50)]
            old = generator.choices(sizes, k=50) if sizes else []
            assert store(old) == [b"STORED"] * len(old)
            replies = store(new)
            taken = replies.index(FULL) if FULL in replies else len(replies)
            for (number, _), reply in list(zip(new, replies))[taken:]:
                if reply == b"STORED":
                    connection.ask(b"delete k%d\r\n" % number, b"DELETED\r\n")
            sizes += new[:taken]
            refused += len(new) - taken
        for _ in range(updates // 50):
            assert store(generator.choices(sizes, k=50)) == [b"STORED"] * 50


def test_updates_that_keep_the_size_go_on_from_many_connections_at_once(stayd):
    connection = stayd.connect("sessions")
    count, value_bytes, refused = fill(connection, 2000), 2000, []

    def update(mine):
        with stayd.connect("sessions") as own:
            for turn in range(1, 3):
                for number in range(mine, count, 4):
                    reply = own.set(b"k%d" % number, value_of(number, value_bytes, turn))
                    if reply != b"STORED":
                        refused.append(reply)

    threads = [threading.Thread(target=update, args=(mine,)) for mine in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not refused, f"{len(refused)} updates refused, first {refused[0]}"
    all_are_there(connection, count, value_bytes, turn=2)


def test_after_deletes_a_full_pool_takes_new_keys_again_without_a_restart(stayd):
    """Again and again, new keys take the room that deletes freed, except for the room of the tombstones."""
    connection = stayd.connect("sessions")
    value_bytes = 4000
    count = fill(connection, value_bytes)
    there = {b"k%d" % number for number in range(count)}
    for turn in range(5):
        gone = [key for number, key in enumerate(sorted(there)) if number % 4 == 0]
        for key in gone:
            connection.send(b"delete %b noreply\r\n" % key)
        connection.expect_in_step()
        there -= set(gone)
        new = [b"n%d-%d" % (turn, number) for number in range(len(gone) * 9 // 10)]
        for key in new:
            wait_until(
                lambda: connection.set(key, key.ljust(value_bytes)) == b"STORED", 10,
                f"room for {key} of {len(gone)} deleted in turn {turn}",
            )
        there |= set(new)
        for key in there:
            value = connection.get(key)
            assert value is not None and value.startswith((key, key[1:] + b"/0 ")), key
    assert int(connection.stats()["curr_items"]) == len(there)


def test_a_full_pool_takes_new_keys_again_once_items_have_expired(stayd):
    connection = stayd.connect("sessions")
    count = fill(connection, 4000, prefix=b"short", expiry=2)
    assert count > 1000
    wait_until(lambda: connection.set(b"new", b"x" * 4000) == b"STORED", 10, "room")
    for number in range(count // 2):
        wait_until(lambda: connection.set(b"n%d" % number, b"x" * 4000) == b"STORED", 10)


def test_a_full_pool_takes_new_keys_again_after_a_flush(stayd):
    connection = stayd.connect("sessions")
    count = fill(connection, 4000)
    connection.ask(b"flush_all\r\n", b"OK\r\n")
    for number in range(count // 2):
        wait_until(lambda: connection.set(b"n%d" % number, b"x" * 4000) == b"STORED", 10)


@pytest.mark.parametrize("end", ["kill9", "terminate"])
def test_a_full_pool_is_full_and_whole_after_a_restart(stayd, end):
    connection = stayd.connect("sessions")
    count = fill(connection, 4000)
    getattr(stayd, end)()
    stayd.start()
    connection = stayd.connect("sessions")
    all_are_there(connection, count, 4000)
    for number in range(0, count, 7):
        value = value_of(number, 4000)
        assert connection.set(b"k%d" % number, value) == b"STORED"
    all_are_there(connection, count, 4000)
    assert fill(connection, 4000, prefix=b"more") < count // 10


def test_a_full_pool_says_so_in_the_log_and_in_its_statistics(stayd):
    connection = stayd.connect("sessions")
    before = stayd.log
    fill(connection, 4000)
    wait_until(lambda: any("sessions" in line and "full" in line
                           for line in stayd.log.removeprefix(before).splitlines()))
    assert len(stayd.log) - len(before) < 2000, "loud, but not with every refusal"


def test_deletes_and_touches_work_in_a_full_pool(stayd):
    """A user can log out of a full pool, although a logout writes a tombstone."""
    connection = stayd.connect("sessions")
    count = fill(connection, 1000)
    for number in range(0, count, 2):
        connection.ask(b"delete k%d\r\n" % number, b"DELETED\r\n")
    for number in range(1, count, 2):
        connection.ask(b"touch k%d 1000\r\n" % number, b"TOUCHED\r\n")
    for number in range(count):
        value = None if number % 2 == 0 else value_of(number, 1000)
        assert connection.get(b"k%d" % number) == value


def test_logging_out_everybody_of_a_full_pool_works(stayd):
    connection = stayd.connect("sessions")
    count = fill(connection, 60)
    for start in range(0, count, 500):
        numbers = range(start, min(start + 500, count))
        connection.ask(b"".join(b"delete k%d\r\n" % n for n in numbers),
                       b"DELETED\r\n" * len(numbers))
    stayd.kill9()
    stayd.start()
    connection = stayd.connect("sessions")
    for start in range(0, count, 500):
        connection.ask(b"get " + b" ".join(b"k%d" % n for n in range(start, start + 500)) + b"\r\n",
                       b"END\r\n")


def small_memcached():
    """memcached with the same memory as the cache pool here."""
    return Memcached(["-m", "16"])


def small_stayd():
    """stayd with small pools."""
    return Stayd(cache=KEEP, sessions=KEEP)


IN_ONE_BLOCK = pytest.param(small_stayd, 0, id="stayd-block")


@pytest.mark.parametrize("make, between", [
    pytest.param(small_memcached, 0, id="memcached-block"), IN_ONE_BLOCK,
    pytest.param(small_memcached, 4, id="memcached-scattered"),
    pytest.param(small_stayd, 4, id="stayd-scattered"),
])
def test_a_pool_that_forgets_takes_every_new_key_and_keeps_what_is_read_often(make, between):
    """Stores new keys of three times the pool's memory, while 200 old keys are read again and again.

    Evicted keys are not stored again. If age alone decided what is evicted, every hot key would be
    gone. `between`: how many cold keys are stored after each hot key.
    """
    with make() as server, server.connect("cache") as connection:
        generator = random.Random(7)
        hot = [b"hot-%d" % number for number in range(200)]
        value, count = b"x" * 2000, 24_000
        for key in hot:
            assert connection.set(key, key.ljust(2000)) == b"STORED"
            for number in range(between):
                assert connection.set(b"%b-%d" % (key, number), value) == b"STORED"
        for start in range(0, count, 20):
            connection.send(b"".join(
                b"set cold-%d 0 0 2000\r\n%b\r\n" % (n, value) for n in range(start, start + 20)
            ))
            connection.expect(b"STORED\r\n" * 20)
            connection.send(b"get " + b" ".join(generator.choices(hot, k=40)) + b"\r\n")
            connection.read_until(b"END\r\n")
        assert connection.get(b"cold-%d" % (count - 1)) == value, "the newest is there"
        assert int(connection.stats()["evictions"]) > count // 2
        kept = sum(connection.get(key) == key.ljust(2000) for key in hot)
        assert kept >= 180, f"{kept} of 200 keys that are read often are left"


def test_a_pool_that_forgets_never_serves_a_wrong_or_deleted_value(stayd):
    """With eviction a value may be missing. It may not be wrong, and it may not be a deleted value."""
    connection = stayd.connect("cache")
    generator = random.Random(8)
    latest = {}
    for turn in range(15_000):
        number = generator.randrange(8000)
        if generator.random() < 0.2:
            connection.send(b"delete k%d noreply\r\n" % number)
            latest[number] = None
        else:
            latest[number] = value_of(number, 3000, turn)
            connection.send(b"set k%d 0 0 3000 noreply\r\n%b\r\n" % (number, latest[number]))
        if turn % 5 == 0:
            number = generator.choice(list(latest))
            assert connection.get(b"k%d" % number) in (None, latest[number])
    found = sum(connection.get(b"k%d" % number) is not None for number in latest)
    assert found > 2000, f"{found} of {len(latest)} are left in 16 MiB of 3000-byte values"


def test_compaction_changes_nothing_that_a_client_can_see(stayd):
    """Invariant 5: value, flags, expiry and CAS of items that nobody changes, while others change."""
    connection = stayd.connect("sessions")
    for number in range(500):
        connection.ask(b"ms still%d 1000 F%d T%d\r\n%b\r\n" % (
            number, number, 100_000 * (number % 3), value_of(number, 1000)), b"HD\r\n")
    request = b"".join(b"mg still%d v f c s u\r\n" % number for number in range(500)) + b"mn\r\n"
    connection.send(request)
    before = connection.read_until(b"\r\nMN\r\n")
    assert before.count(b"VA ") == 500
    for turn in range(12_000):
        number = turn % 997
        connection.send(b"set churn%d 0 0 5000 noreply\r\n%b\r\n" % (number, b"c" * 5000))
    connection.send(request)
    assert connection.read_until(b"\r\nMN\r\n") == before
    for number in (1, 2):
        left = int(connection.ask(b"mg still%d t\r\n" % number)[4:])
        assert 100_000 * number - 60 < left <= 100_000 * number
