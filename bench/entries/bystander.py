"""How long one client waits while others do the worst that clients can: the longest wait of a client
that asks for nothing (`mn`), less its longest wait while nobody else does anything.

The others are four connections that send requests as fast as they can; each request makes the daemon
copy, read or search much.
"""

import socket
import threading
import time

from report import Result, Row

BIG = 1_000_000
CONNECTIONS = 4
MEMORY_MB = 256
DEADLINE_S = 120
MISSING_KEYS = b"get " + b" ".join(b"k%d" % number for number in range(8_000)) + b"\r\n"
ATTACKS = {
    # row: (requests, how often one connection sends them in a full run)
    "others touch values of a megabyte": (b"touch big 1000 noreply\r\n", 400),
    "others append to values of a megabyte": (b"append big 0 0 1 noreply\r\nx\r\n", 400),
    "others read four values of a megabyte at a time": (b"get big big big big\r\n", 200),
    "others ask for 8,000 missing keys in a line": (MISSING_KEYS, 400),
    "others list all keys": (b"lru_crawler metadump all\r\n", 10),
}
ROWS = tuple(ATTACKS)


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


def run(bench):
    """Returns milliseconds."""
    from support.bystander import Bystander, longest_wait

    rounds, share, keys = bench.pick((5, 1.0, 100_000), (3, 0.25, 100_000), (1, 0.01, 100))
    result = Result(
        "A bystander's longest wait, less that of an idle run",
        "ms: median, least..most of the rounds", peer_name="",
    )
    idle_s, waits_ms = [], {row: [] for row in ATTACKS}
    with bench.under_test(MEMORY_MB, item_max="2M") as daemon:
        _fill(daemon, keys)
        for number in range(rounds):
            for row, (requests, count) in ATTACKS.items():
                bench.progress(f"bystander: {row}, round {number + 1} of {rounds}")
                began = time.monotonic()
                try:
                    with Bystander(daemon.socket_path) as other:
                        _attack(daemon, requests, max(1, round(count * share)))
                    seconds = time.monotonic() - began
                    idle_s.append(longest_wait(daemon.socket_path, min(seconds, 2)))
                except AssertionError as error:  # the tests' bystander was not served
                    raise RuntimeError(f"{daemon.name}: {error}") from error
                waits_ms[row].append(1000 * (other.longest - idle_s[-1]))
    result.rows += [Row(row, waits, None, 50, digits=1) for row, waits in waits_ms.items()]
    result.notes.append(f"an idle run's longest wait: {1000 * max(idle_s):.1f} ms at most")
    return result
