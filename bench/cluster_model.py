"""What a clustered pool needs for 10^6, 10^7 and 10^8 sessions.

    build/venv/bin/python -B bench/cluster_model.py            prints the table, and how exact it is
    build/venv/bin/python -B bench/cluster_model.py measure    measures new points (needs nats-server)

The points, bench/cluster_points.json, are what three nodes and two stayds on one machine used after so many
sessions of 300 bytes were stored, and after so many of them were stored again. The points of a million
sessions are earlier measurements of the engine alone. The model has

- the memory of a stayd: its own, so much for each session, and so much for the room that overwrites fill;
- the memory of a node: its own, so much for each session, so much more when sessions are stored again, and
  buffers of its streams and of the consensus log, which are full after some 10,000 writes to each stream;
- the disk of a node: the same, times the waste of its block files;
- the time of a catch-up: a second, and so much for each record.

How much the block files waste is simulated: a stream of files in which sessions are replaced at random, until
nothing changes any more. The factors are fitted to the points by least squares. The error is that on a point
that was left out, for each point in turn.
"""

import argparse
import functools
import json
import math
import random
import sys
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POINTS = ROOT / "bench" / "cluster_points.json"
PARTITIONS = 16
REPLICAS = 3
BLOCK_BYTES = 4 << 20
COMPACTS_FROM_BYTES = 2 << 20
RECORD_BYTES = 520  # what the server writes for a session of 300 bytes, with subject, headers and checksum
SESSIONS_A_STREAM = 500_000  # no more: a node that starts reads a stream in seconds
SHARE_OF_A_NODE = 0.6  # of its memory; the rest is for the page cache and the garbage of Go
NODE_BYTES = 64 << 30
SETTLED = 10  # overwrites of each session: nothing changes any more
SIMULATED = 20_000


class Stream:
    """Block files of a stream, as nats-server keeps them: records are appended; a file that is half empty is
    written anew, a file without records is removed."""

    def __init__(self, record_bytes, block_bytes, compacts_from):
        self.record_bytes, self.block_bytes, self.compacts_from = record_bytes, block_bytes, compacts_from
        self.where = {}  # key: block
        self.live = [0]
        self.on_disk = [0]
        self.appended = [0]

    def store(self, key):
        if self.appended[-1] * self.record_bytes >= self.block_bytes:
            self.live.append(0)
            self.on_disk.append(0)
            self.appended.append(0)
        old = self.where.get(key)
        if old is not None:
            self.live[old] -= 1
            if self.live[old] == 0 and old != len(self.live) - 1:
                self.on_disk[old] = 0
            elif (self.on_disk[old] * self.record_bytes > self.compacts_from
                  and 2 * self.live[old] < self.on_disk[old]):
                self.on_disk[old] = self.live[old]
        last = len(self.live) - 1
        self.where[key] = last
        self.live[last] += 1
        self.on_disk[last] += 1
        self.appended[last] += 1

    def waste(self):
        """Records on the disk for each live one."""
        return sum(self.on_disk) / len(self.where)


@functools.cache
def simulate(sessions, overwrites):
    """The waste of a stream of so many sessions after so many overwrites of each. A stream of many blocks is
    simulated on a smaller scale."""
    scale = max(1, sessions // SIMULATED)
    stream = Stream(RECORD_BYTES, BLOCK_BYTES / scale, COMPACTS_FROM_BYTES / scale)
    count = max(1, sessions // scale)
    numbers = random.Random(1)
    for key in range(count):
        stream.store(key)
    for _ in range(round(overwrites * count)):
        stream.store(numbers.randrange(count))
    return stream.waste()


def solve(rows, values):
    """Least squares of the relative errors, by the normal equations; no factor is below 0."""
    rows = [[cell / value for cell in row] for row, value in zip(rows, values)]
    used = list(range(len(rows[0])))
    while True:
        size = len(used)
        matrix = [[*(sum(row[i] * row[j] for row in rows) for j in used), sum(row[i] for row in rows)]
                  for i in used]
        for i in range(size):
            pivot = max(range(i, size), key=lambda line: abs(matrix[line][i]))
            matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
            for line in range(size):
                if line != i and matrix[i][i]:
                    factor = matrix[line][i] / matrix[i][i]
                    matrix[line] = [a - factor * b for a, b in zip(matrix[line], matrix[i])]
        found = [matrix[i][size] / matrix[i][i] if matrix[i][i] else 0.0 for i in range(size)]
        if min(found) >= 0 or size == 1:
            factors = [0.0] * len(rows[0])
            for i, value in zip(used, found):
                factors[i] = max(0.0, value)
            return factors
        used.remove(used[found.index(min(found))])


def settled(amount, full):
    """A buffer that fills: 0 to 1."""
    return 1 - math.exp(-amount / full)


def terms_of(name, point):
    """What the quantity is a sum of; the factors are fitted."""
    sessions, overwrites = point["sessions"], point["overwrites"]
    partitions = point.get("partitions", PARTITIONS)
    buffers = partitions * settled(sessions * (1 + overwrites) / partitions, 10_000)
    if name == "stayd_bytes":
        return [1, sessions, sessions * settled(overwrites, 1)]
    if name == "node_bytes":
        return [1, sessions, sessions * settled(overwrites, 1), buffers]
    if name == "disk_bytes":
        return [sessions * simulate(sessions // partitions, overwrites), buffers]
    return [1, sessions]


class Model:
    """Four quantities; a point need not have all of them."""

    NAMES = ("stayd_bytes", "node_bytes", "disk_bytes", "catch_up_s")

    def __init__(self, points):
        self.factors = {}
        for name in self.NAMES:
            known = [point for point in points if name in point]
            rows = [terms_of(name, point) for point in known]
            self.factors[name] = solve(rows, [point[name] for point in known])

    def predict(self, name, sessions, overwrites, partitions=PARTITIONS):
        point = {"sessions": sessions, "overwrites": overwrites, "partitions": partitions}
        return sum(factor * term for factor, term in zip(self.factors[name], terms_of(name, point)))


def errors_of(points, name):
    """The relative error on each point, fitted without it."""
    found = []
    for number, point in enumerate(points):
        if name in point:
            model = Model(points[:number] + points[number + 1:])
            found.append(model.predict(name, point["sessions"], point["overwrites"],
                                       point.get("partitions", PARTITIONS)) / point[name] - 1)
    return found


def size_text(count):
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} B"


def show(points):
    model = Model(points)
    least, most = points[0]["sessions"], points[-1]["sessions"]
    print(f"fitted to {len(points)} points of {least:,} to {most:,} sessions")
    for name in Model.NAMES:
        errors = errors_of(points, name)
        middle = sorted(abs(error) for error in errors)[len(errors) // 2]
        print(f"  {name:12} error on a point that was left out: {min(errors):+.0%} to {max(errors):+.0%}, "
              f"median {middle:.0%}")
    print()
    print("| | 10^6 | 10^7 | 10^8 |\n| --- | ---: | ---: | ---: |")
    columns = []
    for sessions in (10**6, 10**7, 10**8):
        partitions = max(16, 2 ** math.ceil(math.log2(sessions / SESSIONS_A_STREAM)))
        node = model.predict("node_bytes", sessions, SETTLED, partitions)
        columns.append([
            f"{partitions}",
            size_text(model.predict("stayd_bytes", sessions, SETTLED, partitions)),
            f"{size_text(model.predict('node_bytes', sessions, 0, partitions))} to {size_text(node)}",
            size_text(model.predict("disk_bytes", sessions, SETTLED, partitions)),
            f"{max(REPLICAS, math.ceil(REPLICAS * node / SHARE_OF_A_NODE / NODE_BYTES))}",
            f"{model.predict('catch_up_s', sessions, 0, partitions) / 60:,.1f} min",
        ])
    names = ("partitions", "memory of a stayd that has all", "memory of the engine, for each replica",
             "disk of the engine, for each replica", "nodes of 64 GiB with three replicas",
             "a new host has all after")
    for number, name in enumerate(names):
        print(f"| {name} | {' | '.join(column[number] for column in columns)} |")


def measure():
    """Measures points: sessions are added, then stored again."""
    sys.path += [str(ROOT / "bench"), str(ROOT / "tests")]
    import cluster

    build = ROOT / "build"
    arguments = argparse.Namespace(stayd=build / "stayd", load=build / "bench/stayd-load",
                                   client=build / "bench/stayd-log-client", data=build / "bench-data")
    points = []

    def note(site, stayd, sessions, overwrites):
        time.sleep(12)  # the engine's caches live for 10 s
        took_ms = math.inf
        for _ in range(2):
            with site.stayd("sizing") as host:
                line = [each for each in host.log().splitlines() if "has caught up" in each][-1]
                took_ms = min(took_ms, int(line.rpartition(" records in ")[2].split()[0]))
        points.append({
            "sessions": sessions,
            "overwrites": overwrites,
            "stayd_bytes": stayd.settled_resident().total,
            "node_bytes": max(cluster.resident_bytes(node.process.pid) for node in site.engine.nodes),
            "disk_bytes": max(cluster.folder_bytes(node.folder) for node in site.engine.nodes),
            "catch_up_s": took_ms / 1e3,
        })
        cluster.say(f"sizing: {points[-1]}")

    with ExitStack() as stack:
        site = cluster.Site(stack, arguments)
        stayd = stack.enter_context(site.stayd("sizing"))
        # Each step stores the earlier sessions again.
        for sessions, overwrites in ((25_000, 0), (50_000, 0.5), (100_000, 0.75)):
            site.load(stayd, preload=True, connections=500, keys=sessions)
            note(site, stayd, sessions, overwrites)
        for overwrites in (1.75, 2.75):
            site.load(stayd, operations=100_000, connections=500, get=0, keys=100_000,
                      seed=round(10 * overwrites))
            note(site, stayd, 100_000, overwrites)
        site.load(stayd, preload=True, connections=500, keys=200_000)
        note(site, stayd, 200_000, 1.875)
    old = json.loads(POINTS.read_text()) if POINTS.is_file() else []
    points += [point for point in old if "from" in point]
    POINTS.write_text(json.dumps(points, indent=1) + "\n")


def main():
    if sys.argv[1:] == ["measure"]:
        measure()
    elif sys.argv[1:]:
        sys.exit(__doc__)
    show(json.loads(POINTS.read_text()))


if __name__ == "__main__":
    main()
