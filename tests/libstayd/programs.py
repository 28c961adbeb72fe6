"""The C programs beside this file, in the build folder of the daemon under test."""

import os
import pathlib
import subprocess

from support.servers import SANITIZER_MARKS, stayd_binary


def program(name):
    """Path of libstayd-NAME."""
    return str(pathlib.Path(stayd_binary()).parent / "tests" / "libstayd" / f"libstayd-{name}")


def is_sanitized():
    """Whether the programs were built with a sanitizer."""
    listing = subprocess.run(["nm", program("live")], capture_output=True, text=True, check=True)
    return any(name in listing.stdout for name in ("__asan_init", "__tsan_init"))


def run(name, *arguments, timeout=120, **environment):
    """Runs the program to its end. Fails if it reports an error."""
    done = subprocess.run(
        [program(name), *map(str, arguments)], timeout=timeout, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout
    assert not any(mark in done.stdout for mark in SANITIZER_MARKS), done.stdout
    return done.stdout


class Shell:
    """A client in a process of its own, told what to do line by line (shell.c)."""

    def __init__(self, servers, *options):
        self.process = subprocess.Popen(
            [program("shell"), servers, *options], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(30) == 0

    def begin(self, line):
        """Sends the command, and does not wait for the answer."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self):
        """The answer: status, milliseconds, timed_out, text."""
        status, ms, timed_out, text = self.process.stdout.readline().rstrip("\n").split(" ", 3)
        return int(status), int(ms), int(timed_out), text

    def ask(self, line):
        """Both."""
        self.begin(line)
        return self.end()

    def status(self, line):
        """The status alone."""
        return self.ask(line)[0]


OK, NOT_FOUND, NOT_STORED, EXISTS, NOT_MAPPED = range(5)
(INVALID, DISCONNECTED, OUTCOME_UNKNOWN, BUSY, LOGIN_REFUSED, REFUSED, FULL, TOO_LARGE,
 SERVER_ERROR, PROTOCOL, NO_MEMORY, INTERRUPTED, UNSUPPORTED) = range(16, 29)
