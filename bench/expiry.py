#!/usr/bin/env python3
"""Measures how long a client of the cache pool waits while a large sessions pool is written
steadily and its items expire: 1.5 GiB, expiry after 30 to 90 s, 60 % of the pool live.

    PYTHONPATH=tests build/venv/bin/python bench/expiry.py [GIB [SECONDS]]

Prints a line every 15 s. The first lines, while the pool fills and the janitor has nothing to do,
show the waits that the machine itself causes.
"""

import random
import sys
import time

from support import bystander
from support.servers import Stayd

VALUE = b"x" * 1000
RECORD_BYTES = len(VALUE) + 40
LIVE, EXPIRY_S = 0.6, (30, 90)
WINDOW_S = 15


def main(gibibytes=1.5, seconds=180.0):
    """Writes at the rate that keeps 60 % of the pool live."""
    memory_mib = int(gibibytes * 1024)
    rate = (memory_mib << 20) * LIVE / RECORD_BYTES / (sum(EXPIRY_S) / 2)
    with Stayd(sessions={"memory": f"{memory_mib}M"}) as stayd:
        writer = stayd.connect("sessions")
        began = time.monotonic()
        sent = 0
        while time.monotonic() < began + seconds:
            with bystander.Bystander(stayd.socket("cache")) as other:
                end = time.monotonic() + WINDOW_S
                while time.monotonic() < end:
                    due = int((time.monotonic() - began) * rate) - sent
                    if due < 1:
                        time.sleep(0.005)
                    batch = min(max(due, 0), 500)
                    writer.send(b"".join(
                        b"set k%d 0 %d %d noreply\r\n%b\r\n" % (
                            random.randrange(10**9), random.randrange(*EXPIRY_S), len(VALUE), VALUE)
                        for _ in range(batch)
                    ))
                    sent += batch
                writer.expect_in_step()
            stats = writer.stats()
            print(f"{time.monotonic() - began:4.0f} s: {int(stats['bytes']) / (memory_mib << 20):4.0%} "
                  f"live, the longest wait {other.longest * 1000:.1f} ms, "
                  f"sets refused {stats['store_no_memory']}", flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:3]))
