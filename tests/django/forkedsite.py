"""A WSGI application for servers that load it in one process and then fork. It uses its client
before the fork.

Environment: POOL_URL. `/` sets, counts and reads under keys of its own, and answers `PID` if all
was right.
"""

import itertools
import os

import stayd

client = stayd.Client(os.environ["POOL_URL"])
client.set("from the master".replace(" ", "-"), b"1")

numbers = itertools.count()


def work():
    """What one request does; an error's text, or None."""
    prefix = f"{os.getpid()}-{next(numbers)}"
    key, counter = f"key-{prefix}", f"counter-{prefix}"
    if client.add(key, prefix.encode()) is not True:
        return "add of a new key"
    client.set(counter, b"0")
    for count in range(1, 20):
        if client.get(key) != prefix.encode():
            return "get"
        if client.incr(counter) != count:
            return "incr"
        if client.replace(key, prefix.encode()) is not True:
            return "replace"
    return None if client.delete(key) else "delete"


def application(environ, start_response):
    """WSGI."""
    try:
        wrong = work()
    except Exception as error:
        wrong = repr(error)
    status = "500 Wrong" if wrong else "200 OK"
    start_response(status, [("Content-Type", "text/plain")])
    return [(wrong or str(os.getpid())).encode()]
