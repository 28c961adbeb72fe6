"""The demo as a person runs it, with fewer readers and smaller pools."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest
import requests

from marked import DEMO_DIR, Marked

SMALL = ["--readers", "6", "--memory", "2"]
TIMEOUT_S = 300
COLOURS = re.compile(r"\x1b\[[\d;]*m")

# Runs the demo with a stayd whose sessions pool does not persist.
FORGETFUL = """
import sys
sys.path.insert(0, {demo_dir!r})
import run, setups
forgetful = setups.STAYD_CONFIGURATION.replace("persist  = yes", "persist  = no")
assert forgetful != setups.STAYD_CONFIGURATION
setups.STAYD_CONFIGURATION = forgetful
sys.exit(run.main())
"""


def demo_command(tmp_path, *options):
    """The command line that runs the demo with all its state under tmp_path."""
    return [sys.executable, "-B", DEMO_DIR / "run.py", "--run-dir", tmp_path / "run", *options]


def run_demo(command, marked):
    """Runs the demo to its end, in a pipe."""
    return subprocess.run(
        command, env=marked.environ, capture_output=True, text=True, timeout=TIMEOUT_S
    )


def table_rows(output):
    """Returns {step: [one memcached, two memcacheds, stayd]} from the table of the demo."""
    rows = re.findall(r"^ +(\d)  \w.*?  +(\d+) +(\d+) +(\d+)$", output, re.MULTILINE)
    return {int(step): [int(count) for count in counts] for step, *counts in rows}


class Terminal:
    """The demo in a terminal of its own."""

    def __init__(self, command, environ):
        self.process_id, self.descriptor = pty.fork()
        if self.process_id == 0:
            os.execvpe(command[0], command, {**environ, "TERM": "xterm", "COLUMNS": "80"})
        self.output = ""

    def read_until(self, pattern):
        """Reads until the regular expression matches in the output that was not searched before."""
        deadline = time.monotonic() + TIMEOUT_S
        while (found := re.search(pattern, self.output)) is None:
            assert time.monotonic() < deadline, self.output
            if select.select([self.descriptor], [], [], 0.5)[0]:
                self.output += self.read()
        self.output = self.output[found.end() :]
        return found

    def read(self):
        """Returns what there is to read, without colours; fails if the demo has ended."""
        try:
            return COLOURS.sub("", os.read(self.descriptor, 65536).decode(errors="replace"))
        except OSError:
            raise AssertionError(f"the demo has ended: {self.output}") from None

    def press(self, key):
        """Types a key."""
        os.write(self.descriptor, key)

    def read_to_the_end(self):
        """Returns (the rest of the output, exit status)."""
        while True:
            try:
                data = os.read(self.descriptor, 65536)
            except OSError:
                break
            if not data:
                break
            self.output += data.decode(errors="replace")
        _, status = os.waitpid(self.process_id, 0)
        os.close(self.descriptor)
        return self.output, os.waitstatus_to_exitcode(status)


@pytest.fixture
def started(tmp_path, marked):
    """The demo in a pipe, up to the point where readers log in to the three shops."""
    command = demo_command(tmp_path, "--readers", "200", "--memory", "2", "--rounds", "0")
    with subprocess.Popen(
        command,
        env=marked.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout:
            if "readers log in" in line and " s  " in line:
                break
        yield process
        process.kill()


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    """The demo, run to its end without a terminal."""
    folder = tmp_path_factory.mktemp("demo")
    return run_demo(demo_command(folder, *SMALL, "--rounds", "1"), Marked())


def test_it_exits_0_when_all_stay_logged_in_on_stayd(plain_run):
    rows = table_rows(plain_run.stdout)
    assert {step: counts[2] for step, counts in rows.items()} == dict.fromkeys(range(1, 6), 6)
    assert "All 6 readers stayed logged in on stayd" in plain_run.stdout
    assert plain_run.returncode == 0


def test_the_memcacheds_beside_it_lose_what_memcached_loses(plain_run):
    rows = table_rows(plain_run.stdout)
    assert rows[1][:2] == [6, 6]
    assert rows[2][:2] == [0, 6]
    assert rows[3][:2] == [0, 0]
    assert rows[5][:2] == [0, 0]


@pytest.mark.parametrize(
    "store",
    [
        "database (SQLite)",
        "cached_db, pylibmc",
        "memcached, pymemcache",
        "memcached, pylibmc",
        "stayd over TCP",
        "stayd, Unix socket",
    ],
)
def test_it_times_loading_and_saving_in_each_store(plain_run, store):
    figures = r"( +[\d,]+){2}( +\d+\.\d\d){2}"
    assert len(re.findall(f"^ +{re.escape(store)}{figures}$", plain_run.stdout, re.M)) == 2


def test_without_a_terminal_its_output_is_plain_and_80_columns_wide(plain_run):
    assert plain_run.stderr == ""
    assert "\x1b" not in plain_run.stdout
    for line in plain_run.stdout.splitlines():
        assert line == line.rstrip()
        assert len(line) <= 80


def test_it_exits_1_when_stayd_loses_readers(tmp_path, marked):
    script = tmp_path / "forgetful.py"
    script.write_text(FORGETFUL.format(demo_dir=str(DEMO_DIR)))
    options = ["--run-dir", tmp_path / "run", *SMALL, "--rounds", "0"]
    done = run_demo([sys.executable, "-B", script, *options], marked)
    assert done.returncode == 1, done.stdout + done.stderr
    assert table_rows(done.stdout).get(3) == [0, 0, 0], done.stdout + done.stderr
    assert "Not every reader stayed logged in on stayd" in done.stdout


def test_on_a_terminal_it_keeps_the_bookshop_up_until_ctrl_c(tmp_path, marked):
    command = [str(part) for part in demo_command(tmp_path, *SMALL, "--rounds", "0")]
    terminal = Terminal(command, marked.environ)
    url = terminal.read_until(r"(http://127.0.0.1:\d+)/login/").group(1)
    process_id = int(terminal.read_until(r"stayd's process +(\d+)").group(1))
    terminal.read_until("Ctrl-C")
    assert requests.get(f"{url}/login/", timeout=10).ok
    os.kill(process_id, signal.SIGKILL)
    terminal.read_until("started again, it answered after")
    assert requests.get(f"{url}/", timeout=10).ok
    terminal.press(b"\x03")
    output, status = terminal.read_to_the_end()
    assert status == 0
    assert "Traceback" not in output


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_all_that_it_started_when_interrupted(started, marked, signal_number):
    assert len(marked.processes()) > 10
    started.send_signal(signal_number)
    output, _ = started.communicate(timeout=TIMEOUT_S)
    assert started.returncode == 130
    assert "Traceback" not in output
    assert marked.processes() == {}


def test_it_leaves_nothing_behind_when_it_is_killed(started, marked):
    started.kill()
    started.communicate(timeout=TIMEOUT_S)
    deadline = time.monotonic() + 20
    while marked.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert marked.processes() == {}


def test_a_daemon_that_dies_is_reported_with_the_end_of_its_log(started, marked):
    for process_id, command in marked.processes().items():
        if "gunicorn" in command:
            os.kill(process_id, signal.SIGKILL)
    output, _ = started.communicate(timeout=TIMEOUT_S)
    assert started.returncode == 1
    assert re.search(r"the bookshop on \w+.* was ended by SIGKILL", output)
    assert "Traceback" not in output


def test_a_second_demo_in_the_same_directory_is_refused(started, tmp_path, marked):
    done = run_demo(demo_command(tmp_path, *SMALL), marked)
    assert done.returncode == 1
    assert "another demo is running" in done.stdout
    started.send_signal(signal.SIGINT)
    started.communicate(timeout=TIMEOUT_S)
