"""Clients under load, while another client flushes, reads statistics, watches and dumps all keys: no reply
is mixed up, and no client reads a value that was not stored. This test is mainly for the build with the
thread sanitizer: a report of the sanitizer ends the daemon, and the test fails."""

import os
import random
import threading
import time

import pylibmc
import pymemcache

from support.servers import Stayd

SECONDS = float(os.environ.get("STAYD_LOAD_SECONDS", "3"))
KEYS = 200


class Load:
    """Runs observers until the time is over. Runs workers until no observer is left, because a watch has
    lines only while there is work. Raises the first failure of any thread."""

    def __init__(self):
        self.deadline = time.monotonic() + SECONDS
        self.failures = []
        self.counts = {}
        self.lookers = []
        self.workers = []

    def look_on(self, name, step):
        """Calls `step` again and again; counts how often."""
        self._add(self.lookers, name, step, lambda: time.monotonic() < self.deadline)

    def work(self, name, step):
        self._add(self.workers, name, step, lambda: any(each.is_alive() for each in self.lookers))

    def _add(self, threads, name, step, goes_on):
        name = f"{name} {len(self.counts)}"
        self.counts[name] = 0
        threads.append(threading.Thread(target=self._run, args=(name, step, goes_on)))

    def _run(self, name, step, goes_on):
        try:
            while goes_on() and not self.failures:
                step()
                self.counts[name] += 1
        except BaseException as failure:
            self.failures.append((name, failure))

    def run(self):
        for thread in self.lookers + self.workers:
            thread.start()
        for thread in self.lookers + self.workers:
            thread.join()
        assert self.failures == []
        assert min(self.counts.values()) > 0, self.counts


def value_of(key):
    """The value of this key: the same for all clients, except for its length."""
    return key.encode() * random.randrange(1, 200)


def is_value_of(key, value):
    return value is None or value.replace(key.encode(), b"") == b""


def text_client(stayd, pool):
    host, port = stayd.address(pool).split(":")
    client = pymemcache.Client((host, int(port)), default_noreply=False, timeout=30)

    def step():
        key = f"key-{random.randrange(KEYS):03}-"
        client.set(key, value_of(key), expire=random.choice([0, 1, 100]))
        others = [f"key-{random.randrange(KEYS):03}-" for _ in range(20)]
        for found, value in client.get_many(others).items():
            assert is_value_of(found, value), found
        client.delete(random.choice(others))
        client.incr("number", 1)
        client.add("number", b"0")

    return step


def binary_client(stayd, pool):
    client = pylibmc.Client([stayd.address(pool)], binary=True)

    def step():
        key = f"key-{random.randrange(KEYS):03}-"
        client.set(key, value_of(key))
        others = [f"key-{random.randrange(KEYS):03}-" for _ in range(20)]
        for found, value in client.get_multi(others).items():
            assert is_value_of(found, value), found
        client.touch(key, 100)
        client.delete(random.choice(others))

    return step


def flusher(stayd, pool):
    connection = stayd.connect(pool, timeout=30)

    def step():
        connection.ask(b"flush_all\r\n", b"OK\r\n")
        connection.ask(b"flush_all 1\r\n", b"OK\r\n")
        time.sleep(0.05)  # a flush now and then, so that there is something to flush

    return step


def statistician(stayd, pool):
    connection = stayd.connect(pool, timeout=30)

    def step():
        for group in (b"", b"settings", b"items", b"slabs", b"conns"):
            assert connection.stats(group) is not None
        connection.ask(b"stats reset\r\n", b"RESET\r\n")

    return step


def dumper(stayd, pool):
    connection = stayd.connect(pool, timeout=30)

    def step():
        connection.ask(b"lru_crawler metadump all\r\n", b"OK\r\n")
        while (line := connection.read_until(b"\n")) != b"END\r\n":
            assert line.startswith(b"key="), line

    return step


def watcher(stayd, pool):
    """Connects, reads some lines and disconnects, again and again."""

    def step():
        with stayd.connect(pool, timeout=30) as connection:
            connection.ask(b"watch fetchers mutations evictions connevents deletions\r\n", b"OK\r\n")
            for _ in range(10):
                assert connection.read_until(b"\n").startswith(b"ts="), "a line of the watch"

    return step


def test_clients_under_load_with_all_that_looks_on_running():
    with Stayd(server={"threads": 4}, cache={"memory": "8M", "item_max": "64K"},
               sessions={"memory": "16M", "item_max": "64K"}) as stayd:
        load = Load()
        for pool in ("cache", "sessions"):
            for client in (text_client, text_client, binary_client):
                load.work(client.__name__, client(stayd, pool))
            for client in (flusher, statistician, dumper, watcher):
                load.look_on(client.__name__, client(stayd, pool))
        load.run()
        for pool in ("cache", "sessions"):
            stayd.connect(pool).expect_in_step()
        stayd.check_sanitizers()
