"""The second half of the demo: how long Django takes to load and to save a session.

Each store has a process of its own (timing.py). They take turns, one measuring while the others
wait, round after round, and every figure is the median of its rounds: what else the machine does
meanwhile then hits all of them alike.
"""

import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from rich.text import Text

import setups
from children import Child

TIMING = Path(__file__).resolve().with_name("timing.py")
MEMORY_MB = 64
# Each for loading and for saving. Short, and many of them: whether the kernel has client and daemon
# on one core or on two makes a difference of threefold, and stays as it is for a second at a time.
SECONDS_A_TURN = 0.05
ROUNDS_A_LINE = 4  # of the log


@dataclass
class Contender:
    """A store, and what its process measured."""

    title: str
    environ: dict
    child: Child = None
    rounds: list = field(default_factory=list)

    def figure(self, operation, index):
        """The median over the rounds: index 0 is the p50, 1 the p99, in microseconds."""
        return statistics.median(each[operation][index] for each in self.rounds)


class Speed:
    """Measures all stores in turns."""

    def __init__(self, screen, children, run_dir, database):
        """database: a SQLite file with the site's tables, which is copied."""
        self.screen = screen
        self.children = children
        self.run_dir = run_dir
        self.database = database
        self.session_bytes = 0
        self.setups = []
        self.contenders = []

    def start(self):
        """Starts fresh daemons, and a process for each store with its sessions in place."""
        folder = self.run_dir / "timing"
        folder.mkdir()
        memcached = setups.two_memcacheds(folder, MEMORY_MB)
        stayd = setups.stayd(folder, MEMORY_MB)
        self.setups = [memcached, stayd]
        for setup in self.setups:
            for daemon in setup.daemons:
                daemon.start(self.children)
        peers = memcached.environ
        over_tcp = {"SITE_SESSION_CACHE": stayd.sessions_over_tcp}
        self.contenders = [
            Contender("database (SQLite)", {**peers, "SITE_STORE": "database"}),
            Contender("cached_db, pylibmc", {**peers, "SITE_STORE": "cached_database"}),
            Contender(
                "memcached, pymemcache", {**peers, "SITE_STORE": "two_memcacheds_pymemcache"}
            ),
            Contender("memcached, pylibmc", peers),
            Contender("stayd over TCP", {**stayd.environ, **over_tcp}),
            Contender("stayd, Unix socket", stayd.environ),
        ]
        self.over_database = self.contenders[0]
        self.over_memcached = self.contenders[3]
        for number, contender in enumerate(self.contenders):
            own_database = folder / f"{number}.sqlite3"
            shutil.copy(self.database, own_database)
            contender.child = Child(
                f"the process that times {contender.title}",
                [sys.executable, "-B", TIMING],
                folder / f"{number}-timing.log",
                {**contender.environ, "SITE_DATABASE": str(own_database)},
            )
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.children.start(contender.child, **pipes)
        for contender in self.contenders:
            self.session_bytes = self.answer(contender)["session_bytes"]

    def answer(self, contender):
        """Reads one line from a contender's process."""
        line = contender.child.process.stdout.readline()
        if not line:
            contender.child.process.wait()
            contender.child.check()
        return json.loads(line)

    def run(self, rounds):
        """Measures, this many rounds."""
        self.screen.step("sessions are made in each store")
        self.start()
        for number in range(1, rounds + 1):
            if number % ROUNDS_A_LINE == 1:
                self.screen.tell(f"round {number} of {rounds}")
            shift = number % len(self.contenders)
            for contender in self.contenders[shift:] + self.contenders[:shift]:
                self.screen.doing(f"round {number} of {rounds}: {contender.title}")
                contender.child.process.stdin.write(f"{SECONDS_A_TURN}\n".encode())
                contender.child.process.stdin.flush()
                contender.rounds.append(self.answer(contender))
        processes = [contender.child for contender in self.contenders]
        for setup in self.setups:
            processes += setup.processes
        self.children.stop(processes)

    def table(self):
        """Returns the table of times, as far as they are known."""
        table = self.screen.new_table("One session in Django, in microseconds")
        table.add_column("", min_width=26, no_wrap=True)
        for heading in ("\np50", "\np99", "p50 against\npylibmc", "p50 against\nSQLite"):
            table.add_column(heading, justify="right", min_width=9)
        for operation, title in (("load", "Loading it"), ("save", "Saving it")):
            table.add_row(Text(title, style="cyan"))
            for contender in self.contenders:
                style = "bold" if contender.title.startswith("stayd") else ""
                cells = self.cells(contender, operation) if contender.rounds else []
                table.add_row("  " + contender.title, *cells, style=style)
            if operation == "load":
                table.add_section()
        return table

    def cells(self, contender, operation):
        """Returns a contender's figures, and its p50 over those of the two it is compared with."""
        p50 = contender.figure(operation, 0)
        cells = [f"{p50:,.0f}", f"{contender.figure(operation, 1):,.0f}"]
        for reference in (self.over_memcached, self.over_database):
            ratio = f"{p50 / reference.figure(operation, 0):.2f}" if reference.rounds else ""
            cells.append(ratio)
        return cells

    def note(self):
        """Says how the figures were measured."""
        rounds = len(self.contenders[0].rounds)
        return (
            f"SessionStore.load() and .save() of {self.session_bytes} bytes of JSON, the session"
            " of a reader who is logged in. Each store has its own process and an open connection;"
            f" they measured in turns, {rounds} rounds; each figure is the median of its rounds."
            ' "Against" is a p50 divided by the other\'s: 0.50 is half the time. The memcached rows'
            " use two memcacheds over TCP. SQLite has a save on the disk before it goes on, stayd"
            " within a second, memcached never."
        )
