"""make bench: measures stayd against memcached, Redis and Django's own session stores.

    build/venv/bin/python -B bench/run.py [--quick] [NAME...]    measures, all or some
    build/venv/bin/python -B bench/run.py --write-docs           puts the figures in the documents

It prints figures beside targets, and leaves in build/bench/ the tables (results.md), each round's
figures (NAME.json) and plots (NAME.svg). See docs/performance.md.

Exit status: 0 if everything was measured, whether targets were met or not; 1 if a server gave a
wrong answer, ended, or is missing.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
# The demo's own code measures the Django rows, and the tests' code measures how long others wait.
sys.path += [str(ROOT / "examples" / "demo"), str(ROOT / "tests")]

import machine  # noqa: E402
import outcome  # noqa: E402
import page  # noqa: E402
import plots  # noqa: E402
from children import CannotRun, ChildDied  # noqa: E402
from daemons import DaemonError  # noqa: E402
from entries import ENTRIES, check_rows  # noqa: E402
from loadgen import LoadError  # noqa: E402
from report import summary  # noqa: E402
from settings import Bench  # noqa: E402

FAULTS = (
    CannotRun, ChildDied, DaemonError, LoadError, RuntimeError, OSError, subprocess.SubprocessError
)


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Measure stayd against memcached, Redis and Django's own session stores; see "
        "docs/performance.md."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENTRIES)}; all")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="size", action="store_const", const="quick", default="full",
                      help="shorter rounds, less certain figures")
    size.add_argument("--tiny", dest="size", action="store_const", const="tiny",
                      help="seconds; the figures mean nothing (for the tests)")
    size.add_argument("--write-docs", action="store_true",
                      help="measure nothing; write what build/bench has into docs/performance.md "
                      "and the picture of README.md")
    parser.add_argument(
        "--threads", type=int, default=min(os.cpu_count(), 4), help="of each server (%(default)s)"
    )
    parser.add_argument("--stayd", type=Path, default=BUILD / "stayd")
    parser.add_argument(
        "--peers", type=Path, default=BUILD / "peers", help="where memcached and Redis are unpacked"
    )
    parser.add_argument(
        "--data", type=Path, default=BUILD / "bench-data", help="a folder on a disk, for files"
    )
    parser.add_argument("--load", type=Path, default=BUILD / "bench/stayd-load")
    parser.add_argument("--reads", type=Path, default=BUILD / "bench/stayd-reads")
    parser.add_argument("--out", type=Path, default=BUILD / "bench", help="where the results go")
    parser.add_argument(
        "--peer-twice",
        action="store_true",
        help="memcached on both sides: a ratio differs from 1 by noise only, which shows how exact "
        "the figures are",
    )
    arguments = parser.parse_args()
    able = [name for name in ENTRIES if ENTRIES[name].against_memcached or not arguments.peer_twice]
    for name in arguments.names:
        if name not in ENTRIES:
            parser.error(f"there is no entry {name}; there are {', '.join(ENTRIES)}")
        if name not in able:
            parser.error(f"--peer-twice goes with {', '.join(able)}")
    arguments.names = arguments.names or able
    if not arguments.write_docs:
        check_programs(parser, arguments)
    return arguments


def check_programs(parser, arguments):
    """Ends with a message if a program that the entries need is not there."""
    programs = {
        "stayd": arguments.stayd,
        "load": arguments.load,
        "reads": arguments.reads,
        "memcached": arguments.peers / "usr/bin/memcached",
        "redis": arguments.peers / "usr/bin/redis-server",
    }
    for name in arguments.names:
        for need in ("stayd", *ENTRIES[name].needs):
            if not os.access(programs[need], os.X_OK):
                parser.error(
                    f"{name} needs {programs[need]}, which is not there or not a program: "
                    "`make bench` sets it up"
                )


class Runner:
    """Runs entries one after the other."""

    def __init__(self, arguments, console):
        self.arguments = arguments
        self.console = console
        self.began = time.monotonic()
        self.measured = machine.describe(arguments.stayd, arguments.peers)
        self.measured.update(size=arguments.size, threads=arguments.threads)
        self.results = {}
        self.failed = []

    def run(self, name):
        """Measures one entry and writes its files."""
        with self.console.status(name) as status:

            def progress(text):
                if self.console.is_terminal:
                    status.update(text)
                else:
                    passed_s = time.monotonic() - self.began
                    print(f"{passed_s:6.1f} s  {text}", file=sys.stderr, flush=True)

            arguments = self.arguments
            bench = Bench(
                stayd_binary=arguments.stayd,
                load_binary=arguments.load,
                reads_binary=arguments.reads,
                peers=arguments.peers,
                data=arguments.data,
                threads=arguments.threads,
                size=arguments.size,
                peer_twice=arguments.peer_twice,
                progress=progress,
            )
            began = time.monotonic()
            try:
                result = ENTRIES[name].run(bench)
                check_rows(name, result)
            except FAULTS as error:
                self.console.print(f"[red]{name} could not be measured:[/]")
                self.console.print(str(error), markup=False, highlight=False)
                self.failed.append(name)
                return
        if arguments.peer_twice:
            result.stayd_name = "memcached again"
        result.print_to(self.console)
        self.results[name] = result
        if not arguments.peer_twice:
            seconds = round(time.monotonic() - began, 1)
            outcome.save(arguments.out, name, {**self.measured, "seconds": seconds}, result)

    def finish(self):
        """Prints the verdicts and writes the files of the whole run; returns the exit status."""
        if not self.arguments.peer_twice:
            summary(self.results).print_to(self.console)
        if self.failed:
            self.console.print(f"[red]not measured: {', '.join(self.failed)}[/]; no tables written")
            return 1
        if not self.arguments.peer_twice:
            heading = page.circumstances(dict.fromkeys(self.results, self.measured))
            outcome.save_tables(self.arguments.out, heading, self.results)
            missing = plots.draw_all(self.arguments.out, self.results)
            self.console.print(
                f"tables, data and plots: {self.arguments.out}/{outcome.TABLES}, *.json, *.svg"
                if missing is None else f"no plots: {missing}", highlight=False
            )
        self.console.print(
            f"{time.monotonic() - self.began:.0f} s in all; load average at the end "
            f"{os.getloadavg()[0]:.1f}",
            highlight=False,
        )
        return 0


def main():
    """Runs the entries that were asked for; returns the exit status."""
    arguments = parse_arguments()
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if arguments.write_docs:
        try:
            for line in page.write(arguments.out):
                console.print(line, highlight=False, soft_wrap=True)
        except page.CannotWrite as error:
            console.print(str(error), style="red", markup=False, highlight=False)
            return 1
        return 0
    if not arguments.peer_twice:
        outcome.clear(arguments.out, arguments.names)
    runner = Runner(arguments, console)
    console.print(
        f"{runner.measured['machine']}, load average {runner.measured['load_before']}\n"
        f"{machine.sentence(runner.measured['versions'])}\n",
        highlight=False,
    )
    for name in arguments.names:
        runner.run(name)
    return runner.finish()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
