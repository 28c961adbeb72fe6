"""What all entries share: which programs, how many threads, how long, and where progress goes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from daemons import Memcached, Redis, Stayd
from loadgen import run_load


@dataclass(frozen=True)
class Bench:
    """Handed to each entry's `run`."""

    stayd_binary: Path
    memcached_binary: Path
    load_binary: Path
    peers: Path  # Debian's packages, unpacked: Redis is in there
    data: Path  # a folder on a disk
    threads: int
    quick: bool
    peer_twice: bool  # memcached on both sides: every ratio must come out at 1
    progress: Callable[[str], None]

    def under_test(self, memory_mb, persist=False):
        """A stayd with one pool, not yet started."""
        if self.peer_twice:
            return self.peer(memory_mb)
        return Stayd(self.stayd_binary, memory_mb, self.threads, persist)

    def persistent(self, memory_mb, fsync=None):
        """A stayd with a sessions pool whose file lies on the disk, not yet started."""
        return Stayd(
            self.stayd_binary, memory_mb, self.threads, True, fsync=fsync, on_disk=self.data
        )

    def redis(self, **settings):
        """A Redis with an append-only file on the disk, not yet started."""
        return Redis(self.peers, self.data, **settings)

    def peer(self, memory_mb):
        """A memcached, not yet started."""
        return Memcached(self.memcached_binary, memory_mb, self.threads)

    def load(self, daemon, **options):
        """Runs stayd-load; see run_load."""
        return run_load(self.load_binary, daemon, **options)
