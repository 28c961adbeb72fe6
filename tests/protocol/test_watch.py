"""watch: a connection receives events about clients and the daemon."""

import re
import socket
import struct
import threading

import pytest

from support import binary
from support.servers import Memcached, Stayd, wait_until


def fields(line):
    """The fields of a line as a dict, without its time and numbers."""
    return {name: value for name, value in (word.split("=", 1) for word in line.split(" "))
            if name not in ("ts", "gid", "cfd", "clsid", "rport")}


def watch(server, pool, kinds):
    """A connection that watches."""
    connection = server.connect(pool)
    connection.ask(b"watch " + kinds + b"\r\n", b"OK\r\n")
    return connection


def hear(watcher, count):
    """Reads this many lines."""
    return [watcher.read_until(b"\n").decode().rstrip("\n") for _ in range(count)]


@pytest.fixture(scope="module")
def servers():
    """memcached and stayd."""
    with Memcached() as memcached, Stayd() as stayd:
        yield memcached, stayd


@pytest.mark.parametrize("pool", ["cache", "sessions"])
def test_lines_are_memcacheds(servers, pool):
    """The comparison leaves out memcached's line about its look-up before each store."""
    memcached, stayd = servers
    requests = [b"set a%b 0 100 3\r\nabc\r\n", b"get a%b none\r\n", b"add a%b 0 0 1\r\nx\r\n",
                b"append a%b 0 0 1\r\nx\r\n",
                b"ma n%b N0 J5\r\n", b"ma n%b N0 J5\r\n", b"incr none 1\r\n",
                b"cas a%b 0 0 1 1\r\nx\r\n", b"ms AQID 1 b\r\nx\r\n", b"mg AQID b\r\n",
                b"replace none 0 0 1\r\nx\r\n"]
    heard = []
    for server, of_server in ((memcached, None), (stayd, pool)):
        with server.connect(of_server) as connection:
            connection.ask(b"flush_all\r\n", b"OK\r\n")
            watcher = watch(server, of_server, b"fetchers mutations")
            for request in requests:
                connection.send(request + b"mn\r\n")
                connection.read_until(b"MN\r\n")
            connection.send(b"get last\r\n")
            connection.read_until(b"END\r\n")
            lines = []
            while not lines or "key=last" not in lines[-1]:
                lines += hear(watcher, 1)
            watcher.close()
        assert all(re.match(r"ts=\d+\.\d+ gid=\d+ type=", line) for line in lines)
        heard.append([fields(line) for line in lines])
    stores = [[line for line in of if line["type"] == "item_store"] for of in heard]
    for line in (line for of in stores for line in of):
        line["ttl"] = "100" if 90 < int(line["ttl"]) <= 100 else line["ttl"]
    assert stores[0] == stores[1]
    gets = [line for line in heard[0] if line["type"] == "item_get"]
    for line in heard[1]:
        assert line["type"] == "item_store" or line in gets


LARGE = b"L" * 1_200_000


@pytest.mark.parametrize("line", [b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"ms",
                                  b"ms E", b"ms A"])
def test_values_that_are_too_large_are_told(servers, line):
    """In memcached's own lines, the class, the connection and the size are wrong: its arguments are out of
    order."""
    verb, *mode = line.split()
    if verb == b"ms":
        request = b"ms k %d %b\r\n" % (len(LARGE), b"M" + mode[0] if mode else b"")
    else:
        request = b"%b k 0 0 %d%b\r\n" % (verb, len(LARGE), b" 1" if verb == b"cas" else b"")
    heard = []
    for server, pool in ((servers[0], None), (servers[1], "cache")):
        with server.connect(pool) as connection:
            watcher = watch(server, pool, b"mutations")
            connection.send(request + LARGE + b"\r\n")
            connection.expect(b"SERVER_ERROR object too large for cache\r\n")
            heard.append(fields(hear(watcher, 1)[0]))
            watcher.close()
    assert heard[1].pop("size") == str(len(LARGE)) and heard[0].pop("size")
    assert heard[0] == heard[1] and heard[1]["status"] == "too_large"


def test_a_sum_that_is_too_large_is_not_stored(servers):
    half = LARGE[:700_000]
    heard = []
    for server, pool in ((servers[0], None), (servers[1], "cache")):
        with server.connect(pool) as connection:
            connection.set(b"k", half)
            watcher = watch(server, pool, b"mutations")
            connection.send(b"append k 0 0 %d\r\n%b\r\n" % (len(half), half))
            connection.expect(b"NOT_STORED\r\n")
            heard.append(fields(hear(watcher, 1)[0]))
            watcher.close()
    assert heard[0] == heard[1] and heard[1]["status"] == "not_stored"


def test_binary_requests_are_told_under_the_names_of_text():
    with Stayd() as stayd, stayd.connect("cache") as connection:
        watcher = watch(stayd, "cache", b"mutations deletions fetchers")
        for arguments, told in [
            ((binary.SET, b"k", binary.store(), LARGE), "item_store too_large set"),
            ((binary.SET, b"k", binary.store(), b"v"), "item_store stored set"),
            ((binary.INCREMENT, b"n", binary.count()), "item_get not_found -"),
            ((binary.GET, b"k"), "item_store stored add"),
            ((binary.DELETE, b"k"), "item_get found -"),
            ((binary.GET, b"last"), "deleted - delete"),
        ]:
            binary.ask(connection, *arguments)
            line = fields(hear(watcher, 1)[0])
            assert f"{line['type']} {line.get('status', '-')} {line.get('cmd', '-')}" == told


def test_an_item_that_is_marked_stale_is_not_deleted():
    with Stayd() as stayd, stayd.connect("cache") as connection:
        connection.set(b"k", b"v")
        watcher = watch(stayd, "cache", b"deletions")
        connection.ask(b"md k I T30\r\n", b"HD\r\n")
        connection.ask(b"md k\r\n", b"HD\r\n")
        connection.set(b"k", b"value")
        connection.ask(b"delete k\r\n", b"DELETED\r\n")
        lines = hear(watcher, 2)
        assert "cmd=md clsid=1 size=1" in lines[0] and "cmd=delete clsid=8 size=5" in lines[1]


def test_a_client_that_resets_its_connection_is_told_with_its_address(servers):
    for server, pool in ((servers[0], None), (servers[1], "cache")):
        watcher = watch(server, pool, b"connevents")
        other = server.connect(pool)
        other.ask(b"mn\r\n", b"MN\r\n")
        port = other.socket.getsockname()[1]
        other.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        other.close()  # with a reset
        end = f"type=conn_close rip=127.0.0.1 rport={port} transport=tcp reason=error cfd="
        line = ""
        while "conn_close" not in line or f"rport={port} " not in line:
            line = hear(watcher, 1)[0]
        assert end in line
        watcher.close()


def test_watch_may_stand_behind_other_commands():
    with Stayd() as stayd, stayd.connect("cache") as connection:
        watcher = stayd.connect("cache")
        watcher.send(b"set k 0 0 1\r\nv\r\nget k\r\nwatch fetchers\r\n")
        watcher.expect(b"STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\nOK\r\n")
        connection.get(b"k")
        assert "key=k status=found" in hear(watcher, 1)[0]


def test_the_twenty_first_watcher_is_refused():
    """The words are from memcached's source: 1.6.18 itself keeps a lock there, and hangs."""
    with Stayd() as stayd:
        watchers = [watch(stayd, "cache", b"mutations") for _ in range(20)]
        with stayd.connect("cache") as connection:
            connection.ask(b"watch\r\n", b"WATCHER_TOO_MANY log watcher limit reached\r\n")
            connection.expect_in_step()
            watchers[3].close()
            wait_until(lambda: connection.stats()["log_watchers"] == "19")
            connection.ask(b"watch\r\n", b"OK\r\n")


@pytest.mark.parametrize("line", [b"watch foo", b"watch fetchers foo", b"watch noreply"])
def test_unknown_kinds_are_refused(servers, line):
    for server, pool in ((servers[0], None), (servers[1], "cache")):
        with server.connect(pool) as connection:
            connection.send(line + b"\r\nmn\r\n")
            expected = b"MN\r\n" if line.endswith(b"noreply") else b"ERROR\r\nMN\r\n"
            connection.expect(expected)


def test_connections_deletions_and_evictions_are_told():
    with Stayd(cache={"memory": "8M", "item_max": "16K"}) as stayd:
        watcher = watch(stayd, "cache", b"connevents deletions evictions")
        other = stayd.connect("cache")
        other.ask(b"mn\r\n", b"MN\r\n")
        port = other.socket.getsockname()[1]
        other.close()
        new, closed = hear(watcher, 2)
        assert f"type=conn_new rip=127.0.0.1 rport={port} transport=tcp cfd=" in new
        assert f"type=conn_close rip=127.0.0.1 rport={port} transport=tcp reason=normal" in closed
        with stayd.connect_socket("cache") as local:
            local.ask(b"mn\r\n", b"MN\r\n")
            assert "type=conn_new rip=unix rport=0 transport=local" in hear(watcher, 1)[0]
            local.set(b"k", b"v")
            local.ask(b"delete k\r\n", b"DELETED\r\n")
            assert "type=deleted key=k cmd=delete clsid=8 size=1" in hear(watcher, 1)[0]
            for number in range(1500):
                local.send(b"set k%d 0 3000 9000 noreply\r\n" % number + b"v" * 9000 + b"\r\n")
            local.ask(b"mn\r\n", b"MN\r\n")
            line = hear(watcher, 1)[0]
            assert re.search(r"type=eviction key=k\d+ fetch=no ttl=\d+ la=\d+ clsid=2 size=9000$",
                             line), line
        watcher.close()
        with stayd.connect("cache") as connection:
            wait_until(lambda: connection.stats()["log_watchers"] == "0")


def test_a_watcher_of_one_pool_hears_nothing_of_the_other():
    with Stayd() as stayd:
        watcher = watch(stayd, "cache", b"fetchers")
        with stayd.connect("sessions") as sessions, stayd.connect("cache") as cache:
            sessions.get(b"secret")
            cache.get(b"open")
            assert "key=open" in hear(watcher, 1)[0]


def test_a_watcher_that_never_reads_is_bounded_and_dropped():
    with Stayd(server={"threads": 1, "send_timeout": "1s"}) as stayd:
        lazy = watch(stayd, "cache", b"fetchers")
        lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with stayd.connect("cache") as connection:
            assert connection.stats()["log_watchers"] == "1"

            def dropped():
                connection.send(b"mg key-of-some-length q\r\n" * 5000 + b"mn\r\n")
                connection.read_until(b"MN\r\n")
                return connection.stats()["log_watchers"] == "0"

            wait_until(dropped, timeout=20)
            assert int(connection.stats()["log_watcher_skipped"]) > 0
            wait_until(lambda: connection.stats()["curr_connections"] == "1")


def test_what_a_watcher_sends_is_passed_over():
    with Stayd() as stayd, stayd.connect("cache") as connection:
        watcher = watch(stayd, "cache", b"fetchers")
        connection.set(b"k", b"v")
        watcher.send(b"flush_all\r\nget k\r\n")
        assert connection.get(b"k") == b"v"
        assert "key=k status=found" in hear(watcher, 1)[0]


def test_everything_at_once():
    """Watches, dumps, stats and flushes while clients write: the load for a run on a TSan build."""
    with Stayd(cache={"memory": "8M", "item_max": "16K"}, server={"threads": 4}) as stayd:
        done = threading.Event()

        def write(number):
            with stayd.connect("cache") as connection:
                while not done.is_set():
                    connection.send(b"".join(
                        b"set k%d-%d 0 100 1000 noreply\r\n%b\r\nmg k%d-%d q\r\ndelete k%d-%d noreply\r\n"
                        % (number, i, b"v" * 1000, number, i - 3, number, i - 9)
                        for i in range(100)) + b"mn\r\n")
                    connection.read_until(b"MN\r\n")

        def listen(kinds):
            watcher = watch(stayd, "cache", kinds)
            while not done.is_set():
                hear(watcher, 10)
            watcher.close()

        threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        threads += [threading.Thread(target=listen, args=(kinds,)) for kinds in (
            b"fetchers mutations evictions deletions connevents", b"mutations")]
        for thread in threads:
            thread.start()
        try:
            with stayd.connect("cache") as connection:
                connection.ask(b"stats detail on\r\n", b"OK\r\n")
                connection.ask(b"stats sizes_enable\r\n", b"STAT sizes_status enabled\r\n")
                for _ in range(8):
                    for request in (b"stats", b"stats items", b"stats slabs", b"stats conns",
                                    b"stats sizes", b"stats detail dump", b"stats settings",
                                    b"lru_crawler metadump all"):
                        connection.send(request + b"\r\n")
                        connection.read_until(b"END\r\n")
                    connection.ask(b"flush_all\r\n", b"OK\r\n")
                    stayd.connect("cache").close()
        finally:
            done.set()
            for thread in threads:
                thread.join()
        stayd.check_sanitizers()
