"""Resident memory per session: the same million sessions, the same bytes on the wire.

33-byte keys and 220-byte values, about what Django stores, with a time to live of 14 days.
"""

from report import Result, Row

SESSIONS = 1_000_000
MEMORY_MB = 512
FOURTEEN_DAYS_S = 14 * 86400
CHECKED_READS = 200_000


def grow(daemon, fill):
    """Starts a daemon, fills it and returns by how much it grew, as Resident."""
    with daemon:
        empty = daemon.settled_resident()
        fill(daemon)
        if daemon.item_count() != SESSIONS:
            raise RuntimeError(f"{daemon.name} holds {daemon.item_count():,} of {SESSIONS:,}")
        return daemon.settled_resident().since(empty)


def parts(name, growth):
    """A note that says what kind of memory a daemon's growth is."""
    return (
        f"{name}: {growth.anon / SESSIONS:,.0f} private, {growth.file / SESSIONS:,.0f} of files, "
        f"{growth.shmem / SESSIONS:,.0f} shared memory"
    )


def run(bench):
    """Returns bytes per session, over what the daemon needs when it is empty."""
    workload = {"keys": SESSIONS, "key_size": 33, "value": 220}

    def fill(daemon):
        bench.load(daemon, preload=True, pipeline=64, ttl=FOURTEEN_DAYS_S, **workload)
        found = bench.load(daemon, operations=CHECKED_READS, pipeline=32, get=100, **workload)
        if found["misses"]:
            raise RuntimeError(f"{daemon.name} lost {found['misses']} sessions of a set that fits")

    result = Result(
        f"Resident memory, {SESSIONS:,} sessions, 33-byte keys, 220-byte values", "bytes per session"
    )
    bench.progress("resident: memcached")
    peer = grow(bench.peer(MEMORY_MB), fill)
    result.notes.append(parts("memcached", peer))
    for name, persist in (("sessions pool", True), ("cache pool", False)):
        bench.progress(f"resident: {name}")
        growth = grow(bench.under_test(MEMORY_MB, persist), fill)
        row = Row(name, [growth.total / SESSIONS], [peer.total / SESSIONS], 0.8)
        result.rows.append(row)
        result.notes.append(parts(name, growth))
    return result
