"""Eviction quality of reads that the daemon does not see: the miss ratio of a cache pool that a
program reads from its memory, beside that of one that is read over its socket.

Popularity is Zipf with exponent 0.99, over a working set several times the memory; a read that
misses is followed by a set. Both pools get the same reads, at the same rate and the same time. The
rate matters: a reader reports an item at most once in a sixteenth of the time that the pool keeps an
unread item. That interval is in seconds, so the rate decides how many reads fall into it.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from report import Result, Row

LIBRARIES = {"mapped": "libstayd", "socket": "libstayd-sockets"}
KEY_BYTES = 33
VALUE_BYTES = 220
KEPT = 0.98  # of the rate
ROWS = ("misses, percent", "misses of the mapped reader beyond the other's, percent of reads")


def run(bench):
    """Returns misses in percent of reads."""
    memory_mb, keys, rate, warmup_s, seconds = bench.pick(
        (32, 500_000, 20_000, 60, 60), (16, 250_000, 20_000, 20, 20), (16, 50_000, 20_000, 0.1, 0.2)
    )
    work = {
        "keys": keys, "key_size": KEY_BYTES, "value": VALUE_BYTES, "zipf": 0.99, "refill": True,
        "rate": rate, "warmup": warmup_s, "seconds": seconds,
    }
    bench.progress(f"mapped-misses: for {warmup_s + seconds:.0f} s, both at once")
    with ExitStack() as stack, ThreadPoolExecutor(len(LIBRARIES)) as pool:
        daemons = {name: stack.enter_context(bench.under_test(memory_mb)) for name in LIBRARIES}
        running = {
            name: pool.submit(bench.reads, daemon, LIBRARIES[name], daemon.socket_url, **work)
            for name, daemon in daemons.items()
        }
        found = {name: future.result() for name, future in running.items()}
        asked = {name: int(daemon.stats()["cmd_get"]) for name, daemon in daemons.items()}
    percent = {name: 100 * each["misses"] / each["reads"] for name, each in found.items()}
    result = Result(
        f"Reads that miss, by mapping and by socket: {memory_mb} MB, {keys:,} keys, Zipf 0.99, "
        f"{rate:,} reads a second",
        "percent", stayd_name="mapped", peer_name="socket",
    )
    result.rows += [
        Row(ROWS[0], [percent["mapped"]], [percent["socket"]], digits=2),
        Row(ROWS[1], [percent["mapped"] - percent["socket"]], None, 1.0, digits=2),
    ]
    share = asked["mapped"] / max(asked["socket"], 1)
    kept = min(each["reads"] / each["seconds"] for each in found.values())
    if kept < KEPT * rate:
        result.notes.append(f"the machine did not keep the rate: {kept:,.0f} reads a second")
    result.notes.append(
        f"{found['mapped']['reads']:,} reads counted; of all reads of the mapped pool, warm-up "
        f"included, {share:.0%} came to the daemon: misses, and reports of what is popular"
    )
    return result
