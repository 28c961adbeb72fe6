"""The settings that all entries share: programs, threads, duration, and the output of progress."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from daemons import Memcached, Redis, Stayd
from loadgen import run_load, run_reads

SIZES = ("full", "quick", "tiny")


@dataclass(frozen=True)
class Bench:
    """Handed to each entry's `run`."""

    stayd_binary: Path
    load_binary: Path
    reads_binary: Path
    peers: Path  # Debian's packages, unpacked: memcached and Redis are in there
    data: Path  # a folder on a disk
    threads: int
    size: str  # one of SIZES; tiny is for the tests of the benchmark itself
    peer_twice: bool  # memcached on both sides: every ratio must be about 1
    progress: Callable[[str], None]

    @property
    def memcached_binary(self):
        """Debian's memcached."""
        return self.peers / "usr/bin/memcached"

    @property
    def redis_binary(self):
        """Debian's Redis."""
        return self.peers / "usr/bin/redis-server"

    def pick(self, full, quick, tiny):
        """The value for this run's size."""
        return {"full": full, "quick": quick, "tiny": tiny}[self.size]

    @property
    def still_s(self):
        """Memory is read when it has not changed for this long."""
        return self.pick(1, 1, 0.1)

    def under_test(self, memory_mb, persist=False, **settings):
        """A stayd with one pool, not yet started."""
        if self.peer_twice:
            return self.peer(memory_mb, **settings)
        return Stayd(self.stayd_binary, memory_mb, self.threads, persist, **settings)

    def persistent(self, memory_mb, fsync=None):
        """A stayd with a sessions pool whose file is on the disk, not yet started."""
        return Stayd(
            self.stayd_binary, memory_mb, self.threads, True, fsync=fsync, on_disk=self.data
        )

    def redis(self, **settings):
        """A Redis with an append-only file on the disk, not yet started."""
        return Redis(self.peers, self.data, **settings)

    def peer(self, memory_mb, **settings):
        """A memcached, not yet started."""
        return Memcached(self.memcached_binary, memory_mb, self.threads, **settings)

    def load(self, daemon, **options):
        """Runs stayd-load; see run_load."""
        return run_load(self.load_binary, daemon, **options)

    def reads(self, daemon, library, url, **options):
        """Runs stayd-reads; see run_reads."""
        return run_reads(self.reads_binary, daemon, library, url, **options)
