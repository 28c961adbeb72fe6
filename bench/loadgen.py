"""Runs stayd-load (bench/load.c)."""

import json
import subprocess

DEADLINE_S = 300


class LoadError(Exception):
    """A reply was wrong, or the run could not be made."""


def run_load(binary, daemon, **options):
    """Runs the load generator against a daemon; returns its result as a dict.

    Options are those of `stayd-load --help`, with `_` for `-` and True for one without a value.
    Raises LoadError when a reply was wrong or the run broke off.
    """
    command = [str(binary), f"--server={daemon.address}"]
    for name, value in {**daemon.load_options, **options}.items():
        flag = "--" + name.replace("_", "-")
        command.append(flag if value is True else f"{flag}={value}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if done.returncode != 0:
        raise LoadError(
            f"{' '.join(command)} against {daemon.name} ended with status {done.returncode}\n"
            f"{done.stderr}{done.stdout}{daemon.log()}"
        )
    return json.loads(done.stdout)
