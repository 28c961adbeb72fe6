"""The servers that each client is tested with: memcached, and both pools of stayd."""

import pylibmc
import pytest

from support.servers import Memcached, Stayd

# Debian 13's pylibmc, on libmemcached 1.1, aborts when it reads an empty value, from any server.
EMPTY_VALUES = [b""] if pylibmc.libmemcached_version < "1.1" else []


@pytest.fixture
def empty_values():
    """The empty value, where pylibmc can read it."""
    return EMPTY_VALUES


@pytest.fixture(scope="module")
def servers():
    """One of each kind."""
    with Memcached() as memcached, Stayd() as stayd:
        yield {"memcached": (memcached, None), "cache": (stayd, "cache"),
               "sessions": (stayd, "sessions")}


@pytest.fixture(params=["memcached", "cache", "sessions"])
def server(request, servers):
    """A server and the name of a pool, which is empty."""
    server, pool = servers[request.param]
    with server.connect(pool) as connection:
        connection.ask(b"flush_all\r\n", b"OK\r\n")
    return server, pool
