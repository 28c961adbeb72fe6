"""How long one client waits while others do the worst that clients can, or while a pool has no room:
the longest wait of a client that is not involved, less its longest wait while nobody else does
anything.

In the first rows, four connections send requests as fast as they can; each request makes the daemon
copy, read or search much. The other rows are no_room.py's and strangers.py's.
"""

import socket
import threading
from dataclasses import dataclass
from typing import Callable

import no_room
import strangers
from report import Result, Row
from support.bystander import Bystander
from support.servers import ServerError
from waits import Waits

BIG = 1_000_000
CONNECTIONS = 4
MEMORY_MB = 256
DEADLINE_S = 120
LIMIT_MS = 50
MISSING_KEYS = b"get " + b" ".join(b"k%d" % number for number in range(8_000)) + b"\r\n"
ATTACKS = {
    # row: (requests, how often one connection sends them in a full run)
    "others touch values of a megabyte": (b"touch big 1000 noreply\r\n", 400),
    "others append to values of a megabyte": (b"append big 0 0 1 noreply\r\nx\r\n", 400),
    "others read four values of a megabyte at a time": (b"get big big big big\r\n", 200),
    "others ask for 8,000 missing keys in a line": (MISSING_KEYS, 400),
    "others list all keys": (b"lru_crawler metadump all\r\n", 10),
}
EARLIER = {"others touch values of a megabyte": "29.8 s"}


@dataclass(frozen=True)
class Trouble:
    """What a row does, and how long others waited for it in an earlier version."""

    work: str
    earlier: str
    measure: Callable  # with a Bench and a Waits: milliseconds of each round, or None if it cannot


TROUBLES = (
    Trouble("every sync hangs, a full pool of 4 MiB is updated", "no answer in 5 s", no_room.hung_disk),
    Trouble("a sync takes 300 ms, a pool 80 % live is updated", "2.6 s", no_room.slow_disk),
    Trouble("flush_all of a full pool, then a new key", "2 s (1 GiB)", no_room.flush_of_a_full_pool),
    Trouble("flush_all of a full pool of 4 GiB, then a new key", "17 s",
            no_room.flush_of_a_large_full_pool),
    Trouble("sets that expire soon, a pool 60 % live", "1 to 4 s (1.5 GiB)", no_room.soon_expiry),
    Trouble("2,000 flush_all of a pool that held a million items", "2.6 s", no_room.many_flushes),
    Trouble("a flood of TLS KeyUpdate records without a login", "5.8 s", strangers.key_updates),
    Trouble("3,000 refresh_certs", "2.5 to 18 s", strangers.certificate_reloads),
    Trouble("67 large sets that never end; the client stores 300 KB", "always refused",
            strangers.endless_sets),
    Trouble("200 clients list all of 200,000 items", "p50 78 ms, p99 291 ms", strangers.dumps),
    Trouble("40 half requests on the admin port; the client is a health check", "never answered",
            strangers.half_requests),
)
ROWS = (*ATTACKS, *(trouble.work for trouble in TROUBLES))


def _attack(daemon, requests, count):
    """Sends the requests on all connections at once; returns when all have been answered."""
    failures = []

    def send_and_read():
        try:
            with daemon.connect(DEADLINE_S) as connection:
                sender = threading.Thread(
                    target=connection.sendall, args=(requests * count + b"mn\r\n",)
                )
                sender.start()
                end = b""
                while not end.endswith(b"MN\r\n"):
                    received = connection.recv(1 << 20)
                    if not received:
                        raise ConnectionError("the daemon closed the connection")
                    end = (end + received)[-4:]
                sender.join()
        except OSError as error:
            failures.append(error)

    attackers = [threading.Thread(target=send_and_read) for _ in range(CONNECTIONS)]
    for attacker in attackers:
        attacker.start()
    for attacker in attackers:
        attacker.join()
    if failures:
        raise RuntimeError(f"{daemon.name} did not serve what others asked: {failures[0]}")


def _fill(daemon, keys):
    with daemon.connect(DEADLINE_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"set big 0 0 %d noreply\r\n%b\r\n" % (BIG, b"v" * BIG))
        for number in range(keys):
            connection.sendall(b"set s%d 0 0 1 noreply\r\nv\r\n" % number)
        connection.sendall(b"mn\r\n")
        if connection.recv(100) != b"MN\r\n":
            raise RuntimeError(f"{daemon.name} did not store what the others ask for")


def _attacks(bench, waits):
    """The milliseconds of each round by row. All rows are measured in turns, on one daemon."""
    rounds, share, keys = bench.pick((5, 1.0, 100_000), (3, 0.15, 100_000), (1, 0.01, 100))
    found = {row: [] for row in ATTACKS}
    with bench.under_test(MEMORY_MB, item_max="2M") as daemon:
        _fill(daemon, keys)
        bystanders = [Bystander(daemon.socket_path)]
        for number in range(rounds):
            for row, (requests, count) in ATTACKS.items():
                bench.progress(f"bystander: {row}, round {number + 1} of {rounds}")
                times = max(1, round(count * share))
                found[row].append(waits.during(lambda: _attack(daemon, requests, times), bystanders))
    return found


def run(bench):
    """Returns milliseconds."""
    result = Result(
        "A bystander's longest wait, less that of an idle run",
        "ms: median, least..most of the rounds", peer_name="earlier",
    )
    waits = Waits(idle_seconds=bench.pick(2, 0.4, 0.1))
    try:
        found = _attacks(bench, waits)
        for trouble in TROUBLES:
            bench.progress(f"bystander: {trouble.work}")
            found[trouble.work] = trouble.measure(bench, waits)
    except (AssertionError, EOFError, ServerError) as error:  # of the tests' code
        raise RuntimeError(f"stayd: {error}") from error
    earlier = {**EARLIER, **{trouble.work: trouble.earlier for trouble in TROUBLES}}
    result.rows += [
        Row(row, found[row], None, LIMIT_MS, digits=1, earlier=earlier.get(row, ""))
        for row in ROWS if found[row] is not None
    ]
    result.notes += [
        f"an idle run's longest wait: {1000 * max(waits.idle_s):.1f} ms at most; the machine delayed a "
        f"bystander's own pauses by {1000 * waits.overslept_s:.1f} ms at most",
        f"large values of the bystanders that were refused and sent again: {waits.refused}",
    ]
    return result
