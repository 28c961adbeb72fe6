"""The bookshop's settings, on each of its stores."""

import os
import subprocess
import sys

import pytest

from marked import TREE_DIR

SITE_DIR = TREE_DIR / "examples" / "site"


def manage(command, store):
    """Runs a command of manage.py with this store; returns the finished process."""
    environ = {**os.environ, "PYTHONPATH": str(TREE_DIR / "build" / "python"), "SITE_STORE": store}
    if store != "stayd":
        environ.update(SITE_CACHE="127.0.0.1:1", SITE_SESSION_CACHE="127.0.0.1:2")
    arguments = [sys.executable, "-B", SITE_DIR / "manage.py", command]
    return subprocess.run(arguments, env=environ, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "store",
    [
        "stayd",
        "one_memcached",
        "two_memcacheds",
        "two_memcacheds_pymemcache",
        "database",
        "cached_database",
    ],
)
def test_django_finds_nothing_wrong_with_the_settings(store):
    done = manage("check", store)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_an_unknown_store_is_refused_with_the_names_of_those_that_there_are():
    # Not "check": without settings, Django runs its checks all the same, in an order that varies.
    # The first may fail because no model is loaded.
    done = manage("diffsettings", "postcards")
    assert done.returncode != 0
    assert "'postcards'" in done.stderr
    assert "stayd, one_memcached, two_memcacheds" in done.stderr
