"""What `make bench` measures: one module each, with a function `run(bench) -> Result`, and ROWS, the
names of the rows of that result, which docs/performance.md shows."""

from dataclasses import dataclass
from typing import Callable

from . import (
    bystander,
    compaction,
    connections,
    cpu,
    django_resident,
    django_sessions,
    fsync,
    hit_ratio,
    mapped_misses,
    reads,
    resident,
    restart,
)


@dataclass(frozen=True)
class Entry:
    """One of the benchmarks. `needs` are the programs that it starts, by their names in Bench;
    `against_memcached`: --peer-twice can run it with memcached on both sides."""

    run: Callable
    rows: tuple
    needs: tuple = ("load", "memcached")
    against_memcached: bool = False


ENTRIES = {
    "django-sessions": Entry(django_sessions.run, django_sessions.ROWS, ("memcached", "redis")),
    "reads": Entry(reads.run, reads.ROWS, ("memcached", "reads")),
    "cpu": Entry(cpu.run, cpu.ROWS, against_memcached=True),
    "connections": Entry(connections.run, connections.ROWS, against_memcached=True),
    "resident": Entry(resident.run, resident.ROWS, against_memcached=True),
    "django-resident": Entry(django_resident.run, django_resident.ROWS, against_memcached=True),
    "hit-ratio": Entry(hit_ratio.run, hit_ratio.ROWS, against_memcached=True),
    "mapped-misses": Entry(mapped_misses.run, mapped_misses.ROWS, ("reads",)),
    "restart": Entry(restart.run, restart.ROWS, ("load", "redis")),
    "fsync": Entry(fsync.run, fsync.ROWS, ("load", "redis")),
    "compaction": Entry(compaction.run, compaction.ROWS, ("load",)),
    "bystander": Entry(bystander.run, bystander.ROWS, ()),
}


class UnknownRows(RuntimeError):
    """An entry wrote other rows than its ROWS: a fault of the benchmark."""


def check_rows(name, result):
    """Raises UnknownRows unless the result's rows are those of ROWS, in order. Rows may be missing
    if the machine has no room or no means for them."""
    known = iter(ENTRIES[name].rows)
    for row in result.rows:
        if row.work not in known:
            raise UnknownRows(f"{name} wrote a row {row.work!r}, which is not in its ROWS there")
