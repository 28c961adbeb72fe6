"""Clients of other languages: each is a program in programs/ that is told where a server is, checks
by itself, and ends with 0. On memcached first, so that what is asked for is what clients know."""

import pathlib
import subprocess

import pytest

from support.servers import Memcached, Stayd

PROGRAMS = pathlib.Path(__file__).parent / "programs"
RUNS = {
    "dalli": ["ruby", "dalli.rb"],
    "Cache::Memcached": ["perl", "cache_memcached.pl"],
    "Memcached::libmemcached": ["perl", "libmemcached.pl"],
    "PHP memcached, text": ["php", "memcached.php", "text"],
    "PHP memcached, binary": ["php", "memcached.php", "binary"],
}


@pytest.fixture(scope="module")
def servers():
    """One of each kind."""
    with Memcached() as memcached, Stayd() as stayd:
        yield {"memcached": (memcached, None), "cache": (stayd, "cache"),
               "sessions": (stayd, "sessions")}


@pytest.mark.parametrize("kind", ["memcached", "cache", "sessions"])
@pytest.mark.parametrize("client", RUNS)
def test_a_client_gets_what_it_expects(servers, client, kind):
    server, pool = servers[kind]
    server.connect(pool).ask(b"flush_all\r\n", b"OK\r\n")
    interpreter, program, *words = RUNS[client]
    done = subprocess.run(
        [interpreter, str(PROGRAMS / program), *server.address(pool).split(":"), *words],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("version "), done.stdout
