"""stats with a group: memcached's names, and the format that its tools read."""

import re

import pytest

from support.servers import Memcached, Stayd, wait_until

ABSENT_GENERAL = """libevent reserved_fds log_worker_dropped log_worker_written malloc_fails
unexpected_napi_ids round_robin_fallback slab_reassign_evictions_nomem""".split()
"""Names without an equivalent in stayd, as docs/protocol.md says. 1.6.45 does not have the last one."""

ABSENT_SETTINGS = """oldest growth_factor chunk_size num_threads_per_udp hashpower_init slab_reassign
slab_automove slab_automove_ratio slab_automove_window slab_automove_freeratio slab_chunk_max
tail_repair_time temporary_ttl worker_logbuf_size inline_ascii_response num_napi_ids proxy_enabled
proxy_uring_enabled""".split()

LATER = ("ext_", "ssl_")
"""Prefixes of names: extstore's, and TLS's, which appear only with TLS."""


def group(connection, name):
    """The lines of `stats <name>` as a dict."""
    connection.send(b"stats " + name + b"\r\n")
    lines = connection.read_until(b"END\r\n").decode().split("\r\n")[:-2]
    return dict(line.removeprefix("STAT ").split(" ", 1) for line in lines)


@pytest.fixture(scope="module")
def peer():
    """A memcached of this module's own."""
    with Memcached([]) as server, server.connect() as connection:
        yield connection


@pytest.mark.parametrize("name, absent", [(b"", ABSENT_GENERAL), (b"settings", ABSENT_SETTINGS)])
def test_every_name_of_memcached_is_there_or_documented_as_absent(
        peer, stayd_connection, name, absent):
    of_memcached = {word for word in group(peer, name) if not word.startswith(LATER)}
    of_stayd = set(group(stayd_connection, name))
    assert of_memcached - of_stayd - set(absent) == set()
    documented = open("docs/protocol.md", encoding="utf-8").read()
    missing = [word for word in of_memcached - of_stayd if f"`{word}`" not in documented]
    assert not missing, "docs/protocol.md says nothing of them"


@pytest.mark.parametrize("name, absent", [(b"items", set()), (b"slabs", {"get_hits"}), (b"conns", set())])
def test_every_name_of_a_class_or_connection_is_there_or_documented_as_absent(
        peer, stayd_connection, name, absent):
    """Compares names without the class or descriptor in front of them."""
    for connection in (peer, stayd_connection):
        connection.set(b"k", b"v", expiry=100)
    names = [{line.split(":")[-1] for line in group(connection, name)}
             for connection in (peer, stayd_connection)]
    assert names[0] - names[1] == absent
    documented = open("docs/protocol.md", encoding="utf-8").read()
    assert all(f"`{word}`" in documented for word in absent)


def test_no_name_that_an_exporter_reads_is_in_two_groups(stayd_connection):
    """Prometheus' memcached_exporter makes one series of the same name in two groups, and then answers
    HTTP 500."""
    stayd_connection.set(b"k", b"v", expiry=100)
    items, slabs = ({line.split(":")[-1] for line in group(stayd_connection, name) if ":" in line}
                    for name in (b"items", b"slabs"))
    assert "mem_requested" in items
    assert not items & slabs


def test_settings_tell_where_the_pool_listens(stayd_target):
    with stayd_target.connect() as connection:
        settings = group(connection, b"settings")
    assert settings["tcpport"] == str(connection.address[1])
    assert settings["inter"] == "127.0.0.1"
    assert settings["domain_socket"].endswith(f"{stayd_target.pool}.sock")
    assert settings["pool"] == stayd_target.pool


def test_classes_have_the_shape_of_memcacheds(target):
    with target.connect() as connection:
        for number in range(20):
            connection.set(b"k%d" % number, b"v" * 50, expiry=100)
        items, slabs = group(connection, b"items"), group(connection, b"slabs")
    classes = {name.split(":")[1] for name in items}
    assert sum(int(items[f"items:{one}:number"]) for one in classes) >= 20
    for one in classes:
        for name in ("number", "age", "mem_requested", "evicted", "evicted_nonzero",
                     "evicted_time", "reclaimed", "expired_unfetched", "evicted_unfetched"):
            assert items[f"items:{one}:{name}"].isdigit()
        pages, per_page = int(slabs[f"{one}:total_pages"]), int(slabs[f"{one}:chunks_per_page"])
        assert int(slabs[f"{one}:total_chunks"]) == pages * per_page
        assert (int(slabs[f"{one}:used_chunks"]) + int(slabs[f"{one}:free_chunks"])
                == int(slabs[f"{one}:total_chunks"]))
        assert int(slabs[f"{one}:chunk_size"]) > 0
        for name in ("cmd_set", "delete_hits", "incr_hits", "decr_hits", "cas_hits", "cas_badval",
                     "touch_hits"):
            assert slabs[f"{one}:{name}"].isdigit()
    assert int(slabs["active_slabs"]) >= len(classes)
    assert int(slabs["total_malloced"]) > 0


def test_conns_tells_every_listener_and_connection(target):
    with target.connect() as one, target.connect() as other:
        other.ask(b"mn\r\n", b"MN\r\n")
        port = other.socket.getsockname()[1]
        conns = group(one, b"conns")
        own = [name.split(":")[0] for name, value in conns.items() if value.endswith(f":{port}")]
        assert len(own) == 1
        fd = own[0]
        assert conns[f"{fd}:addr"] == f"tcp:127.0.0.1:{port}"
        assert conns[f"{fd}:listen_addr"] == f"tcp:127.0.0.1:{other.address[1]}"
        assert conns[f"{fd}:state"].startswith("conn_")
        assert int(conns[f"{fd}:secs_since_last_cmd"]) < 5
        assert f"tcp:127.0.0.1:{other.address[1]}" in conns.values()
        assert "conn_listening" in conns.values()
        other.close()
        wait_until(lambda: f"tcp:127.0.0.1:{port}" not in group(one, b"conns").values())


def test_detail_counts_by_prefix_as_memcached_does(target):
    with target.connect() as connection:
        connection.ask(b"stats detail on\r\n", b"OK\r\n")
        connection.set(b"foo:1", b"v")
        connection.send(b"get foo:1 foo:2\r\ngat 0 foo:1\r\ndelete foo:2\r\nset no 0 0 1\r\nv\r\n")
        connection.read_until(b"STORED\r\n")
        connection.send(b"stats detail dump\r\n")
        assert connection.read_until(b"END\r\n") == b"PREFIX foo get 3 hit 2 set 1 del 1\r\nEND\r\n"
        connection.ask(b"stats detail off\r\n", b"OK\r\n")
        connection.ask(b"stats reset\r\n", b"RESET\r\n")
        connection.ask(b"stats detail dump\r\n", b"END\r\n")


def test_what_deletes_nothing_counts_as_no_delete(target):
    """A md that only marks the item stale, and an old value that is lost because its set is refused."""
    with target.connect() as connection:
        before = connection.stats()
        connection.set(b"k", b"v")
        connection.ask(b"md k I\r\n", b"HD\r\n")
        for key in (b"k", b"none"):
            connection.ask(b"set %b 0 0 3000000\r\n" % key + b"v" * 3000000 + b"\r\n",
                           b"SERVER_ERROR object too large for cache\r\n")
        after = connection.stats()
        for name in ("delete_hits", "delete_misses"):
            assert after[name] == before[name]


def test_sizes_are_counted_on_demand(stayd_connection):
    connection = stayd_connection
    connection.ask(b"stats sizes_enable\r\n", b"STAT sizes_status enabled\r\n")
    for number in range(3):
        connection.set(b"k%d" % number, b"v" * 1000)
    sizes = group(connection, b"sizes")
    assert sizes == {"1056": "3"}
    connection.ask(b"stats sizes_disable\r\n", b"STAT sizes_status disabled\r\n")
    assert group(connection, b"sizes") == {"sizes_status": "disabled"}


def test_evictions_are_told_by_class():
    with Stayd(cache={"memory": "8M", "item_max": "16K"}) as stayd:
        connection = stayd.connect("cache")
        for number in range(1500):
            connection.send(b"set k%d 0 3000 9000 noreply\r\n" % number + b"v" * 9000 + b"\r\n")
        connection.ask(b"mn\r\n", b"MN\r\n")
        wait_until(lambda: int(group(connection, b"items").get("items:2:evicted", 0)) > 0)
        items = group(connection, b"items")
        assert items["items:2:evicted_nonzero"] == items["items:2:evicted"]
        assert items["items:2:evicted_unfetched"] == items["items:2:evicted"]
        stats = connection.stats()
        assert int(stats["evicted_unfetched"]) == int(stats["evictions"]) > 0


def test_an_empty_group_is_the_general_one_and_words_behind_it_are_passed_over(connection):
    connection.send(b"stats   \r\n")
    assert connection.read_until(b"END\r\n").startswith(b"STAT pid ")
    connection.send(b"stats items foo\r\n")
    assert re.fullmatch(rb"(STAT items:[^\r]*\r\n)*END\r\n", connection.read_until(b"END\r\n"))
