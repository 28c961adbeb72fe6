"""One Client for each pool in a process, whoever uses it.

Django makes a cache object for every thread and a session store for every request, so the clients,
which hold the connections, are kept here, by address and options.
"""

import functools

from stayd.client import Client


@functools.cache
def shared_client(address, **options):
    """The Client of an Address (or URL) with these options, all of which must be hashable."""
    return Client(address, **options)
