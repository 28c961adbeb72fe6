"""Runs stayd-load (bench/load.c) and stayd-reads (bench/reads.c)."""

import json
import subprocess

DEADLINE_S = 900


class LoadError(Exception):
    """A reply was wrong, or the run failed."""


def _flags(options):
    """The options of a program. Names have `_` instead of `-`; True stands for an option without a
    value."""
    names = {name: "--" + name.replace("_", "-") for name in options}
    return [
        names[name] if value is True else f"{names[name]}={value}"
        for name, value in options.items()
    ]


def _run(command, daemon):
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if done.returncode != 0:
        raise LoadError(
            f"{' '.join(command)} against {daemon.name} ended with status {done.returncode}\n"
            f"{done.stderr}{done.stdout}{daemon.log()}"
        )
    return json.loads(done.stdout)


def run_load(binary, daemon, **options):
    """Runs the load generator against a daemon; returns its result as a dict.

    Options are those of `stayd-load --help`. Raises LoadError when a reply was wrong or the run
    broke off.
    """
    flags = _flags({"server": daemon.address, **daemon.load_options, **options})
    return _run([str(binary), *flags], daemon)


def run_reads(binary, daemon, library, url, **options):
    """Runs reads through a client library; returns their result as a dict.

    Options are those of `stayd-reads --help`. Raises LoadError when a value was wrong or the run
    broke off.
    """
    return _run([str(binary), *_flags({"library": library, "server": url, **options})], daemon)
