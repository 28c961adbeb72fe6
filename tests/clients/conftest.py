"""What each client is run on: memcached, and both pools of stayd."""

import pytest

from support.servers import Memcached, Stayd


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
    server.connect(pool).ask(b"flush_all\r\n", b"OK\r\n")
    return server, pool
