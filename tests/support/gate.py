"""A daemon on a disk that can be made to hang, to be slow or to fail: durability/gate.c."""

import contextlib
import os
import pathlib
import tempfile

from support import preload
from support.servers import Stayd


class Gate:
    """The disk under one daemon."""

    def __init__(self, folder):
        self._folder = pathlib.Path(folder)

    def shut(self):
        """From now on, a sync does not end."""
        (self._folder / "shut").touch()

    def open(self):
        """Lets the sync and all later ones end."""
        (self._folder / "shut").unlink(missing_ok=True)

    def slow(self, milliseconds):
        """From now on, a sync takes this long."""
        passing = self._folder / "slow.new"
        passing.write_text(str(milliseconds))
        passing.rename(self._folder / "slow")

    def fail(self):
        """From now on, a sync fails."""
        (self._folder / "broken").touch()

    def mend(self):
        """From now on, syncs work again."""
        for name in ("shut", "slow", "broken"):
            (self._folder / name).unlink(missing_ok=True)


ROOM_BYTES = 1 << 30
"""The most that the pools of several tests need at the same time."""


def memory_folder():
    """A folder in memory, where the machine has one with enough room; else None.

    The gate simulates the disk for these tests. On a real disk they would measure that disk too: a
    write into a mapped file waits for a busy disk.
    """
    with contextlib.suppress(OSError):
        status = os.statvfs("/dev/shm")
        if status.f_bavail * status.f_frsize >= ROOM_BYTES:
            return "/dev/shm"
    return None


@contextlib.contextmanager
def gated(**options):
    """A Stayd that is started with these options, and its gate. The gate is opened before the
    daemon ends."""
    library = preload.library("durability/gate.c")
    if library is None:
        import pytest  # is not there where only the benchmarks run

        pytest.skip("a sanitizer's library must be the first to be loaded")
    with tempfile.TemporaryDirectory(prefix="stayd-gate-") as folder:
        gate = Gate(folder)
        environment = {"LD_PRELOAD": str(library), "STAYD_GATE": folder}
        with Stayd(environment=environment, parent=memory_folder(), **options) as stayd:
            try:
                yield stayd, gate
            finally:
                gate.mend()
