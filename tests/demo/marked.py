"""The demo as a process. All processes that it starts are marked, so that a test can find them."""

import os
import uuid
from pathlib import Path

TREE_DIR = Path(__file__).resolve().parents[2]
DEMO_DIR = TREE_DIR / "examples" / "demo"
MARK = "STAYD_DEMO_TEST"


class Marked:
    """An environment with a mark. Every process that the demo starts inherits the mark."""

    def __init__(self):
        self.value = uuid.uuid4().hex
        path = os.pathsep.join(
            part for part in (str(TREE_DIR / "build" / "python"), os.environ.get("PYTHONPATH")) if part
        )
        self.environ = {**os.environ, MARK: self.value, "PYTHONPATH": path}

    def processes(self):
        """Returns {process id: command line} of what runs with the mark."""
        found = {}
        wanted = f"{MARK}={self.value}".encode()
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # it has ended, or is another user's
        return found
