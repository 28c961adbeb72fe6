"""A client that is not involved in what a test does to the daemon; measures how long it waits.

    idle = bystander.longest_wait(stayd.socket("sessions"))
    with Bystander(stayd.socket("sessions")) as other:
        ...                                    # other clients attack
    other.expect_undisturbed(idle)

The bystander is a process of its own that sends one request at a time, so neither the test's work nor
its interpreter's lock adds to the measured times. Its waits are compared with its longest wait on an
idle daemon, measured on the same machine a moment before.
"""

import subprocess
import sys
import time

_PROGRAM = """
import select, socket, sys, time
connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
connection.connect(sys.argv[1])
request, end = (b"mn\\r\\n", b"MN\\r\\n") if len(sys.argv) == 2 else (
    b"get %b\\r\\n" % sys.argv[2].encode(), b"END\\r\\n")
PAUSE = 0.001
longest = overslept = 0.0
count = 0
while True:
    began = time.monotonic()
    if select.select([sys.stdin], [], [], PAUSE)[0]:
        break
    overslept = max(overslept, time.monotonic() - began - PAUSE)
    began = time.monotonic()
    connection.sendall(request)
    reply = b""
    while not reply.endswith(end):
        piece = connection.recv(100)
        if not piece:
            sys.exit("the daemon has closed the bystander's connection")
        reply += piece
    longest = max(longest, time.monotonic() - began)
    count += 1
    if count == 1:
        print("ready", flush=True)
print(longest, overslept)
"""

MARGIN = 0.5
"""Seconds that a busy machine may add. The faults that these tests look for cause waits of several
seconds."""


def _slowness():
    """The factor by which other processes slow down this machine at present."""
    began, spent = time.monotonic(), time.thread_time()
    while time.thread_time() < spent + 0.03:
        pass
    return max(1.0, (time.monotonic() - began) / 0.03)


def most_wait(idle, margin=MARGIN):
    """The longest wait that an undisturbed client may have: a multiple of the wait on an idle daemon
    (`idle`), and the time that the machine may add."""
    return (5 * idle + margin) * _slowness()


class Bystander:
    """Sends requests from the beginning of the `with` to its end. Afterwards `longest` is the longest wait
    in seconds. `overslept` is the longest time by which a pause of the bystander itself was too long:
    for so long the machine ran something else, whatever the daemon did."""

    def __init__(self, path, key=None):
        """Sends requests for `key` to this Unix socket; None: sends mn."""
        self._arguments = [str(path)] + ([key.decode()] if key is not None else [])
        self._process = None
        self.longest = self.overslept = None

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", _PROGRAM, *self._arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, kind, *_):
        try:
            output, _ = self._process.communicate(timeout=120)
            if kind is None:
                assert self._process.returncode == 0, "the bystander was not served"
                self.longest, self.overslept = map(float, output.split())
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def is_undisturbed(self, idle):
        """Whether no wait was longer than `idle` and the time that the machine may add."""
        return self.longest <= most_wait(idle) + 2 * self.overslept

    def expect_undisturbed(self, idle):
        """Fails if a wait was longer than `idle` and the time that the machine may add."""
        assert self.is_undisturbed(idle), (
            f"a bystander waited for {self.longest:.3f} s; while nobody did anything, {idle:.3f} s; "
            f"a pause of its own was {self.overslept:.3f} s too long"
        )


def longest_wait(path, seconds=0.3, key=None):
    """The longest wait of a bystander at this Unix socket while there are no other requests."""
    with Bystander(path, key) as alone:
        time.sleep(seconds)  # how long it measures, not a wait for a condition
    return alone.longest


def expect_undisturbed_by(work, path, times=3):
    """Fails if each of `times` calls of `work()` disturbs a bystander at this Unix socket. A single
    disturbance may come from another process of this machine."""
    found = []
    for _ in range(times):
        idle = longest_wait(path)
        with Bystander(path) as other:
            work()
        if other.is_undisturbed(idle):
            return
        found.append(f"{other.longest:.3f} s; idle: {idle:.3f} s")
    raise AssertionError(f"a bystander waited for {found}")
