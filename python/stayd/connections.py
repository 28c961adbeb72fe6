"""The connections of one process to one pool, which are kept from request to request.

A request takes the connection that was used last. So connections that only a burst of requests
needed stay at the other end of the list, the oldest first. When a request ends, it closes the
connections at that end that have been idle for too long, so this needs no thread.
"""

import collections
import contextlib
import os
import threading
from time import monotonic
from typing import Any


class Connections:
    """Any thread may take a connection and give it back. Without a limit the lists need no lock,
    because each step is one atomic operation of a deque or a set. With a limit, a lock protects the
    list and the count of open connections. After a fork, a thread of the parent may have held that
    lock; so Client makes a new object in the child."""

    def __init__(self, new_connection, availability, max_connections, idle_timeout_s):
        """`max_connections` None: no limit; there are as many connections as requests at a time."""
        self.pid = os.getpid()
        self.availability = availability
        self.answered_s = 0.0
        """When the latest successful request ended (monotonic)."""
        self.successors: dict[int, Connections] = {}
        """By process id: the object that replaces this one in a child of a fork. See
        Client._connections_here."""
        self._new_connection = new_connection
        self._max_connections = max_connections
        self._idle_timeout_s = idle_timeout_s
        self._idle: collections.deque[Any] = collections.deque()
        self._taken: set[Any] = set()
        self._counting = threading.Lock()

    @property
    def idle_count(self):
        """Connections that are open and not in use."""
        return len(self._idle)

    def take(self, fresh=False):
        """A connection for one request, which must be given back or dropped; None if the limit is
        reached. `fresh`: a connection that no request has used yet."""
        if self._max_connections is None:
            return self._take(fresh)
        with self._counting:
            if len(self._taken) >= self._max_connections:
                return None
            if fresh and len(self._taken) + len(self._idle) >= self._max_connections:
                with contextlib.suppress(IndexError):  # `close` takes no lock, and may just have emptied it
                    self._idle.popleft().close()
            return self._take(fresh)

    def give_back(self, connection):
        """Takes back a connection after a request that was answered."""
        now_s = self.answered_s = connection.idle_since_s = monotonic()
        if self._max_connections is None:
            self._give_back(connection, now_s)
        else:
            with self._counting:
                self._give_back(connection, now_s)

    def drop(self, connection):
        """Closes a connection that has failed."""
        try:
            connection.close()
        finally:
            self._taken.discard(connection)

    def close(self):
        """Closes the connections that are not in use."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def abandon(self):
        """In a child of a fork: closes this process's descriptors of the parent's connections, and
        sends nothing."""
        for connection in [*self._idle, *self._taken]:
            connection.abandon()

    def _take(self, fresh):
        now_s = monotonic()
        connection = None
        while not fresh and connection is None:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if now_s - connection.idle_since_s > self._idle_timeout_s:
                connection.close()  # a firewall may have dropped the connection silently
                connection = None
        if connection is None:
            connection = self._new_connection()
        connection.taken_s = now_s
        self._taken.add(connection)
        return connection

    def _give_back(self, connection, now_s):
        self._taken.discard(connection)
        self._idle.append(connection)
        try:
            if now_s - self._idle[0].idle_since_s > self._idle_timeout_s:
                self._close_idle(now_s)
        except IndexError:
            pass  # other threads have taken all connections

    def _close_idle(self, now_s):
        while self._idle:
            try:
                connection = self._idle.popleft()
            except IndexError:
                return
            if now_s - connection.idle_since_s <= self._idle_timeout_s:
                self._idle.appendleft(connection)
                return
            connection.close()
