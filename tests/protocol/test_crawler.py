"""lru_crawler: dumps of all items while items change, and the replies to commands about the crawler."""

import threading
import time
import urllib.parse

import pytest

from support.servers import Memcached, Stayd, wait_until

KEEP = 3000


def dump(connection, what=b"metadump all"):
    """The lines of a dump as dicts."""
    connection.send(b"lru_crawler " + what + b"\r\n")
    text = connection.read_until(b"END\r\n", timeout=60).decode()
    assert text.endswith("END\r\n")
    text = text.removeprefix("OK\r\n")  # memcached 1.6.45 begins with OK, 1.6.18 does not
    return [dict(word.split("=", 1) for word in line.split(" ")) for line in text.split("\n")[:-2]]


@pytest.mark.parametrize("kind, pool", [(Memcached, None), (Stayd, "cache"), (Stayd, "sessions")])
def test_metadump_tells_what_memcacheds_tells(kind, pool):
    server = Memcached([]) if kind is Memcached else Stayd()
    with server, server.connect(pool) as connection:
        connection.set(b"plain", b"value")
        connection.set("k%\u00e4,=".encode(), b"v", expiry=1000)
        connection.get(b"plain")
        lines = {line["key"]: line for line in dump(connection)}
        assert set(lines) == {"plain", "k%25%C3%A4%2C%3D"}
        now = int(connection.stats()["time"])
        assert lines["plain"]["exp"] == "-1"
        assert lines["plain"]["fetch"] == "yes"
        other = lines["k%25%C3%A4%2C%3D"]
        assert abs(int(other["exp"]) - now - 1000) <= 3
        assert abs(int(other["la"]) - now) <= 3
        assert other["fetch"] == "no"
        assert {"cas", "cls", "size"} <= set(other)


LINES = [
    b"lru_crawler", b"lru_crawler foo", b"lru_crawler metadump", b"lru_crawler metadump x",
    b"lru_crawler metadump 0", b"lru_crawler metadump 64", b"lru_crawler metadump 1,x",
    b"lru_crawler metadump all foo", b"lru_crawler crawl", b"lru_crawler crawl x",
    b"lru_crawler crawl hash", b"lru_crawler sleep", b"lru_crawler sleep x",
    b"lru_crawler sleep -1", b"lru_crawler sleep 1000001", b"lru_crawler sleep 0",
    b"lru_crawler sleep 1000000", b"lru_crawler tocrawl", b"lru_crawler tocrawl x",
    b"lru_crawler tocrawl 5", b"lru_crawler tocrawl 0", b"lru_crawler enable foo",
    b"lru_crawler sleep 100 noreply",
]


def reply_of_idle_crawler(peer, line):
    """Waits for memcached's reply, which comes once its crawler has finished what an earlier line began."""
    deadline = time.monotonic() + 20
    while True:
        peer.send(line + b"\r\n")
        reply = peer.read_line()
        if not reply.startswith(b"BUSY") or time.monotonic() > deadline:
            return reply
        time.sleep(0.01)


def test_the_replies_are_memcacheds(stayd_connection):
    with Memcached([]) as server, server.connect() as peer:
        for line in LINES:
            stayd_connection.ask(line + b"\r\n", reply_of_idle_crawler(peer, line) + b"\r\n")


def test_a_crawler_that_is_disabled_dumps_nothing(stayd_connection):
    connection = stayd_connection
    connection.ask(b"lru_crawler disable\r\n", b"OK\r\n")
    connection.ask(b"lru_crawler metadump all\r\n", b"CLIENT_ERROR lru crawler disabled\r\n")
    connection.ask(b"lru_crawler enable\r\n", b"OK\r\n")
    connection.ask(b"lru_crawler metadump all\r\n", b"OK\r\nEND\r\n")


def test_mgdump_tells_keys_as_mg_takes_them(stayd_connection):
    connection = stayd_connection
    connection.set(b"plain", b"v")
    connection.ask(b"ms AQID 1 b\r\nv\r\n", b"HD\r\n")
    connection.send(b"lru_crawler mgdump all\r\n")
    text = connection.read_until(b"EN\r\n")
    assert text.startswith(b"OK\r\n")
    lines = text.split(b"\r\n")[1:-2]
    assert sorted(lines) == [b"mg AQID b", b"mg plain"]
    for line in lines:
        connection.ask(line + b"\r\n", b"HD\r\n")


def test_a_dump_misses_nothing_while_everything_changes():
    """Items are stored, deleted, replaced and moved, and the index grows. A dump must have every item that
    stays."""
    with Stayd(cache={"memory": "32M", "item_max": "16K"}) as stayd:
        with stayd.connect("cache") as connection:
            for number in range(KEEP):
                connection.send(b"set keep-%d 0 0 10 noreply\r\n0123456789\r\n" % number)
            connection.ask(b"mn\r\n", b"MN\r\n")
        done = threading.Event()

        def change(first):
            with stayd.connect("cache") as connection:
                number = first
                while not done.is_set():
                    batch = b"".join(
                        b"set go-%d-%d 0 0 20 noreply\r\n%020d\r\ndelete go-%d-%d noreply\r\n"
                        b"set keep-%d 0 0 10 noreply\r\n9876543210\r\n"
                        % (first, i, i, first, i - 100, i % KEEP)
                        for i in range(number, number + 200))
                    number += 200
                    connection.send(batch)
                    connection.ask(b"mn\r\n", b"MN\r\n")

        writers = [threading.Thread(target=change, args=(first,)) for first in (0, 1500)]
        for writer in writers:
            writer.start()
        try:
            wanted = {f"keep-{number}" for number in range(KEEP)}
            with stayd.connect("cache") as connection, stayd.connect("sessions") as other:
                other.set(b"elsewhere", b"v")
                for _ in range(5):
                    other.send(b"lru_crawler mgdump all\r\n")  # one dump for each pool may run at a time
                    told = {urllib.parse.unquote(line["key"]) for line in dump(connection)}
                    assert wanted <= told
                    other.expect(b"OK\r\nmg elsewhere\r\nEN\r\n")
                    connection.send(b"lru_crawler mgdump hash\r\n")
                    keys = connection.read_until(b"EN\r\n", timeout=60).decode().split("\r\n")
                    assert wanted <= {key.removeprefix("mg ") for key in keys}
        finally:
            done.set()
            for writer in writers:
                writer.join()


BUSY = b"BUSY currently processing crawler request"


def fill(connection, count):
    """Stores small items, under keys that make the lines of a dump some 100 bytes long."""
    batch = []
    for number in range(count):
        batch.append(b"set some-longer-key-%d 0 0 1 noreply\r\nv\r\n" % number)
        if len(batch) == 1000:
            connection.send(b"".join(batch))
            batch = []
    connection.send(b"".join(batch))
    connection.ask(b"mn\r\n", b"MN\r\n")


def test_one_dump_runs_at_a_time_and_one_that_is_not_taken_gives_way():
    with Stayd(server={"threads": 1}) as stayd, stayd.connect("cache") as connection:
        fill(connection, 100_000)
        silent = stayd.connect("cache")
        silent.send(b"lru_crawler metadump all\r\n")
        wait_until(lambda: connection.stats()["lru_crawler_running"] == "1")
        for line in (b"lru_crawler mgdump all", b"stats cachedump 8 0"):
            connection.ask(line + b"\r\n", BUSY + b"\r\n")
        for _ in range(200):
            connection.ask(b"mn\r\n", b"MN\r\n")

        def begin():
            connection.send(b"lru_crawler metadump 3\r\n")
            return connection.read_line() == b"OK" and connection.read_line() == b"END"

        wait_until(begin, what="the dump that nobody takes to give way")
        silent.socket.settimeout(60)
        last = b""
        while piece := silent.socket.recv(1 << 18):
            last = last[-10:] + piece
        assert not last.endswith(b"END\r\n")  # half a dump must not look like a whole one


def test_a_dump_ends_with_its_client():
    with Stayd(server={"threads": 1}) as stayd, stayd.connect("cache") as connection:
        fill(connection, 100_000)
        gone = stayd.connect("cache")
        gone.send(b"lru_crawler metadump all\r\n")
        gone.read_exact(10)
        gone.close()
        wait_until(lambda: connection.stats()["lru_crawler_running"] == "0")
        assert len({line["key"] for line in dump(connection)}) == 100_000
