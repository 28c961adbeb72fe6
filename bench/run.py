"""make bench: measures stayd against Debian's memcached and Redis; prints figures beside targets.

    build/venv/bin/python bench/run.py [--quick] [NAME...]

Exit status: 0 when everything was measured, whether targets were met or not; 1 when a server gave
a wrong answer, broke off or is not there.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from daemons import DaemonError
from entries import AGAINST_MEMCACHED, ENTRIES
from loadgen import LoadError
from report import print_verdicts
from settings import Bench

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Measure stayd against Debian's memcached and Redis; see docs/benchmarks.md."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENTRIES)}; all")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, less certain figures")
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
    parser.add_argument(
        "--peer-twice",
        action="store_true",
        help="memcached on both sides: how far a ratio strays from 1 is what the figures are worth",
    )
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in ENTRIES:
            parser.error(f"there is no entry {name}; there are {', '.join(ENTRIES)}")
        if arguments.peer_twice and name not in AGAINST_MEMCACHED:
            parser.error(f"--peer-twice goes with {', '.join(AGAINST_MEMCACHED)}")
    if not arguments.names:
        arguments.names = AGAINST_MEMCACHED if arguments.peer_twice else list(ENTRIES)
    binaries = arguments.peers / "usr/bin"
    needed = [binaries / "memcached", binaries / "redis-server", arguments.load]
    if not arguments.peer_twice:
        needed.append(arguments.stayd)
    for path in needed:
        if not os.access(path, os.X_OK):
            parser.error(f"{path} is not there or not a program: run `make build` first")
    return arguments


def version_of(*command):
    """The first line that a program prints about itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def describe_machine(peers):
    """Two lines: what the figures were measured on, and against what."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    memcached = version_of(peers / "usr/bin/memcached", "-V")
    redis = version_of(peers / "usr/bin/redis-server", "--version").partition(" sha=")[0]
    return (
        f"{os.cpu_count()} cores of {model}, {memory_gb:.0f} GB, Linux {platform.release()}, "
        f"load average {os.getloadavg()[0]:.1f}\nthe peers are {memcached} and {redis}"
    )


def main():
    """Runs the entries that were asked for; returns the exit status."""
    arguments = parse_arguments()
    console = Console() if sys.stdout.isatty() else Console(width=112)
    console.print(describe_machine(arguments.peers), highlight=False)
    console.print()
    began = time.monotonic()
    results = []
    for name in arguments.names:
        with console.status(name) as status:

            def progress(text, status=status):
                if console.is_terminal:
                    status.update(text)
                else:
                    print(f"{time.monotonic() - began:6.1f} s  {text}", file=sys.stderr, flush=True)

            bench = Bench(
                stayd_binary=arguments.stayd,
                memcached_binary=arguments.peers / "usr/bin/memcached",
                load_binary=arguments.load,
                peers=arguments.peers,
                data=arguments.data,
                threads=arguments.threads,
                quick=arguments.quick,
                peer_twice=arguments.peer_twice,
                progress=progress,
            )
            try:
                result = ENTRIES[name](bench)
            except (DaemonError, LoadError, RuntimeError) as error:
                console.print(f"[red]{name} could not be measured:[/]")
                console.print(str(error), markup=False, highlight=False)
                return 1
        if arguments.peer_twice:
            result.stayd_name = "memcached again"
        result.print_to(console)
        results.append(result)
    print_verdicts(console, results)
    console.print(
        f"{time.monotonic() - began:.0f} s in all; load average at the end "
        f"{os.getloadavg()[0]:.1f}",
        highlight=False,
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
