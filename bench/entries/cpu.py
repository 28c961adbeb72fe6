"""CPU time of the daemon per operation: 50 connections over TCP loopback, 90 % reads, 220-byte
values, with 32 requests on the way on each connection ("pipeline 32") and with one.

The daemon's own CPU time is measured, not throughput: the load generator and the kernel's other
work share the machine with it. Rounds alternate between the servers, so that a slow period of the
machine affects all of them.
"""

from contextlib import ExitStack

from report import Result, Row

KEYS = 1_000_000
MEMORY_MB = 1024
WORK = (
    # name, options of stayd-load, target
    ("pipeline 32, get and set", {"pipeline": 32}, 0.33),
    ("pipeline 32, mg and ms", {"pipeline": 32, "meta": True}, 0.4),
    ("no pipeline, get and set", {"pipeline": 1}, 0.62),
)
POOLS = ("cache", "sessions")
ROWS = tuple(
    row
    for work, *_ in WORK
    for pool in POOLS
    for row in (f"{work}, {pool} pool", f"{work}, {pool} pool: of it in user mode")
)


def _measure(bench, daemon, keys, options, seconds):
    before = daemon.cpu()
    result = bench.load(daemon, keys=keys, seconds=seconds, **options)
    used = daemon.cpu().since(before)
    if result["misses"]:
        raise RuntimeError(f"{daemon.name} lost {result['misses']} keys of a set that fits")
    return used, result["operations"]


def run(bench):
    """Returns nanoseconds of CPU time per operation."""
    rounds, seconds, keys = bench.pick((7, 2, KEYS), (3, 0.7, KEYS), (1, 0.05, 1000))
    result = Result(
        f"CPU time of the daemon by pool, 50 connections, {keys:,} keys, {bench.threads} threads",
        "ns per operation: median, least..most of the rounds",
    )
    with ExitStack() as stack:
        daemons = {
            "peer": stack.enter_context(bench.peer(MEMORY_MB)),
            "cache": stack.enter_context(bench.under_test(MEMORY_MB)),
            "sessions": stack.enter_context(bench.under_test(MEMORY_MB, persist=True)),
        }
        for name, daemon in daemons.items():
            bench.progress(f"cpu: filling {name}")
            bench.load(daemon, keys=keys, pipeline=64, preload=True)

        for work, options, target in WORK:
            total = {name: [] for name in daemons}
            user = {name: [] for name in daemons}
            for number in range(rounds):
                bench.progress(f"cpu: {work}, round {number + 1} of {rounds}")
                for name, daemon in daemons.items():
                    used, operations = _measure(bench, daemon, keys, options, seconds)
                    total[name].append(used.total_ns / operations)
                    user[name].append(used.user_ns / operations)
            for name in POOLS:
                row = f"{work}, {name} pool"
                result.rows.append(Row(row, total[name], total["peer"], target))
                result.rows.append(Row(f"{row}: of it in user mode", user[name], user["peer"]))
    return result
