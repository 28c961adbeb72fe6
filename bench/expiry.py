#!/usr/bin/env python3
"""Measures how long a client of the cache pool waits while a large sessions pool is written
steadily and its items expire: 1.5 GiB, expiry after 30 to 90 s, 60 % of the pool live.

    PYTHONPATH=tests build/venv/bin/python bench/expiry.py [GIB [SECONDS]]

Prints a line every 15 s. The first lines, while the pool fills and the janitor has nothing to do,
show the waits that the machine itself causes. The entry `bystander` has a row with a smaller pool and
earlier expiry.
"""

import random
import sys
import time

from support.bystander import Bystander
from support.servers import Stayd

VALUE = b"x" * 1000
RECORD_BYTES = len(VALUE) + 40
LIVE, EXPIRY_S = 0.6, (30, 90)
WINDOW_S = 15


class SteadySets:
    """Sets of new keys, at the rate that keeps 60 % of the pool live once the first have expired."""

    def __init__(self, connection, memory_mib, expiry_s):
        """`expiry_s`: the least and the most, each item's is between them."""
        self._connection = connection
        self._expiry_s = expiry_s
        self._rate = (memory_mib << 20) * LIVE / RECORD_BYTES / (sum(expiry_s) / 2)
        self._began = time.monotonic()
        self._sent = 0

    def run(self, seconds):
        """Goes on for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            due = int((time.monotonic() - self._began) * self._rate) - self._sent
            if due < 1:
                time.sleep(0.005)
            batch = min(max(due, 0), 500)
            self._connection.send(b"".join(
                b"set k%d 0 %d %d noreply\r\n%b\r\n" % (
                    random.randrange(10**9), random.randrange(*self._expiry_s), len(VALUE), VALUE)
                for _ in range(batch)
            ))
            self._sent += batch
        self._connection.expect_in_step()


def main(gibibytes=1.5, seconds=180.0):
    """Prints the longest wait of each window."""
    memory_mib = int(gibibytes * 1024)
    with Stayd(sessions={"memory": f"{memory_mib}M"}) as stayd:
        writer = stayd.connect("sessions")
        sets = SteadySets(writer, memory_mib, EXPIRY_S)
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            with Bystander(stayd.socket("cache")) as other:
                sets.run(WINDOW_S)
            stats = writer.stats()
            print(f"{time.monotonic() - began:4.0f} s: {int(stats['bytes']) / (memory_mib << 20):4.0%} "
                  f"live, the longest wait {other.longest * 1000:.1f} ms, "
                  f"sets refused {stats['store_no_memory']}", flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:3]))
