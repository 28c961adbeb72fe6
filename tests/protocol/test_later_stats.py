"""Each name in every group of `stats`, as memcached 1.6.45 has them.

The lists were read from that program, built from its tag, with two items and one hit. Each name that
stayd lacks stands here with its reason, and in docs/protocol.md.
"""

import contextlib

import pytest

from support.servers import Stayd, wait_until
from test_stats_groups import group

OF_MEMCACHED = {
    b"": """
        pid uptime time version libevent pointer_size rusage_user rusage_system max_connections
        curr_connections total_connections rejected_connections connection_structures response_obj_oom
        response_obj_count response_obj_bytes read_buf_count read_buf_bytes read_buf_bytes_free
        read_buf_oom reserved_fds cmd_get cmd_set cmd_flush cmd_touch cmd_meta get_hits get_misses
        get_expired get_flushed delete_misses delete_hits incr_misses incr_hits decr_misses decr_hits
        cas_misses cas_hits cas_badval touch_hits touch_misses store_too_large store_no_memory auth_cmds
        auth_errors bytes_read bytes_written limit_maxbytes accepting_conns listen_disabled_num
        time_in_listen_disabled_us threads conn_yields hash_power_level hash_bytes hash_is_expanding
        slab_reassign_rescues slab_reassign_chunk_rescues slab_reassign_inline_reclaim
        slab_reassign_busy_items slab_reassign_busy_deletes slab_reassign_busy_nomem
        slab_reassign_last_busy_status slab_reassign_running slabs_moved lru_crawler_running
        lru_crawler_starts lru_maintainer_juggles malloc_fails log_worker_dropped log_worker_written
        log_watcher_skipped log_watcher_sent log_watchers unexpected_napi_ids round_robin_fallback bytes
        curr_items total_items slab_global_page_pool expired_unfetched evicted_unfetched evicted_active
        evictions reclaimed crawler_reclaimed crawler_items_checked lrutail_reflocked moves_to_cold
        moves_to_warm moves_within_lru direct_reclaims lru_bumps_dropped""",
    b"settings": """
        maxbytes maxconns tcpport udpport inter verbosity oldest evictions domain_socket umask
        shutdown_command growth_factor chunk_size num_threads num_threads_per_udp stat_key_prefix
        detail_enabled reqs_per_event cas_enabled tcp_backlog binding_protocol auth_enabled_sasl
        auth_enabled_ascii item_size_max maxconns_fast hashpower_init slab_reassign slab_automove
        slab_automove_ratio slab_automove_window slab_chunk_max lru_crawler lru_crawler_sleep
        lru_crawler_tocrawl tail_repair_time flush_enabled dump_enabled hash_algorithm
        lru_maintainer_thread lru_segmented hot_lru_pct warm_lru_pct hot_max_factor warm_max_factor
        temp_lru temporary_ttl idle_timeout watcher_logbuf_size worker_logbuf_size read_buf_mem_limit
        track_sizes inline_ascii_response ext_item_size ext_item_age ext_low_ttl ext_recache_rate
        ext_wbuf_size ext_compact_under ext_drop_under ext_max_sleep ext_max_frag
        slab_automove_freeratio ext_drop_unread num_napi_ids memory_file client_flags_size""",
    b"items": """
        number number_hot number_warm number_cold age_hot age_warm age mem_requested evicted
        evicted_nonzero evicted_time outofmemory tailrepairs reclaimed expired_unfetched
        evicted_unfetched evicted_active crawler_reclaimed crawler_items_checked lrutail_reflocked
        moves_to_cold moves_to_warm moves_within_lru direct_reclaims hits_to_hot hits_to_warm
        hits_to_cold hits_to_temp""",
    b"slabs": """
        chunk_size chunks_per_page total_pages total_chunks used_chunks free_chunks free_chunks_end
        get_hits cmd_set delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits active_slabs
        total_malloced""",
    b"conns": "addr state secs_since_last_cmd listen_addr",
    b"sizes": "sizes_status",
    b"extstore": "",
}

ABSENT = {
    "of libevent and of memcached's threads": """
        libevent reserved_fds unexpected_napi_ids round_robin_fallback num_napi_ids""",
    "there are no slabs, so nothing sets their sizes or when they move": """
        growth_factor chunk_size slab_reassign slab_automove slab_automove_ratio slab_automove_window
        slab_automove_freeratio
        slab_chunk_max tail_repair_time temporary_ttl""",
    "a request allocates nothing, and events have no queue between threads": """
        malloc_fails log_worker_dropped log_worker_written worker_logbuf_size""",
    "there is no external storage": """
        ext_item_size ext_item_age ext_low_ttl ext_recache_rate ext_wbuf_size ext_compact_under
        ext_drop_under ext_max_sleep ext_max_frag ext_drop_unread""",
    "a setting that stayd does not have": """
        oldest num_threads_per_udp hashpower_init inline_ascii_response""",
}
"""The reason for the names beside get_hits of `slabs`: stayd counts reads only for the whole pool."""

WITH_REASON = {word for words in ABSENT.values() for word in words.split()}

DOCUMENTED_AS = {"ext_": "ext_*"}
"""Names that docs/protocol.md writes as a prefix."""


@pytest.mark.parametrize("name", OF_MEMCACHED)
def test_every_name_of_memcached_1_6_45_is_there_or_has_a_reason_not_to_be(stayd_connection, name):
    stayd_connection.set(b"k", b"v", expiry=100)
    stayd_connection.ask(b"get k\r\n", b"VALUE k 0 1\r\nv\r\nEND\r\n")
    there = {word.split(":")[-1] for word in group(stayd_connection, name)}
    lacking = set(OF_MEMCACHED[name].split()) - there
    reasons = {"get_hits"} if name == b"slabs" else WITH_REASON
    assert lacking <= reasons
    documented = open("docs/protocol.md", encoding="utf-8").read()
    for word in lacking:
        shown = next((DOCUMENTED_AS[start] for start in DOCUMENTED_AS if word.startswith(start)), word)
        assert f"`{shown}`" in documented, word


def test_no_reason_is_given_for_a_name_that_is_there(stayd_connection):
    there = set(group(stayd_connection, b"")) | set(group(stayd_connection, b"settings"))
    assert not WITH_REASON & there


RESET = """total_connections rejected_connections bytes_read bytes_written conn_yields idle_kicks
cmd_get cmd_set cmd_flush cmd_touch cmd_meta get_hits get_misses get_expired get_flushed delete_misses
delete_hits incr_misses incr_hits decr_misses decr_hits cas_misses cas_hits cas_badval touch_hits
touch_misses store_too_large store_no_memory auth_cmds auth_errors response_obj_oom read_buf_oom
lru_crawler_starts log_watcher_sent log_watcher_skipped total_items evictions evicted_unfetched
reclaimed expired_unfetched listen_disabled_num time_in_listen_disabled_us slabs_moved""".split()
"""What memcached sets to zero: its structs `stats`, `thread_stats` and `itemstats`. It also sets
response_obj_count and response_obj_bytes to zero, which are no counters, and wrong from then on."""


def reset(connection):
    """Resets the statistics; returns them as they are at once afterwards."""
    connection.send(b"stats reset\r\nstats\r\n")
    connection.expect(b"RESET\r\n")
    lines = connection.read_until(b"END\r\n").decode().split("\r\n")[:-2]
    return dict(line.removeprefix("STAT ").split(" ", 1) for line in lines)


def test_a_reset_sets_to_zero_what_memcached_sets_to_zero():
    """Before that, each of the daemon's counters is above zero, except those about lack of memory."""
    many = b"mn\r\n" * 3
    with Stayd(server={"requests_per_turn": "2"}) as stayd:
        watcher, connection = stayd.connect(), stayd.connect()
        watcher.ask(b"watch mutations\r\n", b"OK\r\n")
        connection.ask(b"set k 0 0 1\r\nv\r\nget k\r\n", b"STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n")
        watcher.read_until(b"type=item_store")
        connection.ask(b"lru_crawler crawl all\r\n", b"OK\r\n")
        connection.send(many)
        connection.read_until(many.replace(b"mn", b"MN"))

        def has_counted():
            stats = connection.stats()
            return all(int(stats[name]) > 0 for name in (
                "total_connections", "bytes_read", "bytes_written", "conn_yields",
                "lru_crawler_starts", "log_watcher_sent", "cmd_get", "cmd_set", "total_items"))

        wait_until(has_counted)
        other = stayd.connect("sessions")
        before = int(other.stats()["total_connections"])
        stats = reset(connection)
        assert {name: stats[name] for name in RESET if stats[name] != "0"} == {}
        assert int(stats["curr_items"]) == 1 and int(stats["curr_connections"]) >= 2
        stayd.connect().expect_in_step()
        assert connection.stats()["total_connections"] == "1"
        # Each pool is like a memcached of its own.
        assert int(other.stats()["total_connections"]) == before + 1


def test_the_crawler_starts_that_clients_ask_for_are_counted():
    with Stayd() as stayd, stayd.connect() as connection:
        connection.set(b"k", b"v")
        for what in (b"crawl all", b"metadump all", b"mgdump hash", b"crawl x", b"metadump 99"):
            connection.send(b"lru_crawler " + what + b"\r\nmn\r\n")
            connection.read_until(b"MN\r\n")
        assert connection.stats()["lru_crawler_starts"] == "3"


def test_a_class_without_items_is_not_listed():
    with Stayd() as stayd, stayd.connect() as connection:
        connection.set(b"k", b"v")
        assert group(connection, b"items")["items:8:number"] == "1"
        connection.ask(b"delete k\r\n", b"DELETED\r\n")
        assert group(connection, b"items") == {}


def states(connection):
    """The state of each client and listener of `stats conns`, by its address."""
    conns = group(connection, b"conns")
    fds = [int(name.split(":")[0]) for name in conns]
    assert fds == sorted(fds)
    return {conns[f"{fd}:addr"]: conns[f"{fd}:state"] for fd in fds}


SENT = [
    (b"", "conn_read"),
    (b"set k 0 0", "conn_read"),
    (b"set k 0 0 10\r\n", "conn_nread"),
    (b"set k 0 0 10\r\nabc", "conn_nread"),
    (b"ms k 100000\r\n" + b"v" * 50_000, "conn_nread"),
    (b"get" + b" k" * 20_000, "conn_read"),
    (b"set k 0 0 20000000\r\nabc", "conn_swallow"),
    (bytes([0x80, 0x01, 0, 1, 8, 0, 0, 0, 0, 0, 0, 100]) + bytes(12), "conn_nread"),
    (b"watch\r\n", "conn_watch"),
]


@pytest.mark.parametrize("threads", [1, 2])
def test_conns_are_in_order_and_tell_what_each_client_is_sending(threads):
    """The clients connect in an order that is not the order in which the threads serve them."""
    with Stayd(server={"threads": str(threads)}) as stayd, contextlib.ExitStack() as stack:
        expected = {}
        for sent, state in SENT:
            client = stack.enter_context(stayd.connect())
            client.send(sent)
            expected["tcp:127.0.0.1:%d" % client.socket.getsockname()[1]] = state
        asking = stayd.connect()
        expected["tcp:127.0.0.1:%d" % asking.socket.getsockname()[1]] = "conn_parse_cmd"
        wait_until(lambda: {address: state for address, state in states(asking).items()
                            if state != "conn_listening"} == expected)
        assert list(states(asking).values()).count("conn_listening") == 2
