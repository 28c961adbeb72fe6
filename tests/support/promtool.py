"""Debian's promtool, which comes with its prometheus: scripts/setup test unpacks it."""

import shutil

import pytest

from support.servers import ROOT


def promtool():
    """Path of promtool; skips the test where it is not."""
    unpacked = ROOT / "build" / "peers" / "usr" / "bin" / "promtool"
    found = str(unpacked) if unpacked.exists() else shutil.which("promtool")
    if not found:
        pytest.skip("promtool (Debian's prometheus) is not there: scripts/setup test unpacks it")
    return found
