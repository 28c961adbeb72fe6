"""The fault matrix: what a client sees of each action under each fault. fault_matrix.toml has the table.
The tests run it, and print_fault_matrix.py prints it into docs/operations.md.

A `Fault` makes the fault of one row with the real daemon on a real machine. `run_row` starts the
daemon, makes the fault, tries each column once, and reports what it saw in the words of the table:

    served          the right answer, no later than that of an idle daemon, plus the machine's delays
    waits           no answer while the fault lasts; the request is carried out once the fault is over
    refused: WORDS  an error that has WORDS: the reply, or the log of a daemon that does not start
    missing         the reply to a key that does not exist
    made, stops, starts   as `served`: a backup is made; the daemon stops at SIGTERM; it starts after a
                    clean stop and after SIGKILL, both while the fault lasts
    not possible: REASON  there is nothing to try

Text in parentheses after an answer is for the reader only. When the fault is over, the row ends with a
write that must be served, and with a check that everything that was acknowledged before or during the
fault is still there.
"""

import contextlib
import ctypes
import os
import pathlib
import subprocess
import tempfile
import threading
import time
import tomllib

import pytest

from support import preload
from support.bystander import Bystander, most_wait
from support.servers import ServerError, Stayd, stayd_binary, wait_until

TABLE = pathlib.Path(__file__).with_name("fault_matrix.toml")

COLUMNS = ("read", "update", "new_key", "delete", "flush", "backup", "other_pool", "stop", "start")

GLANCE = 0.4
"""A request without an answer after this many seconds counts as waiting. A request that must be served has
much more time, so that a busy machine never makes a test fail."""

MARGIN_S = 1.0
"""Seconds that a busy machine may delay a daemon's threads. The faults of the rows delay them by several
seconds."""

ITEMS = 40


def table():
    """The rows by name, in the order of the table. Each row is a dict of its columns and other keys."""
    rows = tomllib.loads(TABLE.read_text())["fault"]
    return {row["name"]: row for row in rows}


def answer_of(cell):
    """The cell, without the text in parentheses after the answer."""
    return cell.rpartition(" (")[0] if cell.endswith(")") else cell


def agrees(cell, seen):
    """Whether the result agrees with the cell."""
    answer = answer_of(cell)
    if answer.startswith("refused: "):
        words = answer.removeprefix("refused: ")
        return seen.startswith("refused: ") and words in seen
    return seen == answer


class Impossible(Exception):
    """This machine cannot make the fault; the message says why."""


class Fault:
    """The fault of one row. Subclasses name the row, and say how the fault begins and ends."""

    name = None
    sessions = {}
    cache = {}
    server = {}
    pools = {}
    value = b"v" * 1000
    grace_s = 0.0  # how much the fault itself may delay requests to its pool
    new_connections = True  # False: the honest clients connected before the fault

    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.folder = pathlib.Path(self.stack.enter_context(
            tempfile.TemporaryDirectory(prefix="stayd-fault-")))
        self.stayd = None

    def daemon(self):
        """The daemon of this row, before its start."""
        return Stayd(sessions={"memory": "16M", "item_max": "64K", **self.sessions},
                     cache={"memory": "16M", **self.cache}, server=self.server, pools=self.pools,
                     environment=self.environment())

    def environment(self):
        """Additional environment variables of the daemon."""
        return {}

    def before_start(self):
        """Prepares what must exist before the daemon starts."""

    def prepare(self):
        """Runs before the fault, while the daemon runs."""

    def inject(self):
        """Begins the fault. May be called again after `lift`."""

    def inject_for_start(self):
        """Begins the fault while no daemon runs."""
        self.inject()

    def lift(self):
        """Ends the fault."""

    def also(self):
        """Checks what else must hold during the fault; fails if it does not."""

    def delete_key(self):
        """A key that exists, for the column of deletes."""
        return b"k1"


def own_mounts():
    """Gives this thread, and the processes that it starts, a mount namespace of their own."""
    clone_newns = 0x00020000
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or libc.unshare(clone_newns) != 0:
        raise Impossible("this user may not mount anything")
    mount("--make-rprivate", "/")


def mount(*arguments):
    """Calls mount(8). If mount refuses, this machine cannot make the fault."""
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise Impossible(f"cannot mount here: {done.stderr.strip()}")


NO_PRELOAD = "a sanitizer's library must be the first to be loaded"


def preloaded(source):
    """The path of the library that is made of this file under tests/, to be preloaded into the daemon."""
    library = preload.library(source)
    if library is None:
        raise Impossible(NO_PRELOAD)
    return str(library)


class Probe:
    """One request of an honest client, on a connection of its own."""

    def __init__(self, connection, request, reply, missing=None):
        self._connection = connection
        self._request = request
        self._reply = reply
        self._missing = missing
        self.seconds = 0.0

    def await_accept(self):
        """Waits until the daemon has accepted the connection, and has answered on it."""
        self._connection.expect_in_step()

    def send(self):
        self._connection.send(self._request)

    def is_silent(self):
        """Whether no reply has come so far."""
        self._connection.socket.settimeout(0.001)
        try:
            self._connection.buffer += self._connection.socket.recv(1 << 16)
        except TimeoutError:
            return True
        return False

    def finish(self, timeout=30):
        """The result, once there is a reply."""
        began = time.monotonic()
        try:
            line = self._connection.read_line(timeout)
            if line == self._reply[0]:
                self._connection.expect(self._reply[1], timeout)
                self.seconds = time.monotonic() - began
                return "served"
        except TimeoutError:
            return "waits"
        except (EOFError, OSError) as error:
            return f"closed: {error}"
        self.seconds = time.monotonic() - began
        if self._missing is not None and line == self._missing:
            return "missing"
        return f"refused: {line.decode(errors='replace')}"

    def ask(self):
        self.send()
        return self.finish()

    def follow(self, other):
        """Sends this request on another request's connection, behind that request, so that it runs later."""
        self._connection = other._connection

    def set_again(self, key, value):
        """Makes a write on this connection. It must be served."""
        assert self._connection.set(key, value) == b"STORED"


class Row:
    """One row while it runs: `seen` has the result of each column, as text."""

    def __init__(self, fault, cells, control):
        self.fault = fault
        self.cells = cells
        self.seen = {}
        self._control = control
        self._times = {}

    def expects(self, column, answer):
        return answer_of(self.cells[column]) == answer

    def tried(self, *columns):
        return [name for name in columns if not self.cells[name].startswith("not possible")]

    def run(self):
        with self.fault.stack:
            stayd = self.stayd = self.fault.stayd = self.fault.daemon()
            self.fault.before_start()
            try:
                self._run(stayd)
            except BaseException as error:
                error.add_note(f"the daemon's log:\n{stayd.log[-3000:]}")
                raise
            finally:
                self.fault.lift()
                if stayd.process is not None and stayd.process.poll() is None:
                    stayd.kill9()
                stayd.close()
        for column in self.cells:
            if column in COLUMNS and self.cells[column].startswith("not possible"):
                self.seen.setdefault(column, self.cells[column])
        return self.seen

    def _run(self, stayd):
        if self.tried("read"):
            stayd.start()
            self._fill()
            self.fault.prepare()
            self._serve()
        if self.tried("stop"):
            self._stop()
        elif stayd.process is not None and stayd.process.poll() is None:
            stayd.kill9()
        if self.tried("start"):
            self._start()
        self._check_afterwards()

    def _fill(self):
        with self.stayd.connect("sessions") as connection:
            for number in range(ITEMS):
                assert connection.set(b"k%d" % number, b"v" * 1000) == b"STORED"
            assert connection.set(b"kept", self.fault.value) == b"STORED"
        with self.stayd.connect("cache") as connection:
            assert connection.set(b"other", b"v") == b"STORED"

    def _probes(self):
        value = self.fault.value
        stored = (b"STORED", b"")
        requests = {
            "read": (b"get kept\r\n", (b"VALUE kept 0 %d" % len(value), value + b"\r\nEND\r\n"),
                     b"END"),
            "update": (b"set k0 0 0 %d\r\n%b\r\n" % (len(value), value), stored),
            "new_key": (b"set new 0 0 %d\r\n%b\r\n" % (len(value), value), stored),
            "delete": (b"delete %b\r\n" % self.fault.delete_key(), (b"DELETED", b"")),
            "flush": (b"flush_all\r\n", (b"OK", b"")),
        }
        requests.update(self.fault.requests() if hasattr(self.fault, "requests") else {})
        return {column: Probe(self.stayd.connect("sessions"), *request)
                for column, request in requests.items()}

    def _serve(self):
        """Tries all columns except stop and start."""
        early = None if self.fault.new_connections else self._probes()
        for probe in (early or {}).values():
            probe.await_accept()
        with Bystander(self._control) as control:
            with Bystander(self.stayd.socket("cache"), "get other") as other:
                self.fault.inject()
                probes = early or self._probes()
                waiting = [name for name in self.tried("update", "new_key", "delete", "read")
                           if self.expects(name, "waits")]
                for name in waiting:
                    probes[name].send()
                for name in self.tried("read", "update", "new_key", "delete"):
                    if name not in waiting:
                        self._note(name, probes[name])
                self.fault.also()
                backup = self._begin_backup() if self.tried("backup") else None
                if backup is not None and not self.expects("backup", "waits"):
                    self.seen["backup"] = self._end_backup(backup)
                if self.expects("flush", "waits"):
                    probes["flush"].follow(probes["delete"])
                    waiting.append("flush")
                    probes["flush"].send()
                elif self.tried("flush"):
                    self._note("flush", probes["flush"])
                    if self.seen["flush"] == "served":
                        probes["flush"].set_again(b"kept", self.fault.value)
                if waiting:
                    time.sleep(GLANCE)
                silent = [name for name in waiting if probes[name].is_silent()]
                if self.expects("backup", "waits"):
                    self.seen["backup"] = "made at once"
                    if backup.poll() is None:
                        silent.append("backup")
        self.seen["other_pool"] = "served"
        self._times["other_pool"] = other.longest
        self._judge_times(control.longest)
        if waiting or self.expects("backup", "waits"):
            self.fault.lift()
            for name in waiting:
                seen = probes[name].finish()
                self.seen[name] = seen if name not in silent or seen != "served" else "waits"
            if "backup" in silent:
                seen = self._end_backup(backup)
                self.seen["backup"] = "waits" if seen == "made" else seen
            connection = self.stayd.connect("sessions")
            wait_until(lambda: connection.set(b"kept", self.fault.value) == b"STORED")
            self.fault.inject()

    def _note(self, name, probe):
        self.seen[name] = probe.ask()
        self._times[name] = probe.seconds

    def _judge_times(self, control):
        """A bystander may wait for some turns, and for as long as the machine itself makes every process
        wait."""
        allowed = most_wait(control, MARGIN_S)
        for name, seconds in self._times.items():
            grace = 0 if name == "other_pool" else self.fault.grace_s
            if self.seen[name] == "served" and seconds > allowed + grace:
                self.seen[name] = (f"served after {seconds:.2f} s, when one of another daemon waited "
                                   f"for {control:.3f} s at the most")

    def _stayctl(self, *arguments):
        ctl = pathlib.Path(stayd_binary()).with_name("stayctl")
        return subprocess.Popen([ctl, "-c", self.stayd.config_path, *map(str, arguments)],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def _begin_backup(self):
        place = getattr(self.fault, "backup_folder", self.fault.folder)
        return self._stayctl("backup", "sessions", place / "backup.pool")

    def _end_backup(self, process):
        try:
            said, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return "waits"
        return "made" if process.returncode == 0 else f"refused: {said.strip()}"

    def _stop(self):
        process = self.stayd.process
        process.terminate()
        if self.expects("stop", "waits"):
            time.sleep(GLANCE)
            early = process.poll() is not None
            self.fault.lift()
            code = process.wait(30)
            self.seen["stop"] = "stops" if early or code != 0 else "waits"
            return
        try:
            code = process.wait(30)
            self.seen["stop"] = "stops" if code == 0 else f"stops with {code}"
        except subprocess.TimeoutExpired:
            self.seen["stop"] = "waits"
            self.stayd.kill9()

    def _start(self):
        self.fault.inject_for_start()
        self.seen["start"] = self._start_once()
        if self.stayd.process.poll() is None:
            self.stayd.kill9()
            self.fault.inject_for_start()
            again = self._start_once()
            if again != self.seen["start"]:
                self.seen["start"] += f", and after SIGKILL: {again}"

    def _start_once(self):
        before = len(self.stayd.log)
        failures = []

        def start():
            try:
                self.stayd.start()
            except ServerError as error:
                failures.append(error)

        starting = threading.Thread(target=start)
        starting.start()
        waited = False
        if self.expects("start", "waits"):
            starting.join(GLANCE)
            waited = starting.is_alive()
            self.fault.lift()
        starting.join()
        if failures:
            return f"refused: {self.stayd.log[before:].strip() or failures[0]}"
        return "waits" if waited else "starts"

    def _check_afterwards(self):
        self.fault.lift()
        if self.stayd.process is None or self.stayd.process.poll() is not None:
            self.stayd.start()
        connection = self.stayd.connect("sessions")
        if self.tried("read"):
            assert connection.get(b"kept") == self.fault.value, "what was acknowledged is there"
        key = b"kept" if self.tried("read") else b"first"
        wait_until(lambda: connection.set(key, b"v") == b"STORED", what="a write afterwards")
        for words in self.cells.get("log", []):
            assert words in self.stayd.log, f"the log does not say {words!r}"


class Rows:
    """Runs rows in parallel, so that their waits overlap."""

    def __init__(self, faults, at_once):
        self._faults = {fault.name: fault for fault in faults}
        self._at_once = threading.Semaphore(at_once)
        self._results = {}

    def _run(self, name, control):
        with self._at_once:
            try:
                cells = table()[name]
                seen = Row(self._faults[name](), cells, control).run()
                if any(" s, when one of another daemon" in answer for answer in seen.values()):
                    # The row runs once more. A real fault appears again, and a delay of the machine
                    # does not.
                    seen = Row(self._faults[name](), cells, control).run()
                self._results[name] = seen
            except BaseException as error:
                self._results[name] = error

    def run(self, names):
        """Runs these rows; afterwards `seen` returns their results."""
        with Stayd() as control:
            connection = control.connect("cache")
            connection.set(b"other", b"v")
            threads = [threading.Thread(target=self._run, args=(name, control.socket("cache")))
                       for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def seen(self, name, column):
        """The result. If the row failed, raises the row's error; only the first cell raises it with all
        details."""
        result = self._results[name]
        if isinstance(result, BaseException):
            if not isinstance(result, Impossible):
                self._results[name] = AssertionError(
                    f"the row ended early: {type(result).__name__}; see its first cell")
            raise result
        return result[column]


def try_rows(request, faults, at_once):
    """For a fixture: runs the rows of these faults that tests of this module need."""
    wanted = {item.callspec.params["name"] for item in request.session.items
              if item.module is request.module and hasattr(item, "callspec")}
    rows = Rows(faults.values(), at_once)
    rows.run([name for name in faults if name in wanted])
    return rows


def expect_agreement(rows, name, column):
    """Fails unless the result is that of the table. Skips a fault that this machine cannot make."""
    cell = table()[name][column]
    try:
        seen = rows.seen(name, column)
    except Impossible as reason:
        pytest.skip(str(reason))
    assert agrees(cell, seen), f"{name}, {column}: the table says {cell!r}, and this was seen: {seen}"
