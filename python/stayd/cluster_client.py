"""ClusterClient: a client of one clustered pool, of which each host has all items.

Requests go to the first host, the one on this machine, and to another host while the first is away:

    here --- refused, no answer, cut off from its cluster, or it has not caught up ---> away
    away --- the pause is over ---> one request asks it for its state --- it can serve ---> here
                                                                     \\--- it cannot ---> a longer pause

A write goes to the next host only if it certainly was not carried out. If that is not known, the
caller gets OutcomeUnknown, as from one host, and further requests go to the next host. A read goes to
the next host after any failure.

The hosts agree within milliseconds, and on the CAS numbers at once: a `cas` on one host with a number
from another is right. So a host may not have yet what another has just stored, such as the session of a
login whose next page another host serves: `gets_confirmed` is for that. Only the first host is read
through memory that its daemon shares, and only while it is not away.
"""

import dataclasses
import logging
import time
from time import monotonic

from stayd.client import Client
from stayd.errors import ConnectionError, Error, OutcomeUnknown

READ_TIMEOUT_S = 2.0
"""A daemon reads from its memory. If it takes longer than this, it stands still."""

ASK_TIMEOUT_S = 0.5
"""For asking a host whether it can serve again: a request waits for this, with a visitor behind it."""

UNCONFIRMED_S = 5.0
"""After a cluster has not said whether it has an item: for so long, that host is not asked again."""

NO_NUMBER = 1 << 63
"""A CAS number that no item has: numbers are positions in a log."""

PAUSE_MIN_S = 1.0
PAUSE_MAX_S = 10.0
"""How long a host is left alone. A restart takes about as long as the first pause."""

ALL_AWAY_PAUSE_S = 0.05
"""While all hosts refuse: the pause between two tries."""

logger = logging.getLogger("stayd")


class _Host:
    """One host. `reads`, `writes` and `asks` are clients of the same pool with their own time limits.
    (With one client, a read would wait as long as a write may take.)"""

    __slots__ = ("asks", "failures", "reads", "unconfirmed_until_s", "until_s", "url", "writes")

    def __init__(self, address, connect_timeout_s, timeout_s, options):
        address = dataclasses.replace(address, cluster=False)  # for Client: one host

        def client(limit_s):
            return Client(
                address, connect_timeout_s=min(connect_timeout_s, limit_s),
                timeout_s=min(timeout_s, limit_s), restart_wait_s=0, **options
            )

        self.url = address.url
        self.reads, self.writes = client(READ_TIMEOUT_S), client(timeout_s)
        self.asks = client(ASK_TIMEOUT_S)
        self.unconfirmed_until_s = 0.0
        self.failures = 0
        self.until_s = 0.0
        """The end of the pause (monotonic); 0: the host is not away."""

    def has_after_all(self, key):
        """Asks the cluster for a key that the host may not have yet: True if the host has it now. A `cas`
        that must fail: before the daemon replies, its copy has all that was acknowledged before. It
        changes nothing, so another host may be asked if the connection breaks."""
        if monotonic() < self.unconfirmed_until_s:
            raise ConnectionError(f"the cluster of {self.url} did not reply to the last request.")
        try:
            return self.writes.cas(key, b"", NO_NUMBER) is False
        except OutcomeUnknown as error:
            if error.timed_out:
                self.unconfirmed_until_s = monotonic() + UNCONFIRMED_S
                raise
            raise ConnectionError(str(error)) from error

    def leave(self, error):
        """The host did not serve a request."""
        if self.until_s == 0.0:
            logger.warning("%s is left for another host of its cluster: %s", self.url, error)
        self.failures += 1
        pause_s = min(PAUSE_MIN_S * 2 ** min(self.failures - 1, 16), PAUSE_MAX_S)
        self.until_s = monotonic() + pause_s

    def is_away(self):
        """Whether requests should leave the host out. At the end of a pause, the calling thread asks
        the host; others go on without it meanwhile. (Two threads may ask at once: no lock, because
        a thread of the parent could hold one across a fork.)"""
        until_s = self.until_s
        if until_s == 0.0:
            return False
        now_s = monotonic()
        if now_s < until_s:
            return True
        self.until_s = now_s + PAUSE_MAX_S
        try:
            reason = _why_not(self.asks.stats())
        except Error as error:
            reason = error
        if reason is not None:
            self.leave(reason)
            return True
        logger.warning("%s is used again", self.url)
        self.failures, self.until_s = 0, 0.0
        return False


def _why_not(stats):
    """Why a daemon with these statistics should not serve; None if it may."""
    if stats.get("cluster_connected", 1) == 0:
        return "it has no connection to its cluster"
    if stats.get("cluster_caught_up") != stats.get("cluster_partitions"):
        return "it has not caught up with its cluster"
    return None


class ClusterClient(Client):
    """See stayd.Client. `max_connections` is for reads and for writes, on each host."""

    def __init__(self, url, *, connect_timeout_s=None, timeout_s=None, restart_wait_s=None,
                 **options):
        super().__init__(
            url, connect_timeout_s=connect_timeout_s, timeout_s=timeout_s,
            restart_wait_s=restart_wait_s, idle_timeout_s=options.get("idle_timeout_s"),
        )
        self._hosts = [
            _Host(member, self._connect_timeout_s, self._timeout_s, options)
            for member in self.address.members
        ]
        self._first = self._hosts[0]
        self._all_away_s = 0.0
        """Since when no host has served (monotonic); 0: one has."""
        self.backend = self._first.reads.backend

    def get(self, key, default=None):
        return self._read("get", key, default)

    def get_mapped(self, key, default=None):
        first = self._first
        return default if first.until_s else first.reads.get_mapped(key, default)

    def get_session(self, packing, scan, session_key):
        """See stayd._client.Transport. Only with the native back end."""
        first = self._first
        return None if first.until_s else first.reads.get_session(packing, scan, session_key)

    def gets(self, key):
        return self._read("gets", key)

    def gets_confirmed(self, key, beginning=None):
        def request(host):
            found = host.reads.gets(key)
            if (found[1] is None or found[0] == beginning) and host.has_after_all(key):
                found = host.reads.gets(key)
            return found

        try:
            return self._ask(request)
        except OutcomeUnknown as error:
            raise ConnectionError(
                f"the host does not have {key!r}, and its cluster did not say whether another has: {error}"
            ) from error

    def get_many(self, keys):
        return self._read("get_many", list(keys))

    def set(self, key, value, ttl_s=None):
        self._write("set", key, value, ttl_s)

    def set_many(self, values, ttl_s=None):
        return self._write_batch("set_many", values, ttl_s)

    def add(self, key, value, ttl_s=None):
        return self._write("add", key, value, ttl_s)

    def replace(self, key, value, ttl_s=None):
        return self._write("replace", key, value, ttl_s)

    def cas(self, key, value, number, ttl_s=None):
        return self._write("cas", key, value, number, ttl_s)

    def touch(self, key, ttl_s=None):
        return self._write("touch", key, ttl_s)

    def delete(self, key):
        return self._write("delete", key)

    def delete_many(self, keys):
        self._write_batch("delete_many", list(keys))

    def incr(self, key, delta=1):
        return self._write("incr", key, delta)

    def flush(self):
        self._write("flush")

    def stats(self, *groups):
        return self._read("stats", *groups)

    def version(self):
        return self._read("version")

    def close(self):
        for host in self._hosts:
            for client in (host.reads, host.writes, host.asks):
                client.close()

    def _in_order(self):
        """The hosts in the order in which to try them: those that are away come last."""
        away = []
        for host in self._hosts:
            if host.until_s and host.is_away():
                away.append(host)
            else:
                yield host
        yield from away

    def _read(self, command, *arguments):
        return self._ask(lambda host: getattr(host.reads, command)(*arguments))

    def _write(self, command, *arguments):
        return self._ask(lambda host: getattr(host.writes, command)(*arguments))

    def _ask(self, request):
        """The result of the first host that serves the request."""
        while True:
            failure = None
            for host in self._in_order():
                try:
                    result = request(host)
                except OutcomeUnknown as error:
                    host.leave(error)
                    raise
                except ConnectionError as error:
                    host.leave(error)
                    failure = failure or error
                    continue
                if self._all_away_s:
                    self._all_away_s = 0.0
                return result
            self._wait_for_any(failure)

    def _wait_for_any(self, failure):
        """After all hosts have failed: a pause, or the error. As with one host, requests wait for a
        restart only in the first `restart_wait_s` of an outage."""
        now_s = monotonic()
        if not self._all_away_s:
            self._all_away_s = now_s
        if now_s - self._all_away_s >= self._restart_wait_s:
            raise ConnectionError(
                f"no host of the clustered pool can be reached. Of the first: {failure}"
            ) from failure
        time.sleep(ALL_AWAY_PAUSE_S)

    def _write_batch(self, command, *arguments):
        """A request of many commands, a part of which may have been carried out when its connection
        breaks. So a host is chosen first, with a request that only reads."""

        def choose(host):
            host.writes.version()
            return host

        chosen = self._ask(choose)
        try:
            return getattr(chosen.writes, command)(*arguments)
        except OutcomeUnknown as error:
            chosen.leave(error)
            raise
        except ConnectionError as error:
            chosen.leave(error)
            raise OutcomeUnknown(
                f"{error} A part of {command!r} may have been carried out; it was not sent again."
            ) from error
