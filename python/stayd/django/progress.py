"""A progress bar on a terminal: tqdm's if it is installed, else a plain line."""

import sys
import time
from typing import Any, Optional

EVERY_S = 0.2


class Progress:
    """Shows how many of `total` (None: not known) are done. Shows nothing if `stream` is no terminal."""

    def __init__(self, total: Optional[int], unit: str, stream: Any = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._total, self._unit, self._done = total, unit, 0
        self._shown_at = self._began = time.monotonic()
        self._bar: Any = None
        self._shows = bool(getattr(self._stream, "isatty", lambda: False)())
        if self._shows:
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=total, unit=f" {unit}", file=self._stream)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._shows:
            self._show()
            self._stream.write("\n")

    def advance(self, count: int) -> None:
        """Counts `count` more as done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._shows and time.monotonic() - self._shown_at >= EVERY_S:
            self._show()

    def _show(self):
        self._shown_at = time.monotonic()
        of = "" if self._total is None else f" of {self._total:,}"
        rate = self._done / max(self._shown_at - self._began, 0.001)
        self._stream.write(f"\r{self._done:,}{of} {self._unit}, {rate:,.0f} a second ")
        self._stream.flush()
