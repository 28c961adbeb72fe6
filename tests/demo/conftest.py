"""Shared by the tests of the demo: its modules on the path, and an environment that marks its
processes."""

import os
import signal
import sys

import pytest

from marked import DEMO_DIR, Marked

sys.path.insert(0, str(DEMO_DIR))

# A shell that starts the tests in the background has SIGINT ignored, and what they start inherits
# that: Ctrl-C would not end the demo.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def marked():
    """An environment for the demo; the test fails if a process that has it is left at the end."""
    environment = Marked()
    yield environment
    left = environment.processes()
    for process_id in left:
        os.kill(process_id, signal.SIGKILL)
    assert not left
