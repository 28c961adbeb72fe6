"""The circumstances of a run: the machine, and the versions of all programs."""

import contextlib
import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {  # printed name: the name of the distribution
    "Django": "Django",
    "pylibmc": "pylibmc",
    "pymemcache": "pymemcache",
    "django-redis": "django-redis",
    "redis-py": "redis",
}


def first_line(*command):
    """The first line that a program prints about itself; "" if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return (done.stdout.splitlines() or [""])[0]


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit():
    described = first_line("git", "-C", str(ROOT), "describe", "--always", "--dirty")
    return f" ({described})" if described else ""


def versions(stayd, peers):
    """{name: version} of the servers and of the installed Python packages."""
    found = {
        "stayd": first_line(stayd, "--version").split()[1] + _commit(),
        "memcached": first_line(peers / "usr/bin/memcached", "-V").removeprefix("memcached "),
    }
    redis = first_line(peers / "usr/bin/redis-server", "--version").partition("v=")[2]
    if redis:
        found["Redis"] = redis.split()[0]
    found["Python"] = platform.python_version()
    for name, distribution in PACKAGES.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(distribution)
    return found


def describe(stayd, peers):
    """The machine, the versions and the time, as a dict for JSON."""
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "machine": f"{os.cpu_count()} cores of {_processor()}, {memory_gb:.0f} GB, "
        f"Linux {platform.release()}",
        "versions": versions(stayd, peers),
        "date": time.strftime("%Y-%m-%d"),
        "load_before": round(os.getloadavg()[0], 1),
    }


def cores(described):
    """The number of cores in a text of `describe`."""
    return int(described.partition(" ")[0])


def sentence(versions_found):
    """The versions in one line."""
    return ", ".join(f"{name} {version}" for name, version in versions_found.items())
