"""Times Django's session stores against each other: for the demo (speed.py) and for `make bench`.

Each store has a process of its own (timing.py) with an open connection. The processes measure in
turns, round after round, while the others wait. Every figure is the median of its rounds, so other
work on the machine affects all stores alike.
"""

import contextlib
import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import setups
from children import Child

TIMING = Path(__file__).resolve().with_name("timing.py")
# For each operation. Times differ by a factor of three between client and daemon on one core and on
# two cores, and the kernel moves them only every second or so. So the turns are short and many.
SECONDS_A_TURN = 0.05

DATABASE = "database (SQLite)"
CACHED_DATABASE = "cached_db, pylibmc"
PYMEMCACHE = "memcached, pymemcache"
PYLIBMC = "memcached, pylibmc"
STAYD_TCP = "stayd over TCP"
STAYD_UNIX = "stayd, Unix socket"


@dataclass
class Contender:
    """A store, and the figures of its process. `operations` None: all operations of the contest."""

    title: str
    environ: dict
    operations: tuple = None
    child: Child = None
    rounds: list = field(default_factory=list)

    def figure(self, operation, index):
        """The median over the rounds: index 0 is the p50, 1 the p99, in microseconds."""
        return statistics.median(each[operation][index] for each in self.rounds)


def contenders(memcacheds, stayd):
    """The stores that stayd is compared with, and stayd over both of its addresses, in the set-ups
    of setups.two_memcacheds and setups.stayd."""
    peers = memcacheds.environ
    session_operations = ("load", "save", "exists", "miss", "delete")  # PYLIBMC measures their cache
    return [
        Contender(DATABASE, {**peers, "SITE_STORE": "database"}, session_operations),
        Contender(CACHED_DATABASE, {**peers, "SITE_STORE": "cached_database"}, session_operations),
        Contender(PYMEMCACHE, {**peers, "SITE_STORE": "two_memcacheds_pymemcache"}),
        Contender(PYLIBMC, peers),
        Contender(STAYD_TCP, {**stayd.environ, "SITE_SESSION_CACHE": stayd.sessions_over_tcp}),
        Contender(STAYD_UNIX, {**stayd.environ, "SITE_CACHE": stayd.cache_socket}),
    ]


class Contest:
    """Measures all contenders in turns."""

    def __init__(self, children, folder, database, entrants, operations):
        """database: a SQLite file with the site's tables, which is copied. operations: the names
        of operations of timing.py."""
        self.children = children
        self.folder = folder
        self.database = database
        self.entrants = entrants
        self.operations = operations
        self.session_bytes = 0

    def start(self):
        """Starts a process for each store, with its sessions in place."""
        for number, contender in enumerate(self.entrants):
            own_database = self.folder / f"{number}.sqlite3"
            shutil.copy(self.database, own_database)
            contender.child = Child(
                f"the process that times {contender.title}",
                [sys.executable, "-B", TIMING],
                self.folder / f"{number}-timing.log",
                {**contender.environ, "SITE_DATABASE": str(own_database)},
            )
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.children.start(contender.child, **pipes)
        for contender in self.entrants:
            self.session_bytes = self._answer(contender)["session_bytes"]

    def round(self, number):
        """Lets all contenders measure; yields each before its turn. In each round, another
        contender begins."""
        shift = number % len(self.entrants)
        for contender in self.entrants[shift:] + self.entrants[:shift]:
            yield contender
            turns = {
                name: SECONDS_A_TURN
                for name in self.operations
                if contender.operations is None or name in contender.operations
            }
            with contextlib.suppress(BrokenPipeError):  # _answer reports the reason
                contender.child.process.stdin.write(json.dumps(turns).encode() + b"\n")
                contender.child.process.stdin.flush()
            contender.rounds.append(self._answer(contender))

    def stop(self):
        """Ends the processes."""
        self.children.stop([contender.child for contender in self.entrants])

    def _answer(self, contender):
        """Reads one line from a contender's process."""
        line = contender.child.process.stdout.readline()
        if not line:
            contender.child.process.wait()
            contender.child.check()
        return json.loads(line)


def start_daemons(children, folder, memory_mb):
    """Starts fresh memcacheds and a fresh stayd; returns their two set-ups."""
    both = [setups.two_memcacheds(folder, memory_mb), setups.stayd(folder, memory_mb)]
    for setup in both:
        for daemon in setup.daemons:
            daemon.start(children)
    return both
