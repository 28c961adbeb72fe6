"""stayctl shows the progress of long commands on a terminal."""

import contextlib
import os
import pty
import subprocess

from support.servers import Stayd
from support.stayctl import STAYCTL, check, run


def on_terminal(*arguments):
    """What stayctl writes to a terminal, as bytes."""
    main, side = pty.openpty()
    process = subprocess.Popen([STAYCTL, *map(str, arguments)], stdout=side, stderr=side)
    os.close(side)
    output = b""
    with contextlib.suppress(OSError):  # EIO is the end of a terminal
        while piece := os.read(main, 65536):
            output += piece
    os.close(main)
    assert process.wait(60) == 0
    return output


def test_long_work_shows_how_far_it_is_on_a_terminal_and_is_quiet_elsewhere():
    with Stayd(sessions={"memory": "512M"}) as stayd:
        stayd.connect("sessions").set(b"k", b"v")
        stayd.terminate()
        path = stayd.data_file("sessions")
        output = on_terminal("check", path)
        assert b"\rcheck: " in output and b" of 512 MiB\x1b[K" in output
        assert output.count(b"\n") == len(check(path)[1].splitlines()), "it is one line, rewritten"
        done = run("check", path)
        assert done.stderr == b"" and b"\r" not in done.stdout
