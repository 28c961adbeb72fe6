"""Limits how often the same fault is logged: a busy site may meet it thousands of times a second."""

import time

EVERY_S = 10.0


class Reports:
    """When each report was last made. A race between threads may make one report more."""

    def __init__(self) -> None:
        self._made_s: dict[str, float] = {}

    def is_due(self, what: str = "") -> bool:
        """True if this report was not made in the last EVERY_S seconds; it then counts as made now."""
        now_s = time.monotonic()
        if now_s - self._made_s.get(what, -EVERY_S) < EVERY_S:
            return False
        self._made_s[what] = now_s
        return True
