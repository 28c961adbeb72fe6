"""Clients on several hosts that read and write the same keys, note what they asked and were told, and the
judgement of that (linear.py)."""

import itertools
import random
import threading
import time
from collections import Counter, defaultdict

from support import linear
from support.linear import UNKNOWN, Operation
from support.raw import Raw, wait_until

REPLY_S = 15  # a daemon answers after 10 s at the latest
SHARES = {
    "set": 16,
    "add": 14,
    "replace": 5,
    "append": 4,
    "cas": 16,
    "incr": 14,
    "delete": 16,
    "touch": 5,
    "fresh": 6,
    "read": 24,
}
workloads = itertools.count()
CODES = {
    b"NS": "not stored",
    b"EX": "exists",
    b"NF": "not found",
    b"EN": "not found",
    b"HD": "ok",
    b"VA": "ok",
    b"OK": "ok",
}


def request_of(kind, key, value, old):
    """The request, as bytes."""
    head = {
        "set": f"ms {key} {len(value)} T0 c",
        "add": f"ms {key} {len(value)} ME T0 c",
        "replace": f"ms {key} {len(value)} MR T0 c",
        "append": f"ms {key} {len(value)} MA c",
        "cas": f"ms {key} {len(value)} C{old} T0 c",
        "incr": f"ma {key} v c",
        "delete": f"md {key}",
        "touch": f"mg {key} T0 v c",
        "fresh": f"mg {key} n v c",
        "read": f"mg {key} v c",
        "flush": "flush_all",
    }[kind]
    tail = f"{value}\r\n" if kind in ("set", "add", "replace", "append", "cas") else ""
    return f"{head}\r\n{tail}".encode()


class Client(threading.Thread):
    """One connection at a time to one host. `operations` has, for each key, what it has done."""

    def __init__(self, workload, host, number, which):
        super().__init__(daemon=True)
        self.workload, self.host, self.number, self.which = workload, host, number, which
        self.random = random.Random(f"{workload.seed} {which}")
        self.operations = defaultdict(list)
        self.strange = []
        self.seen = {}  # of each key, the last CAS
        self.values = itertools.count(1)
        self.raw = None
        self.done = 0

    def run(self):
        while not self.workload.stopping.is_set():
            key = self.workload.take_key(self.random)
            kinds = [kind for kind in SHARES if self.fits(kind, key)]
            kind = self.random.choices(kinds, [SHARES[kind] for kind in kinds])[0]
            if not self.one(kind, key):
                self.workload.stopping.wait(0.05)
        self.drop()

    def run_reads(self):
        """Reads only: it does not wait for the log, also when that is away."""
        while not self.workload.stopping.wait(0.01):
            self.one("read", self.workload.pick_key(self.random))
        self.drop()

    def fits(self, kind, key):
        counts = int(key.rsplit("-", 1)[1]) % 2 == 0
        return (
            (kind != "incr" or counts)
            and (kind != "append" or not counts)
            and (kind != "cas" or key in self.seen)
        )

    def drop(self):
        if self.raw is not None:
            self.raw.close()
            self.raw = None

    def new_value(self, kind, key):
        if kind not in ("set", "add", "replace", "append", "cas"):
            return None
        number = next(self.values)
        if kind == "append":
            return f"+{self.which}.{number}"
        return f"{self.which + 1}{number:06}000" if self.fits("incr", key) else f"v{self.which}.{number}"

    def one(self, kind, key):
        """One request, which is noted. False: the host does not answer."""
        op = Operation(
            kind,
            self.number,
            0,
            value=self.new_value(kind, key),
            old=self.seen.get(key, UNKNOWN) if kind == "cas" else 0,
        )
        try:
            if self.raw is None:
                self.raw = Raw(self.host.socket("sessions"), REPLY_S)
        except OSError:
            return False
        op.invoked = time.monotonic()
        try:
            self.raw.send(request_of(kind, key, op.value or "", op.old))
            line = self.raw.read_line()
            words = line.split()
            found = self.raw.read_exact(int(words[1]) + 2)[:-2].decode() if words[0] == b"VA" else None
        except (OSError, EOFError):
            self.drop()
            self.note(key, op)
            return False
        returned = time.monotonic()
        if words[0] not in CODES:
            if not line.startswith(b"SERVER_ERROR replication unavailable"):
                self.strange.append((kind, key, line))
            self.note(key, op)
            return True
        op.returned, op.reply = returned, CODES[words[0]]
        op.value = found if found is not None else op.value
        op.cas = next((int(word[1:]) for word in words[1:] if word.startswith(b"c")), UNKNOWN)
        if op.cas != UNKNOWN:
            self.seen[key] = op.cas
        self.note(key, op)
        return True

    def note(self, key, op):
        if op.reply is not None or op.kind not in ("read", "fresh"):
            self.operations[key].append(op)
        self.done += op.reply is not None and op.kind != "read"


class Workload:
    """`clients` on each host, and one more that only reads. A key is used for some operations on it, and
    then others are, so that the history of each stays short. With `flushes`, a client empties the pool
    about so often (seconds)."""

    def __init__(self, hosts, clients=3, keys=8, operations=160, flushes=None, seed=None):
        self.hosts = hosts
        self.name = f"w{next(workloads)}"  # each has its own keys, which are not there at first
        self.seed = seed if seed is not None else random.randrange(1 << 32)
        self.keys, self.each = keys, keys * operations
        self.flushes = flushes
        self.stopping = threading.Event()
        self.taken = itertools.count()
        self.generation = 0
        self.began = time.monotonic()
        self.clients = [
            Client(self, host, number, which)
            for which, (number, host) in enumerate(
                (number, host) for number, host in enumerate(hosts) for _ in range(clients)
            )
        ]
        self.flusher = Client(self, hosts[0], 0, 90)
        self.flusher.run = self.run_flushes
        self.readers = [Client(self, host, number, 91 + number) for number, host in enumerate(hosts)]
        for reader in self.readers:
            reader.run = reader.run_reads

    def take_key(self, chance):
        self.generation = next(self.taken) // self.each
        return self.pick_key(chance)

    def pick_key(self, chance):
        """The keys with low numbers are used most."""
        return (
            f"{self.name}.{self.generation}-{min(chance.randrange(self.keys), chance.randrange(self.keys))}"
        )

    def everybody(self):
        return self.clients + self.readers + ([self.flusher] if self.flushes else [])

    def run_flushes(self):
        while not self.stopping.wait(self.flushes * (0.5 + self.flusher.random.random())):
            self.flusher.one("flush", "")
        self.flusher.drop()

    def start(self):
        for client in self.everybody():
            client.start()
        return self

    def done(self, numbers=None):
        """How many requests were answered on each host, or on some."""
        counts = Counter()
        for client in self.clients:
            counts[client.number] += client.done
        return [counts[number] for number in (range(len(self.hosts)) if numbers is None else numbers)]

    def advance(self, more=60, numbers=None, timeout=120):
        """Waits until clients of each host have had so many answers to writes from now on."""
        before = self.done(numbers)
        wait_until(
            lambda: all(now >= count + more for now, count in zip(self.done(numbers), before)),
            timeout,
            f"{more} more answers on hosts {numbers}",
            0.05,
        )

    def stop(self):
        self.stopping.set()
        for client in self.everybody():
            client.join(3 * REPLY_S)
            assert not client.is_alive()

    def histories(self):
        """Of each key, all that was done with it."""
        merged = defaultdict(list)
        for client in self.clients + self.readers:
            for key, operations in client.operations.items():
                merged[key] += operations
        for operations in merged.values():
            begun = min(op.invoked for op in operations)
            operations += [op for op in self.flusher.operations[""] if op.returned >= begun]
        return merged

    def read_all(self, hosts=None):
        """Reads each key on each host, fresh, and adds that to the history; then waits until the hosts' own
        copies are the same. Returns what differs."""
        differ = []
        keys = sorted(self.histories())
        for host in hosts or self.hosts:
            number = self.hosts.index(host) if host in self.hosts else -1
            reader = Client(self, host, number, 99)
            with Raw(host.socket("sessions"), REPLY_S) as raw:
                reader.raw = raw
                for key in keys:
                    if not reader.one("fresh", key):
                        differ.append((number, key, "no answer"))
            for key, operations in reader.operations.items():
                self.clients[0].operations[key] += operations
            fresh = {
                key: operations[-1].value if operations[-1].reply == "ok" else None
                for key, operations in reader.operations.items()
            }
            with Raw(host.socket("sessions"), REPLY_S) as raw:
                differ += [
                    (number, key, "the copy differs")
                    for key in keys
                    if key in fresh and (raw.get(key.encode()) or b"").decode() != (fresh[key] or "")
                ]
            differ += reader.strange
        return differ

    def judge(self, bound):
        """`bound`: how old local reads may be, in seconds, or a function of the read. Returns a Judgement."""
        return Judgement(self, bound)


class Judgement:
    def __init__(self, workload, bound):
        self.faults = [
            f"a strange reply: {strange}" for client in workload.everybody() for strange in client.strange
        ]
        self.undecided = []
        self.operations = self.unknown = self.keys = 0
        self.oldest = self.longest = 0.0
        for key, operations in workload.histories().items():
            self.keys += 1
            self.operations += len(operations)
            self.unknown += sum(1 for op in operations if op.reply is None)
            self.longest = max(
                [self.longest, *(op.returned - op.invoked for op in operations if op.reply is not None)]
            )
            self.judge_key(key, operations, bound)

    def judge_key(self, key, operations, bound):
        try:
            stuck = []
            if linear.find_order(operations, stuck=stuck) is None:
                order, op = stuck
                near = [
                    one
                    for one in operations
                    if one.kind != "read" and one.returned > op.invoked - 1 and one.invoked < op.returned + 1
                ]
                self.faults.append(
                    f"{key} is not linearizable: {op} cannot come next after\n"
                    + "\n".join(f"    {one}" for one in order[-12:])
                    + "\n  around:\n"
                    + describe(near)
                )
        except linear.Undecided as fault:
            self.undecided.append(f"{key}: {fault}")
        ages = linear.staleness(operations)
        self.oldest = max([self.oldest, *(other for _, _, other in ages)])
        for read, own, other in linear.find_stale(operations, bound):
            self.faults.append(
                f"{key}: {read} is {other:.3f} s old, {own:.3f} s for its own host:\n"
                + describe([op for op in operations if op.kind != "read" and op.returned > read.invoked - 20])
            )
        for first, second in linear.find_disorder(operations):
            self.faults.append(f"{key}: {second} comes after {first}")
        for read in linear.find_invented(operations):
            self.faults.append(f"{key}: nobody wrote {read}")

    def __str__(self):
        return (
            f"{self.operations} operations on {self.keys} keys, {self.unknown} unknown, "
            f"{len(self.undecided)} keys undecided, oldest read {self.oldest:.2f} s, "
            f"longest request {self.longest:.2f} s, {len(self.faults)} faults"
        )

    def check(self):
        """Fails if there is a fault, or if too much is undecided."""
        print(self)
        assert not self.faults, f"{self}\n" + "\n".join(self.faults)[:20000]
        assert len(self.undecided) <= self.keys // 20, f"{self}: {self.undecided}"


def describe(operations):
    begun = min(op.invoked for op in operations)
    lines = []
    for op in sorted(operations, key=lambda op: op.invoked):
        old = f"old {op.old} " if op.kind == "cas" else ""
        lines.append(
            f"  {op.invoked - begun:9.4f} {op.returned - begun:9.4f} host {op.host} "
            f"{op.kind:7} {op.value or '':14} {old}-> {op.reply} {op.cas or ''}"
        )
    return "\n".join(lines)
