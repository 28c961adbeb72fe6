"""How often a fault is logged that a busy site runs into thousands of times a second."""

import time

EVERY_S = 10.0


class Reports:
    """When the same report was last made. A race between threads makes one more."""

    def __init__(self) -> None:
        self._made_s: dict[str, float] = {}

    def is_due(self, what: str = "") -> bool:
        """True if this report was not made in the last EVERY_S seconds; it then counts as made now."""
        now_s = time.monotonic()
        if now_s - self._made_s.get(what, -EVERY_S) < EVERY_S:
            return False
        self._made_s[what] = now_s
        return True
