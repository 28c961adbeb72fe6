"""Clients in other languages. Each is a program in programs/ that gets a server's address, runs its
own checks, and exits with 0. It first runs on memcached, to prove that its checks are right."""

import pathlib
import subprocess

import pytest

PROGRAMS = pathlib.Path(__file__).parent / "programs"
RUNS = {
    "dalli": ["ruby", "dalli.rb"],
    "Cache::Memcached": ["perl", "cache_memcached.pl"],
    "Memcached::libmemcached": ["perl", "libmemcached.pl"],
    "PHP memcached, text": ["php", "memcached.php", "text"],
    "PHP memcached, binary": ["php", "memcached.php", "binary"],
}


@pytest.mark.parametrize("client", RUNS)
def test_a_client_gets_what_it_expects(server, client):
    server, pool = server
    interpreter, program, *words = RUNS[client]
    done = subprocess.run(
        [interpreter, str(PROGRAMS / program), *server.address(pool).split(":"), *words],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("version "), done.stdout
