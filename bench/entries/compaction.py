"""A sessions pool that is three quarters full while 10,000 sessions a second are saved again:
whether the pool keeps up, how much it writes to the disk, and how long reads take.

A million sessions fill 75 % of the pool. They are then saved again as fast as possible, until
compaction has run for a while: from then on every save requires that other sessions are moved. Only
then 10,000 saves a second are offered, each to a random session, and a second generator reads. Both
generators keep their rate even if the daemon is slow; the time that a request waits for a connection is
part of its latency.
"""

from concurrent.futures import ThreadPoolExecutor

from report import Result, Row

KEY_BYTES = 33
VALUE_BYTES = 280
RECORD_BYTES = 344  # with its header and padding
FILLED = 0.75
FOURTEEN_DAYS_S = 14 * 86400
SAVES_PER_S = 10_000
READS_PER_S = 5_000
READ_CONNECTIONS = 10
KEPT_UP = 0.99  # of the wanted rate: the rest is the end of the last request
ROWS = (
    "saves a second",
    "bytes to disk per byte of session saved",
    "reads, p50, µs",
    "reads, p99.9, µs",
    "reads, slowest, µs",
    "saves, p99.9, µs",
)


def _share_live(stats):
    return int(stats["live_bytes"]) / int(stats["capacity_bytes"])


def _difference(before, after, name):
    return int(after[name]) - int(before[name])


def run(bench):
    """Returns rows of different units: each says its own."""
    sessions, seconds, idle_seconds = bench.pick((1_000_000, 20, 8), (300_000, 6, 3), (60_000, 1, 0.2))
    keys = {"keys": sessions, "key_size": KEY_BYTES, "value": VALUE_BYTES}
    saves = {"get": 0, "ttl": FOURTEEN_DAYS_S, **keys}
    reads = {"get": 100, "rate": READS_PER_S, "connections": READ_CONNECTIONS, **keys}
    memory_mb = round(sessions * RECORD_BYTES / FILLED / 2**20)

    with bench.persistent(memory_mb) as stayd, ThreadPoolExecutor(1) as beside:
        bench.progress("compaction: filling")
        bench.load(stayd, preload=True, pipeline=64, ttl=FOURTEEN_DAYS_S, **keys)
        bench.progress("compaction: saving over, until every save needs compaction")
        bench.load(stayd, operations=2 * sessions, pipeline=16, **saves)
        filled = stayd.stats()

        bench.progress("compaction: reads of an idle pool")
        idle = bench.load(stayd, seconds=idle_seconds, **reads)
        bench.progress(f"compaction: {SAVES_PER_S:,} saves a second for {seconds} s")
        before, written_before = stayd.stats(), stayd.bytes_to_disk()
        reader = beside.submit(bench.load, stayd, seconds=seconds, **reads)
        saved = bench.load(stayd, seconds=seconds, rate=SAVES_PER_S, **saves)
        read = reader.result()
        after, written_after = stayd.stats(), stayd.bytes_to_disk()

    if read["misses"] or idle["misses"] or int(after["curr_items"]) != sessions:
        raise RuntimeError("the pool lost sessions")
    if _difference(before, after, "segments_compacted") == 0:
        raise RuntimeError("compaction did not run while it was measured")
    session_bytes = saved["sets"] * (KEY_BYTES + VALUE_BYTES)
    amplification = (written_after - written_before) / session_bytes
    moved = _difference(before, after, "bytes_moved") / session_bytes

    result = Result(
        f"{SAVES_PER_S:,} saves a second over {sessions:,} sessions, {memory_mb} MB, everysec, "
        f"for {seconds} s",
        "each row in its own unit",
        stayd_name="saving",
        peer_name="idle",
    )
    result.rows += [
        Row(
            "saves a second",
            [saved["operations_per_second"]],
            None,
            KEPT_UP * SAVES_PER_S,
            at_least=True,
        ),
        Row("bytes to disk per byte of session saved", [amplification], None, digits=2),
        Row("reads, p50, µs", [read["p50_us"]], [idle["p50_us"]]),
        Row("reads, p99.9, µs", [read["p99.9_us"]], [idle["p99.9_us"]]),
        Row("reads, slowest, µs", [read["max_us"]], [idle["max_us"]]),
        Row("saves, p99.9, µs", [saved["p99.9_us"]], None),
    ]
    result.notes += [
        f"live when measured: {100 * _share_live(filled):.0f} % of the pool; a session is "
        f"{KEY_BYTES} bytes of key and {VALUE_BYTES} of value",
        f"compaction freed {_difference(before, after, 'segments_compacted')} of "
        f"{after['segments']} segments and moved {moved:.2f} bytes per byte saved; "
        f"{_difference(before, after, 'syncs')} syncs",
        f"{READS_PER_S:,} reads a second over {READ_CONNECTIONS} connections, one at a time each",
    ]
    return result
