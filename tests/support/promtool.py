"""Debian's prometheus and its promtool: scripts/setup test unpacks them."""

import shutil

import pytest

from support.servers import ROOT


def promtool(name="promtool"):
    """Path of promtool, or of prometheus itself; skips the test where it is not."""
    unpacked = ROOT / "build" / "peers" / "usr" / "bin" / name
    found = str(unpacked) if unpacked.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"{name} (of Debian's prometheus) is not there: scripts/setup test unpacks it")
    return found
