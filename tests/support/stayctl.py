"""Runs stayctl to its end, and parses its output."""

import base64
import json
import pathlib
import subprocess

from support.servers import SANITIZER_MARKS, stayd_binary

STAYCTL = pathlib.Path(stayd_binary()).with_name("stayctl").resolve()

SMALL = {"memory": "16M", "item_max": "64K"}

SOUND, DAMAGED, UNUSABLE = 0, 1, 2
"""Exit statuses of `stayctl check`."""


def run(*arguments, **options):
    """Runs stayctl to its end; fails on a sanitizer's report."""
    command = [STAYCTL, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=120, **options)
    said = done.stderr if options.get("text") else done.stderr.decode(errors="replace")
    assert not any(mark in said for mark in SANITIZER_MARKS), said
    return done


def check(path):
    """Exit status and output of `stayctl check`."""
    done = run("check", path)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def dump(path):
    """The items of a pool file by key, as `stayctl dump` prints them."""
    done = run("dump", path)
    assert done.returncode == 0, done.stderr
    items = {}
    for line in done.stdout.splitlines():
        item = json.loads(line)
        for name in ("key", "value"):
            if name + "_base64" in item:
                item[name] = base64.b64decode(item.pop(name + "_base64"), validate=True)
            else:
                item[name] = item[name].encode()
        assert item["key"] not in items, f"{item['key']} is printed twice"
        items[item["key"]] = item
    return items


def values(items):
    """Only the values of what `dump` returns."""
    return {key: item["value"] for key, item in items.items()}


def backup(stayd, to, pool="sessions"):
    """Backs a pool up and fails if that does not succeed."""
    done = run("-c", stayd.config_path, "backup", pool, to)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr


def restore(stayd, path, *more):
    """Runs `stayctl restore` for the sessions pool."""
    return run("-c", stayd.config_path, "restore", path, "sessions", *more)


def seen_by_clients(connection, keys):
    """What clients see of each key, in the form of `dump`."""
    items = {}
    for key in keys:
        connection.send(b"mg %b v f t c b\r\n" % base64.b64encode(key))
        words = connection.read_line().split(b" ")
        if words[0] == b"EN":
            continue
        assert words[0] == b"VA"
        value = connection.read_exact(int(words[1]) + 2)[:-2]
        numbers = {word[:1]: int(word[1:]) for word in words[2:] if word[1:].lstrip(b"-").isdigit()}
        items[key] = {"key": key, "value": value, "flags": numbers[b"f"], "cas": numbers[b"c"],
                      "left": numbers[b"t"]}
    return items
