"""The processes that the demo starts: daemons, web servers and helpers.

Each process writes to its own log file, and has a session of its own. So a Ctrl-C in the terminal
reaches only the demo, which then stops the processes in order. If the demo itself is killed, the
kernel sends SIGTERM to the processes (`setpriv --pdeathsig`), so that none of them stays. Only the
main thread starts processes, because the kernel sends that signal when the thread that started them
ends.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

LOG_LINES_SHOWN = 12
STOP_TIMEOUT_S = 5.0
START_TIMEOUT_S = 120.0  # long enough for a machine that is busy with other work
POLL_EVERY_S = 0.02
LOCK = "lock"  # the file in a folder that only one run may use


class CannotRun(Exception):
    """Something that the processes need is missing. The text says what to do."""


class ChildDied(Exception):
    """A process ended that should be running. The text shows its last log lines."""


def interrupt_when_told_to_end():
    """From now on SIGTERM and SIGHUP do what Ctrl-C does."""
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.default_int_handler)


@contextlib.contextmanager
def locked(folder, what):
    """Makes the folder if necessary, and keeps other runs out of it. `what`: the message if another
    run has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotRun(f"{what} {folder}") from None
        yield


def how_it_ended(returncode):
    """Says in words what a process's return code means."""
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with exit status {returncode}"


class Child:
    """One process, which can be started again after it has ended."""

    def __init__(self, name, command, log_path, environ=None):
        """
        name: what a person calls it, used in messages.
        command: the program and its arguments.
        log_path: the file that takes its output; it is appended to.
        environ: variables to set on top of the demo's own.
        """
        self.name = name
        self.command = [os.fspath(part) for part in command]
        self.log_path = Path(log_path)
        self.environ = environ or {}
        self.process = None

    def start(self, stdin=subprocess.DEVNULL, stdout=None):
        """Starts the process. stdin and stdout are as in subprocess; stdout is logged if None."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self.command],
                stdin=stdin,
                stdout=stdout or log,
                stderr=log,
                env={**os.environ, **self.environ},
                start_new_session=True,
            )

    @property
    def running(self):
        """Whether the process has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def check(self):
        """Raises ChildDied if the process has ended."""
        if not self.running:
            raise ChildDied(self.report())

    def report(self):
        """Says how the process ended, with the last lines of its log."""
        return f"{self.name} {how_it_ended(self.process.wait())}. {self.end_of_log()}"

    def end_of_log(self):
        """Returns the last lines of the log, headed by the file's name."""
        lines = self.log_path.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        told = "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"
        return f"The end of its log, {self.log_path}:\n{told}"

    def send(self, signal_number):
        """Sends a signal, unless the process has ended."""
        if self.running:
            self.process.send_signal(signal_number)

    def wait(self, timeout_s=STOP_TIMEOUT_S):
        """Waits until the process has ended; after timeout_s seconds it is killed."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Children:
    """All processes of the demo, in the order in which they were started."""

    def __init__(self):
        self.all = []

    def start(self, child, **how):
        """Starts a child and remembers it."""
        if child not in self.all:
            self.all.append(child)
        child.start(**how)
        return child

    def ended(self, patience_s):
        """Returns the children that have ended. If none has, waits for one for up to patience_s
        seconds."""
        deadline = time.monotonic() + patience_s
        while not (ended := [child for child in self.all if not child.running]):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        return ended

    def stop(self, children=None):
        """Stops the given children, or all of them: with SIGTERM, and if that does not help with
        SIGKILL."""
        stopping = list(reversed(self.all)) if children is None else list(children)
        for child in stopping:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in stopping:
            child.wait(max(0.1, deadline - time.monotonic()))
        self.all = [child for child in self.all if child not in stopping]

    def stop_for_good(self):
        """Stops all at the end of a run. No signal disturbs that."""
        for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signal_number, signal.SIG_IGN)
        self.stop()


def wait_until(condition, child, what, poll_every_s=POLL_EVERY_S):
    """Waits until condition() is true.

    Raises ChildDied if the child ends first or START_TIMEOUT_S seconds have passed.
    """
    begun = time.monotonic()
    while not condition():
        child.check()
        if time.monotonic() - begun > START_TIMEOUT_S:
            raise ChildDied(
                f"{child.name} did not {what} within {START_TIMEOUT_S:.0f} s: {child.log_path}"
            )
        time.sleep(poll_every_s)
