"""Sets per second of a sessions pool under each of its three fsync policies, 50 connections without
a pipeline, 300-byte values: `everysec` against `no`, and `always` against Redis with
`appendfsync always`.

One generator sends load to all servers, to each in its own protocol. All servers run all the time, but
only one at a time has load. Before each round everything is synced to the disk, so that no server pays
for the writes of another. Redis does not rewrite its file and takes no snapshots meanwhile.
"""

import os
import statistics
from contextlib import ExitStack

from report import Result, Row

CONNECTIONS = 50
KEYS = 100_000
VALUE_BYTES = 300
MEMORY_MB = 512
FOURTEEN_DAYS_S = 14 * 86400
POLICIES = ("no", "everysec", "always")
ROWS = ("everysec, against no", "always, against Redis always")


def _latency_note(name, found):
    p50, p99 = (statistics.median(each[key] for each in found) for key in ("p50_us", "p99_us"))
    return f"{name}: latency p50 {p50:,.0f} µs, p99 {p99:,.0f} µs"


def run(bench):
    """Returns sets per second."""
    rounds, seconds, keys = bench.pick((7, 3, KEYS), (3, 1.5, KEYS), (1, 0.1, 1000))
    workload = {
        "connections": CONNECTIONS,
        "keys": keys,
        "value": VALUE_BYTES,
        "ttl": FOURTEEN_DAYS_S,
    }
    result = Result(
        f"Sets by fsync policy, {CONNECTIONS} connections, {VALUE_BYTES}-byte values",
        "sets per second: median, least..most of the rounds",
        peer_name="the other",
    )
    with ExitStack() as stack:
        daemons = {
            policy: stack.enter_context(bench.persistent(MEMORY_MB, fsync=policy))
            for policy in POLICIES
        }
        daemons["redis"] = stack.enter_context(
            bench.redis(appendfsync="always", auto_aof_rewrite_percentage=0)
        )
        for name, daemon in daemons.items():
            bench.progress(f"fsync: filling {name}")
            bench.load(daemon, preload=True, pipeline=64, **workload)

        found = {name: [] for name in daemons}
        syncs_before = int(daemons["always"].stats()["syncs"])
        for number in range(rounds):
            for name, daemon in daemons.items():
                bench.progress(f"fsync: {name}, round {number + 1} of {rounds}")
                os.sync()
                found[name].append(bench.load(daemon, get=0, seconds=seconds, **workload))
        syncs = int(daemons["always"].stats()["syncs"]) - syncs_before

    rates = {name: [each["operations_per_second"] for each in found[name]] for name in found}
    result.rows.append(Row(ROWS[0], rates["everysec"], rates["no"], 0.95, at_least=True))
    result.rows.append(Row(ROWS[1], rates["always"], rates["redis"], 1.5, at_least=True))
    for name in ("always", "redis"):
        result.notes.append(_latency_note(name, found[name]))
    sets = sum(each["sets"] for each in found["always"])
    result.notes.append(f"always: {sets / syncs:,.1f} sets to a sync")
    return result
