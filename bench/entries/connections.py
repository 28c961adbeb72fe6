"""Many connections: the memory of an idle connection, the CPU time to accept a connection, and the CPU
time per operation of 500 busy connections beside 10,000 idle ones.

Each round opens the idle connections anew; each of them asks for the version once, so that all have
been accepted and served. Rounds alternate between the servers. The figure for memory is from the
first round, in which memory grows. If the limit on open files is lower, fewer connections are opened.
"""

import contextlib
import resource
import socket
import time

from report import Result, Row

IDLE = 10_000
BUSY = 500
SPARE = 200  # descriptors for everything else
KEYS = 100_000
MEMORY_MB = 128
OPENED_AT_ONCE = 100  # fewer than a listener's backlog
WORK = {"no pipeline": 1, "pipeline 32": 32}
ROWS = (
    "memory of an idle connection, bytes",
    "CPU to accept and serve a connection, ns",
    "connections accepted and served a second, of one client",
    *(f"busy connections, {work}: CPU, ns per operation" for work in WORK),
)


def _raise_limit():
    """Raises the limit on open files as far as it goes; how many connections may be open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most - SPARE if most != resource.RLIM_INFINITY else IDLE + BUSY


def _open_idle(daemon, count, held):
    """Opens connections that have been served once; `held` is an ExitStack that closes them."""
    request, reply_starts = b"version\r\n", b"VERSION "
    for first in range(0, count, OPENED_AT_ONCE):
        batch = []
        for _ in range(min(OPENED_AT_ONCE, count - first)):
            connection = socket.create_connection(("127.0.0.1", daemon.port), timeout=30)
            batch.append(held.enter_context(connection))
        for connection in batch:
            connection.sendall(request)
        for connection in batch:
            reply = connection.recv(100)
            if not reply.startswith(reply_starts):
                raise RuntimeError(f"{daemon.name} did not serve connection {first}: {reply!r}")


def _round(bench, daemon, idle, busy, seconds):
    """Returns the figures of a round, in the order of ROWS."""
    before, cpu_before = daemon.resident().total, daemon.cpu()
    with contextlib.ExitStack() as held:
        began = time.perf_counter()
        _open_idle(daemon, idle, held)
        rate = idle / (time.perf_counter() - began)
        accept_ns = daemon.cpu().since(cpu_before).total_ns / idle
        figures = [(daemon.settled_resident(bench.still_s).total - before) / idle, accept_ns, rate]
        for pipeline in WORK.values():
            cpu_before = daemon.cpu()
            done = bench.load(
                daemon, keys=KEYS, connections=busy, pipeline=pipeline, seconds=seconds
            )
            if done["misses"]:
                raise RuntimeError(f"{daemon.name} lost {done['misses']} keys of a set that fits")
            figures.append(daemon.cpu().since(cpu_before).total_ns / done["operations"])
    return figures


def run(bench):
    """Returns rows of different units: each says its own."""
    rounds, seconds, idle, busy = bench.pick(
        (5, 2, IDLE, BUSY), (3, 0.7, IDLE, BUSY), (1, 0.05, 200, 20)
    )
    most = _raise_limit()
    notes = []
    if most < idle:
        idle = most
        notes.append(f"{idle:,} idle connections: the limit on open files allows no more")
    settings = {"max_connections": idle + busy + 100}
    found = {"peer": [], "stayd": []}
    with contextlib.ExitStack() as stack:
        daemons = {
            "peer": stack.enter_context(bench.peer(MEMORY_MB, **settings)),
            "stayd": stack.enter_context(bench.under_test(MEMORY_MB, **settings)),
        }
        for daemon in daemons.values():
            bench.load(daemon, keys=KEYS, pipeline=64, preload=True)
            daemon.settled_resident(bench.still_s)
        for number in range(rounds):
            for name, daemon in daemons.items():
                bench.progress(f"connections: {daemon.name}, round {number + 1} of {rounds}")
                found[name].append(_round(bench, daemon, idle, busy, seconds))
    result = Result(
        f"{busy} busy connections beside {idle:,} idle ones, cache pool, {bench.threads} threads",
        "each row in its own unit: median, least..most of the rounds", notes=notes,
    )
    for number, row in enumerate(ROWS):
        counted = slice(0, 1) if number == 0 else slice(None)
        values = {name: [each[number] for each in found[name][counted]] for name in found}
        result.rows.append(Row(row, values["stayd"], values["peer"]))
    return result
