"""The clock of a daemon that a test sets: support/clock.c is preloaded into the daemon."""

import struct

from support import preload
from support.servers import wait_until


class Clock:
    """The wall clock and CLOCK_BOOTTIME of one daemon: `wall` and `boot` seconds later than the real
    clocks."""

    def __init__(self, path):
        self._path = path
        self.wall = self.boot = 0
        path.write_bytes(bytes(16))

    def environment(self):
        """The environment to start the daemon with; None if the daemon has a sanitizer (preload.library)."""
        library = preload.library("support/clock.c")
        if library is None:
            return None
        return {"LD_PRELOAD": str(library), "STAYD_CLOCK": str(self._path)}

    def step(self, seconds):
        """Sets the wall clock."""
        self.wall += seconds
        self._write()

    def sleep(self, seconds):
        """Pretends that the system was suspended for this time."""
        self.wall += seconds
        self.boot += seconds
        self._write()

    def _write(self):
        with open(self._path, "r+b") as file:
            file.write(struct.pack("<qq", self.wall, self.boot))


def let_the_janitor_pass(stayd, step):
    """Waits for two whole passes of the janitor. Each pass reads the clock first, and logs if the clock
    has stepped."""
    for seconds in (10, 20, 30):
        before = stayd.log.count("sessions: the system's clock has stepped")
        step(seconds)
        wait_until(lambda: stayd.log.count("sessions: the system's clock has stepped") > before)
