"""Free loopback ports that no other test process, in this checkout or another, can hand out as well.

A process reserves a block of ports for as long as it lives, and hands them out in turn. The reservation
is an abstract Unix socket with the block's number in its name: the kernel allows one such name in a
network namespace, as it allows one such port, and frees the name when the process ends, however it
ends. The blocks lie below the kernel's ephemeral range. So no outgoing connection takes a port between
this module's check and the server's bind, or while a server restarts.
"""

import itertools
import os
import random
import socket

FIRST, BLOCK, BLOCKS = 10240, 200, 100

_ports = None
_owner = None
_reservation = None
_privileged = []


class NoPortsError(Exception):
    """All blocks are reserved: about a hundred test processes run on this machine."""


def _reserve():
    """Reserves a block: returns its first port."""
    global _reservation
    numbers = list(range(BLOCKS))
    random.SystemRandom().shuffle(numbers)
    for number in numbers:
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0stayd-test-ports-{number}")
        except OSError:
            lock.close()
            continue
        _reservation = lock
        return FIRST + number * BLOCK
    raise NoPortsError


def is_free(port):
    """Whether nothing listens on this loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def is_listened_to(port):
    """Whether something on this loopback port takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    """A loopback TCP port that nothing listens on, and that no other test process is given."""
    global _ports, _owner
    if _owner != os.getpid():  # the first call in this process, or in a child that was forked later
        first = _reserve()
        _ports = itertools.cycle(range(first, first + BLOCK))
        _owner = os.getpid()
    return next(port for port in _ports if is_free(port))


def privileged_port():
    """A port that only root may listen on; no other test process gets it while this process lives."""
    for port in random.SystemRandom().sample(range(700, 1000), 300):
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lock.bind(f"\0stayd-test-port-{port}")
        except OSError:
            lock.close()
            continue
        if is_free(port):
            _privileged.append(lock)
            return port
        lock.close()
    raise NoPortsError
