"""How long a C program waits for a value: by libstayd from the pool's memory and over its sockets,
and by libmemcached from memcached. A value has 300 bytes; each read is timed by itself, and a note
says how much time reading the clock adds.
"""

from contextlib import ExitStack

from report import Result, Row

KEYS = 10_000
MEMORY_MB = 64
MAPPED_AT_LEAST = 0.99  # of the reads by mapping: the rest, on a busy machine, ask the daemon
CONTENDERS = {
    # name: (daemon, library, its address)
    "mapped": ("stayd", "libstayd", "socket_url"),
    "stayd, Unix socket": ("stayd", "libstayd-sockets", "socket_url"),
    "stayd, TCP": ("stayd", "libstayd-sockets", "url"),
    "memcached, Unix socket": ("memcached over unix", "libmemcached", "socket_url"),
    "memcached, TCP": ("memcached", "libmemcached", "url"),
}
COMPARED = (
    # row, contender, peer
    ("mapped, against memcached over a Unix socket", "mapped", "memcached, Unix socket"),
    ("mapped, against memcached over TCP", "mapped", "memcached, TCP"),
    ("over Unix sockets", "stayd, Unix socket", "memcached, Unix socket"),
    ("over TCP", "stayd, TCP", "memcached, TCP"),
)
WORK = {
    # what a row begins with: (keys in a read, percentile)
    "a value, p50": (1, "p50_ns"),
    "a value, p99": (1, "p99_ns"),
    "20 values at once, p50": (20, "p50_ns"),
}
ROWS = tuple(f"{work}, {row}" for work in WORK for row, *_ in COMPARED)


def _measure(bench, daemons, contender, at_once, seconds):
    name, library, address = CONTENDERS[contender]
    daemon = daemons[name]
    asked = int(daemon.stats()["cmd_get"])
    found = bench.reads(
        daemon, library, getattr(daemon, address), keys=KEYS, at_once=at_once, seconds=seconds
    )
    if contender == "mapped":
        share = (int(daemon.stats()["cmd_get"]) - asked) / found["reads"]
        if share > 1 - MAPPED_AT_LEAST:
            raise RuntimeError(f"{share:.1%} of the reads by mapping came to the daemon")
    return found


def run(bench):
    """Returns nanoseconds."""
    rounds, seconds = bench.pick((11, 0.5), (5, 0.2), (1, 0.02))
    result = Result(
        "A 300-byte value, by a C program", "ns: median, least..most of the rounds"
    )
    found = {at_once: {name: [] for name in CONTENDERS} for at_once in (1, 20)}
    with ExitStack() as stack:
        daemons = {
            "stayd": stack.enter_context(bench.under_test(MEMORY_MB, persist=True)),
            "memcached": stack.enter_context(bench.peer(MEMORY_MB)),
            "memcached over unix": stack.enter_context(bench.peer(MEMORY_MB, over_unix=True)),
        }
        for number in range(rounds):
            bench.progress(f"reads: round {number + 1} of {rounds}")
            for at_once, contenders in found.items():
                for name, each in contenders.items():
                    each.append(_measure(bench, daemons, name, at_once, seconds))
    for work, (at_once, percentile) in WORK.items():
        for row, *names in COMPARED:
            times = ([each[percentile] for each in found[at_once][name]] for name in names)
            result.rows.append(Row(f"{work}, {row}", *times))
    clock_ns = max(each["clock_ns"] for each in found[1]["mapped"])
    result.notes.append(f"reading the clock takes at most {clock_ns} ns of each figure")
    return result
