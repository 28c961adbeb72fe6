"""make bench-cluster: measures clustered pools against libnats alone and against a plain pool.

    build/venv/bin/python -B bench/cluster.py [--quick] [PART...]

Three nodes of nats-server and the stayds run on this machine, which they share with the load: the figures
say what stayd adds to the engine, and not what an engine on machines of its own does. Rounds alternate.
It prints the load average beside each part, and leaves build/bench/cluster.json.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
sys.path += [str(ROOT / "tests")]

from daemons import Stayd  # noqa: E402
from loadgen import run_load  # noqa: E402
from report import Result, Row  # noqa: E402
from support import nats  # noqa: E402

PARTITIONS = 16
VALUE_BYTES = 300
KEYS = 5000
MEMORY_MB = 1024
FOURTEEN_DAYS_S = 14 * 86400
KEY_BYTES = 33
PARTS = ("writes", "reads", "lag", "outage", "catch-up")


def say(text):
    print(f"{time.strftime('%H:%M:%S')} load {os.getloadavg()[0]:5.1f}  {text}", file=sys.stderr, flush=True)


def load_text(loads):
    return f"load average {min(loads):.1f}..{max(loads):.1f}"


def processor_seconds(pid):
    """CPU time of a process so far, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("\nVmRSS:")[2].split()[0]) * 1024


def folder_bytes(folder):
    return sum(path.stat().st_blocks * 512 for path in Path(folder).rglob("*") if path.is_file())


class Site:
    """Three nodes, and stayds that share one pool."""

    def __init__(self, stack, arguments):
        self.stack = stack
        self.arguments = arguments
        arguments.data.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="stayd-bench-", dir=arguments.data)
        self.folder = Path(stack.enter_context(folder))
        self.engine = stack.enter_context(nats.Cluster(self.folder))
        self.made = set()

    def streams(self, name):
        """Makes the streams of a name such as bench.sessions."""
        if name in self.made:
            return
        self.made.add(name)
        for i in range(PARTITIONS):
            self.engine.create_stream(f"{name.replace('.', '_')}_{i}", [f"{name}.{i}.>"])

    def stayd(self, prefix="bench"):
        """A stayd that has caught up; not yet started."""
        self.streams(f"{prefix}.sessions")
        settings = {"cluster": self.engine.url, "cluster_partitions": PARTITIONS, "cluster_prefix": prefix}
        return Stayd(self.arguments.stayd, MEMORY_MB, 2, True, on_disk=self.arguments.data, settings=settings)

    def plain(self):
        return Stayd(self.arguments.stayd, MEMORY_MB, 2, True, on_disk=self.arguments.data)

    def bare(self, *words):
        """Runs stayd-log-client."""
        done = subprocess.run([str(self.arguments.client), words[0], self.engine.url, *map(str, words[1:])],
                              capture_output=True, text=True, timeout=900, check=False)
        if done.returncode != 0 or done.stderr:
            raise RuntimeError(f"stayd-log-client {words}: {done.stderr}")
        return json.loads(done.stdout)

    def load(self, stayd, **options):
        return run_load(self.arguments.load, stayd, value=VALUE_BYTES, ttl=FOURTEEN_DAYS_S, **options)


def medians(found, key):
    return statistics.median(each[key] for each in found)


def measure_writes(site, result, rounds, seconds):
    """Writes per second, p50 and p99, of stayd and of libnats alone; CPU time of stayd for each write."""
    with site.stayd() as stayd:
        site.streams("bare.sessions")
        for writers in (1, 50, 200):
            ours, theirs, loads = [], [], []
            for number in range(rounds + 1):
                say(f"writes: {writers} writers, round {number} of {rounds}")
                loads.append(os.getloadavg()[0])
                bare = site.bare("publish", "bare.sessions", PARTITIONS, writers, seconds,
                                 VALUE_BYTES + 60, KEYS)
                before = stayd.cpu()
                found = site.load(stayd, connections=writers, get=0, keys=KEYS, seconds=seconds,
                                  key_size=KEY_BYTES + number + (writers % 7) * 20)
                found["cpu_us_each"] = stayd.cpu().since(before).total_ns / 1e3 / found["operations"]
                if number > 0:  # the first one warms up
                    ours.append(found)
                    theirs.append(bare)
            name = f"{writers} writer{'s' if writers > 1 else ''}"
            rates = [[each["operations_per_second"] for each in side] for side in (ours, theirs)]
            result.rows.append(Row(f"writes per second, {name}", *rates, 0.8, at_least=True))
            for key in ("p50_us", "p99_us"):
                times = [[each[key] / 1e3 for each in side] for side in (ours, theirs)]
                result.rows.append(Row(f"{key[:3]} of a write in ms, {name}", *times, digits=2))
            used = [[each["cpu_us_each"] for each in side] for side in (ours, theirs)]
            result.rows.append(Row(f"CPU time of a write in µs, {name}", *used))
            result.notes.append(f"{name}: {load_text(loads)}")


def measure_reads(site, result, rounds, seconds):
    """CPU time and rate of local reads, against a plain pool."""
    with site.stayd("reads") as stayd, site.plain() as plain:
        pair = {"stayd": stayd, "plain": plain}
        for daemon in pair.values():
            site.load(daemon, preload=True, connections=200, keys=KEYS)
        found = {name: [] for name in pair}
        loads = []
        for number in range(rounds):
            for name, daemon in pair.items():
                say(f"reads: {name}, round {number + 1} of {rounds}")
                loads.append(os.getloadavg()[0])
                before = daemon.cpu()
                got = site.load(daemon, connections=50, get=100, keys=KEYS, seconds=seconds)
                found[name].append(daemon.cpu().since(before).total_ns / got["operations"])
        result.rows.append(Row("CPU time of a local read in ns, against a plain pool",
                               found["stayd"], found["plain"], 1.05))
        result.notes.append(f"reads: {load_text(loads)}")


def measure_lag(site, result, count):
    """From the reply to a set on one host until another host has it."""
    lags = []
    loads = [os.getloadavg()[0]]
    say("lag")
    with site.stayd("lag") as writer, site.stayd("lag") as reader:
        with writer.connect() as first, reader.connect() as second:
            for each in (first, second):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for number in range(count):
                first.sendall(b"set k 0 0 8\r\n%08d\r\n" % number)
                assert first.recv(100) == b"STORED\r\n"
                began = time.perf_counter()
                want = b"VALUE k 0 8\r\n%08d\r\nEND\r\n" % number
                while True:
                    second.sendall(b"get k\r\n")
                    if second.recv(200) == want:
                        break
                lags.append(1e3 * (time.perf_counter() - began))
    lags.sort()
    result.rows.append(Row("lag of another host in ms, p50", [lags[count // 2]], None, digits=2))
    result.rows.append(Row("lag of another host in ms, p99", [lags[count * 99 // 100]], None, digits=2))
    result.notes.append(f"lag: {count} sets, {load_text(loads)}")


class Waits(threading.Thread):
    """Sets a key of each partition's share again and again on its own connection; notes the longest wait."""

    def __init__(self, stayd, number):
        super().__init__(daemon=True)
        self.stayd, self.number = stayd, number
        self.longest = 0.0
        self.failed = 0
        self.done = 0
        self.ends = threading.Event()

    def run(self):
        with self.stayd.connect(30) as connection:
            while not self.ends.is_set():
                began = time.perf_counter()
                key = f"w{self.number}-{self.done % 50}"
                connection.sendall(f"set {key} 0 0 1\r\nx\r\n".encode())
                if connection.recv(200) != b"STORED\r\n":
                    self.failed += 1
                self.longest = max(self.longest, time.perf_counter() - began)
                self.done += 1


def wait_for_leaders(site, name, seconds=60):
    """Waits until every stream has a leader and all replicas are current."""
    deadline = time.monotonic() + seconds
    for i in range(PARTITIONS):
        while time.monotonic() < deadline:
            try:
                with site.engine.client() as client:
                    found = client.api(f"STREAM.INFO.{name.replace('.', '_')}_{i}").get("cluster", {})
                if found.get("leader") and all(each.get("current") for each in found.get("replicas", [])):
                    break
            except (OSError, nats.Refused, ValueError):
                pass
            time.sleep(0.2)


def outage_of(site, stayd, fault, mend, seconds):
    """The longest wait of a write while a fault happens and is mended."""
    waits = [Waits(stayd, number) for number in range(20)]
    for each in waits:
        each.start()
    time.sleep(1)
    fault()
    time.sleep(seconds)
    mend()
    time.sleep(seconds)
    for each in waits:
        each.ends.set()
    for each in waits:
        each.join(40)
    wait_for_leaders(site, "outage.sessions")
    return 1e3 * max(each.longest for each in waits), sum(each.failed for each in waits)


def measure_outage(site, result, rounds, seconds):
    """The longest wait of a write for each fault of a node."""
    with site.stayd("outage") as stayd:

        def connected():
            line = [each for each in stayd.log().splitlines() if "connected to" in each][-1]
            return next(node for node in site.engine.nodes if f":{node.port} " in line)

        def killed(pick):
            def fault():
                killed.node = pick()
                killed.node.kill()

            return fault, lambda: killed.node.start()

        def stopped(pick):
            def fault():
                stopped.node = pick()
                stopped.node.signal(signal.SIGSTOP)

            return fault, lambda: stopped.node.signal(signal.SIGCONT)

        def all_nodes():
            for node in site.engine.nodes:
                node.kill()
            for node in site.engine.nodes:
                node.start()

        def leader():
            return site.engine.leader("outage_sessions_0")

        faults = {
            "nothing": (lambda: None, lambda: None),
            "kill -9 of the node that stayd is connected to": killed(connected),
            "kill -9 of a partition's leader": killed(leader),
            "SIGSTOP of a partition's leader": stopped(leader),
            "kill -9 of all nodes, started again at once": (all_nodes, lambda: None),
        }
        loads, failures = [], {}
        for name, (fault, mend) in faults.items():
            longest = []
            for number in range(rounds):
                say(f"outage: {name}, round {number + 1} of {rounds}")
                loads.append(os.getloadavg()[0])
                found, failed = outage_of(site, stayd, fault, mend, seconds)
                longest.append(found)
                failures[name] = failures.get(name, 0) + failed
            result.rows.append(Row(f"longest wait of a write in ms: {name}", longest, None))
        result.notes.append(f"outage: {load_text(loads)}; writes that failed at their deadline: {failures}")


def measure_catch_up(site, result, rounds, items):
    """The rate at which a new host reads all sessions, against libnats; memory for each session."""
    name = "catch.sessions"
    before = [resident_bytes(node.process.pid) for node in site.engine.nodes]
    with site.stayd("catch") as first:
        empty = first.settled_resident().total
        say(f"catch-up: storing {items:,} sessions")
        loads = [os.getloadavg()[0]]
        done = site.load(first, preload=True, connections=500, keys=items)
        say(f"catch-up: {done['operations_per_second']:,.0f} writes per second with 500 writers")
        memory = (first.settled_resident().total - empty) / items
        time.sleep(3)
        nodes = [(resident_bytes(node.process.pid) - least) / items
                 for node, least in zip(site.engine.nodes, before)]
        disk = [folder_bytes(node.folder) / items for node in site.engine.nodes]
        ours, theirs, processor, bare_processor = [], [], [], []
        for number in range(rounds):
            say(f"catch-up: round {number + 1} of {rounds}")
            loads.append(os.getloadavg()[0])
            bare = site.bare("consume", name, PARTITIONS, items)
            theirs.append(bare["records_per_second"])
            bare_processor.append(bare["cpu_us_each"])
            with site.stayd("catch") as host:
                line = [each for each in host.log().splitlines() if "has caught up" in each][-1]
                records, _, ms = line.rpartition("cluster: ")[2].partition(" records in ")
                ours.append(int(records) * 1e3 / max(1, int(ms.split()[0])))
                processor.append(host.cpu().total_ns / 1e3 / items)
                if host.item_count() != items:
                    raise RuntimeError(f"a new host has {host.item_count()} of {items} sessions")
    result.rows.append(Row(f"records per second while a host catches up, {items:,} sessions",
                           ours, theirs, 0.5, at_least=True))
    result.rows.append(Row("CPU time of a record in µs, catching up", processor, bare_processor, digits=2))
    result.rows.append(Row("bytes of memory per session on a stayd", [memory], None))
    result.rows.append(Row("bytes of memory per session on an engine's node", nodes, None))
    result.rows.append(Row("bytes of disk per session on an engine's node", disk, None))
    result.notes.append(f"catch-up: {load_text(loads)}")


def parse_arguments():
    parser = argparse.ArgumentParser(description="Measure clustered pools; see docs/scaling.md.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, fewer sessions")
    parser.add_argument("--stayd", type=Path, default=BUILD / "stayd")
    parser.add_argument("--load", type=Path, default=BUILD / "bench/stayd-load")
    parser.add_argument("--client", type=Path, default=BUILD / "bench/stayd-log-client")
    parser.add_argument("--data", type=Path, default=BUILD / "bench-data",
                        help="a folder on a disk, for files")
    parser.add_argument("--out", type=Path, default=BUILD / "bench", help="where the results go")
    arguments = parser.parse_args()
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part}; there are {', '.join(PARTS)}")
    arguments.parts = arguments.parts or list(PARTS)
    return arguments


def main():
    arguments = parse_arguments()
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if nats.find_server() is None:
        console.print("skipped: there is no nats-server; scripts/nats-server builds one")
        return 0
    if not arguments.client.is_file():
        console.print("skipped: stayd was built without clustered pools (libnats-dev is missing)")
        return 0
    result = Result(f"Clustered pools: {PARTITIONS} partitions, {VALUE_BYTES}-byte values",
                    "each in its own unit: median, least..most of the rounds",
                    peer_name="libnats alone, or a plain pool")
    rounds, seconds, items = (3, 2, 50_000) if arguments.quick else (5, 5, 300_000)
    with ExitStack() as stack:
        site = Site(stack, arguments)
        measures = {
            "writes": lambda: measure_writes(site, result, rounds, seconds),
            "reads": lambda: measure_reads(site, result, rounds + 2, seconds),
            "lag": lambda: measure_lag(site, result, 500 if arguments.quick else 3000),
            "outage": lambda: measure_outage(site, result, 1 if arguments.quick else 3, 12),
            "catch-up": lambda: measure_catch_up(site, result, rounds, items),
        }
        for part in arguments.parts:
            measures[part]()
    result.print_to(console)
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result.to_data(), indent=1, ensure_ascii=False)
    (arguments.out / "cluster.json").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
