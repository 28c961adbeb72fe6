"""Resident memory per session: the same million sessions, the same bytes on the wire.

64-byte keys and 219-byte values, about what Django's own back end stores, with a time to live of 14
days.
"""

from report import Result, Row

KEY_BYTES = 64
VALUE_BYTES = 219
MEMORY_MB = 768
FOURTEEN_DAYS_S = 14 * 86400
CHECKED_READS = 200_000
PERSIST = {"sessions pool": True, "cache pool": False}
ROWS = tuple(PERSIST)


def sessions_of(bench):
    """How many sessions are stored."""
    return bench.pick(1_000_000, 1_000_000, 5_000)


def grow(bench, daemon, fill, sessions):
    """Starts a daemon, fills it and returns by how much it grew, as Resident."""
    with daemon:
        empty = daemon.settled_resident(bench.still_s)
        fill(daemon)
        if daemon.item_count() != sessions:
            raise RuntimeError(f"{daemon.name} holds {daemon.item_count():,} of {sessions:,}")
        return daemon.settled_resident(bench.still_s).since(empty)


def parts(name, growth, sessions):
    """A note that says what kind of memory a daemon's growth is."""
    return (
        f"{name}: {growth.anon / sessions:,.0f} private, {growth.file / sessions:,.0f} of files, "
        f"{growth.shmem / sessions:,.0f} shared memory"
    )


def run(bench):
    """Returns bytes per session, over what the daemon needs when it is empty."""
    sessions = sessions_of(bench)
    workload = {"keys": sessions, "key_size": KEY_BYTES, "value": VALUE_BYTES}

    def fill(daemon):
        bench.load(daemon, preload=True, pipeline=64, ttl=FOURTEEN_DAYS_S, **workload)
        found = bench.load(daemon, operations=CHECKED_READS, pipeline=32, get=100, **workload)
        if found["misses"]:
            raise RuntimeError(f"{daemon.name} lost {found['misses']} sessions of a set that fits")

    result = Result(
        f"Resident memory, {sessions:,} sessions, {KEY_BYTES}-byte keys, {VALUE_BYTES}-byte values",
        "bytes per session",
    )
    bench.progress("resident: memcached")
    peer = grow(bench, bench.peer(MEMORY_MB), fill, sessions)
    result.notes.append(parts("memcached", peer, sessions))
    for name, persist in PERSIST.items():
        bench.progress(f"resident: {name}")
        growth = grow(bench, bench.under_test(MEMORY_MB, persist), fill, sessions)
        per_session = ([each.total / sessions] for each in (growth, peer))
        result.rows.append(Row(name, *per_session, 0.78))
        result.notes.append(parts(name, growth, sessions))
    return result
