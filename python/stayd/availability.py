"""Whether this process can reach a daemon. In an outage, only the first request waits for its
timeout, or the first two if the daemon does not reply; later requests fail at once. (Requests that
run at the same time do not know of each other, so each of them waits.)

    up --- refused ---> waiting for a restart --- restart_wait_s over ---> down
    up --- no connection, or two requests without an answer ---> down
    down --- the pause is over ---> one request tries (a probe) --- it fails ---> down, for longer
    any state --- any answer ---> up

During a restart, every request waits and tries again, so a restart is a pause. While the daemon is
down, requests fail without a try. The first pause is as long as the failed try, so that a machine
that does not reply at all is tried less often than a port that refuses.
"""

import threading
from time import monotonic
from typing import Optional

RETRY_MIN_S = 0.005
RETRY_MAX_S = 0.05
"""Limits of the time between two tries during a restart, which is a quarter of the time waited so far."""

PAUSE_MIN_S = 0.02
PAUSE_MAX_S = 10.0
PAUSE_MAX_REFUSED_S = 0.1
"""Limits of the pause. After a refused connect the pause is short, because such a connect costs
almost nothing and the daemon should be found again soon."""

SILENCES = 2
"""This many requests in a row without a reply are an outage. Just one may be due to a slow disk."""


class _Outage:
    """From the first failure to the next reply. Times are monotonic."""

    __slots__ = (
        "began_s", "restart_by_s", "failures", "silences", "counted_s", "until_s", "probe", "reason",
    )

    def __init__(self):
        self.began_s = 0.0
        self.restart_by_s: Optional[float] = None
        self.failures = self.silences = 0
        self.counted_s = self.until_s = 0.0
        self.probe: object = None
        self.reason = ""


class Availability:
    """The state of one daemon. Any thread may call any method. No thread holds the lock while it
    waits.

    `outage` is None while the daemon is up: a request then needs to check nothing else.
    """

    def __init__(self, restart_wait_s, probe_limit_s):
        """`probe_limit_s`: a probe that has not ended after this time no longer counts."""
        self.outage = None
        self._restart_wait_s = restart_wait_s
        self._probe_limit_s = probe_limit_s
        self._lock = threading.Lock()

    def find_reason_to_fail(self, request):
        """Why a request must fail without a try; None if it may try. In an outage, the request that
        may try is the probe. It must call answered, failed, note_silence or release_probe.
        `request`: an object that stands for the request."""
        with self._lock:
            outage = self.outage
            if outage is None or outage.failures == 0:
                return None
            now_s = monotonic()
            if now_s < outage.until_s:
                return outage.reason
            outage.until_s, outage.probe = now_s + self._probe_limit_s, request
            return None

    def answered(self):
        """The daemon has replied, even if the reply is an error."""
        with self._lock:
            self.outage = None

    def release_probe(self, request):
        """The request ended without a result. If it is the probe, the next request may try."""
        with self._lock:
            outage = self.outage
            if outage is not None and request is not None and outage.probe is request:
                outage.until_s, outage.probe = 0.0, None

    def find_retry_pause(self, request_began_s):
        """After a refused connect: seconds until the next try; None if the caller must give up."""
        with self._lock:
            now_s = monotonic()
            outage = self.outage
            if outage is None or (
                # A wait of earlier requests, whose time was over before this request began. None of
                # them has reported a failure, because their threads were interrupted.
                outage.failures == 0
                and outage.restart_by_s is not None
                and outage.restart_by_s < request_began_s
            ):
                outage = self.outage = _Outage()
            if outage.restart_by_s is None:
                outage.began_s, outage.restart_by_s = now_s, now_s + self._restart_wait_s
            left_s = outage.restart_by_s - now_s
            if outage.failures > 0 or left_s <= 0:
                return None
            pause_s = max(RETRY_MIN_S, min(RETRY_MAX_S, (now_s - outage.began_s) / 4))
            return min(pause_s, left_s)

    def failed(self, try_began_s, reason, refused):
        """A try that began at `try_began_s` has ended without a connection."""
        with self._lock:
            outage = self._outage_to_count(try_began_s)
            if outage is not None:
                self._leave_alone(outage, try_began_s, reason, refused)

    def note_silence(self, try_began_s, answered_s, reason):
        """A request that began at `try_began_s` timed out. `answered_s`: the time of the latest
        reply to any request."""
        if answered_s > try_began_s:
            return  # the daemon answers other requests, so this is not an outage
        with self._lock:
            outage = self._outage_to_count(try_began_s)
            if outage is None:
                return
            outage.silences += 1
            outage.counted_s = monotonic()
            if outage.failures > 0 or outage.silences >= SILENCES:
                self._leave_alone(outage, try_began_s, reason, refused=False)

    def _outage_to_count(self, try_began_s):
        """The outage that a failed try belongs to; None if the try began before the last failure
        that was counted."""
        if self.outage is None:
            self.outage = _Outage()
        return self.outage if self.outage.counted_s <= try_began_s else None

    def _leave_alone(self, outage, try_began_s, reason, refused):
        now_s = monotonic()
        longest_s = PAUSE_MAX_REFUSED_S if refused else PAUSE_MAX_S
        pause_s = max(PAUSE_MIN_S, now_s - try_began_s) * 2 ** min(outage.failures, 16)
        outage.failures += 1
        outage.counted_s = now_s
        outage.until_s, outage.probe = now_s + min(pause_s, longest_s), None
        outage.reason = reason
