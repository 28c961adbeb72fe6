"""The process's clients: one for each pool.

Django makes a cache object for every thread and a session store for every request, so this module
keeps the clients, which hold the connections, by address and options.
"""

import functools

from stayd.client import Client


@functools.cache
def shared_client(address, **options):
    """The Client of an Address (or URL) with these options, all of which must be hashable."""
    return Client(address, **options)
