"""How long Django takes to load, save, look for and delete a session, and to read twenty values from
its cache, in each store: examples/demo/contest.py, which `make run` uses too, measures them
in turns.

The memcacheds are as Debian ships them. Redis writes an append-only file and syncs it every second,
as stayd's sessions pool does; SQLite has a save on the disk before it goes on.
"""

import importlib.util
import os
import tempfile
from pathlib import Path

from report import Contest, Result, Row

MEMORY_MB = 64
OPERATIONS = {  # of timing.py: as printed
    "load": "load a session",
    "save": "save a session",
    "exists": "exists",
    "miss": "load one that is not there",
    "delete": "delete a session",
    "get_many": "cache: get_many of 20",
}
REDIS = "redis, django-redis"
TARGETS = (
    # row, operation, over TCP, against SQLite, target
    ("load, Unix socket, against pylibmc", "load", False, False, 0.12),
    ("load, TCP, against pylibmc", "load", True, False, 0.12),
    ("load, Unix socket, against SQLite", "load", False, True, 0.03),
    ("save, Unix socket, against pylibmc", "save", False, False, 0.55),
    ("save, TCP, against pylibmc", "save", True, False, 0.75),
    ("exists, Unix socket, against pylibmc", "exists", False, False, 1.0),
    ("load one that is not there, Unix socket, against pylibmc", "miss", False, False, 1.0),
    ("delete, Unix socket, against pylibmc", "delete", False, False, None),
    ("get_many of 20, Unix socket, against pylibmc", "get_many", False, False, None),
)
ROWS = tuple(row for row, *_ in TARGETS)


def _measure(bench, children, folder):
    """Returns the contest, measured, and a note on what it lacks."""
    import contest
    import setups

    setups.STAYD, setups.MEMCACHED = bench.stayd_binary, bench.memcached_binary
    database = setups.make_database(folder, reader_count=1)
    entrants = contest.contenders(*contest.start_daemons(children, folder, MEMORY_MB))
    notes = []
    with bench.redis() as redis:
        if importlib.util.find_spec("django_redis"):
            environ = {"SITE_STORE": "redis", "SITE_CACHE": redis.address}
            environ["SITE_SESSION_CACHE"] = redis.address
            entrants.insert(2, contest.Contender(REDIS, environ))
        else:
            notes.append("django-redis was left out: python3-django-redis is not installed")
        timed = contest.Contest(children, folder, database, entrants, tuple(OPERATIONS))
        bench.progress("django-sessions: making sessions in each store")
        timed.start()
        rounds = bench.pick(31, 9, 1)
        for number in range(rounds):
            bench.progress(f"django-sessions: round {number + 1} of {rounds}")
            for _ in timed.round(number):
                pass
        timed.stop()
    notes.append(
        f"{timed.session_bytes} bytes of JSON a session, that of a reader who is logged in; "
        f"rounds: {rounds}, in turns; each figure is the median of the rounds"
    )
    return timed, notes


def _result(timed, notes):
    from contest import DATABASE, PYLIBMC, STAYD_TCP, STAYD_UNIX

    def rounds(contender, operation):
        return [each[operation] for each in by_title[contender].rounds]

    by_title = {contender.title: contender for contender in timed.entrants}
    result = Result(
        "What Django does with one session, p50", "µs: median, least..most of the rounds",
        notes=notes, peer_name="the other",
    )
    for work, operation, over_tcp, against_sqlite, target in TARGETS:
        stayd, peer = (
            [p50 for p50, _ in rounds(contender, operation)]
            for contender in (STAYD_TCP if over_tcp else STAYD_UNIX,
                              DATABASE if against_sqlite else PYLIBMC)
        )
        result.rows.append(Row(work, stayd, peer, target, digits=1))
    result.contest = Contest(
        "One session in Django", "µs: medians of the rounds",
        {
            printed: {
                title: rounds(title, operation)
                for title, contender in by_title.items()
                if operation in contender.rounds[0]
            }
            for operation, printed in OPERATIONS.items()
        },
        {"pylibmc": PYLIBMC, "SQLite": DATABASE},
    )
    return result


def run(bench):
    """Returns microseconds."""
    from children import Children

    for name in [name for name in os.environ if name.startswith("SITE_")]:
        del os.environ[name]
    bench.data.mkdir(parents=True, exist_ok=True)
    children = Children()
    with tempfile.TemporaryDirectory(prefix="stayd-bench-", dir=bench.data) as folder:
        try:
            return _result(*_measure(bench, children, Path(folder)))
        finally:
            children.stop()
