"""libmemcached's own test of servers, memccapable, on memcached and on each pool of stayd."""

import concurrent.futures
import re
import shutil
import subprocess

import pytest

from support.servers import Memcached, Stayd

RESULT = re.compile(r"^((?:ascii|binary) [a-z ]*?)\s*\[(pass|FAIL|skip)\]$", re.MULTILINE)

TESTS = 54
MEMCACHED_PASSES = 52
"""The fewest tests that memcached passes: some of its 1.6 releases fail two tests, Debian's fails none."""

OUTDATED = {"ascii delete", "ascii delete noreply"}
"""memcached 1.6.45 fails these too: they expect `delete k 1` to be refused, but memcached accepts a
delay."""


def memccapable(port):
    """The names of the tests that the server passed, of those that it did not, and the output."""
    command = shutil.which("memccapable")
    assert command, "memccapable is missing: scripts/setup test installs it (libmemcached-tools)"
    run = subprocess.run([command, "-h", "127.0.0.1", "-p", str(port)],
                         capture_output=True, text=True, timeout=60, check=False)
    results = {}
    for names, result in RESULT.findall(run.stdout):
        *untold, name = re.split(" {2,}", names)  # it prints [FAIL] elsewhere
        results.update(dict.fromkeys(untold, "FAIL"), **{name: result})
    passed = {name for name, result in results.items() if result == "pass"}
    return passed, set(results) - passed, run.stdout + run.stderr


@pytest.fixture(scope="module")
def results():
    """What memccapable says of memcached and of each pool. All runs go in parallel, because a run mostly
    sleeps."""
    with Memcached() as memcached, Stayd() as stayd:
        ports = {"memcached": memcached.port()}
        ports |= {pool: stayd.port(pool) for pool in stayd.pool_names()}
        with concurrent.futures.ThreadPoolExecutor() as threads:
            yield dict(zip(ports, threads.map(memccapable, ports.values())))


def test_memcached_passes_as_many_as_it_is_known_to(results):
    passed, failed, output = results["memcached"]
    assert len(passed | failed) == TESTS, output
    assert len(passed) >= MEMCACHED_PASSES, output


@pytest.mark.parametrize("pool", ["cache", "sessions"])
def test_stayd_passes_what_memcached_passes(results, pool):
    passed, failed, output = results[pool]
    expected = results["memcached"][0]
    print(f"memcached passes {len(expected)} of {TESTS}, stayd {len(passed)}")
    assert len(passed | failed) == TESTS, output
    assert expected - passed <= OUTDATED and not passed & OUTDATED, output
