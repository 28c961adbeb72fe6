"""What `make bench` measures: one module each, with one function `run(bench) -> Result`."""

from . import compaction, cpu, django_resident, fsync, hit_ratio, resident, restart

ENTRIES = {
    "cpu": cpu.run,
    "resident": resident.run,
    "django-resident": django_resident.run,
    "hit-ratio": hit_ratio.run,
    "restart": restart.run,
    "fsync": fsync.run,
    "compaction": compaction.run,
}

# Those that --peer-twice can run with memcached on both sides.
AGAINST_MEMCACHED = ("cpu", "resident", "django-resident", "hit-ratio")
