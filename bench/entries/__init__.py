"""What `make bench` measures: one module each, with one function `run(bench) -> Result`."""

from . import cpu, django_resident, hit_ratio, resident

ENTRIES = {
    "cpu": cpu.run,
    "resident": resident.run,
    "django-resident": django_resident.run,
    "hit-ratio": hit_ratio.run,
}
