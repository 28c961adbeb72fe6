"""scripts/test runs failed tests again if the machine may be too busy, and never if a process has crashed."""

import os
import re
import subprocess
import sys

import pytest

from support.servers import ROOT, stayd_binary

FAILURES = {
    "load": ("assert not 'too late'", True),
    "daemon": ("os.kill(server.pid, SEGV); server.process.wait(10); connection.ask(b'version\\r\\n')", False),
    "python": ("server.close(); os.kill(os.getpid(), SEGV)", False),
}

TEST = """
import os
import signal

from support.servers import Stayd

SEGV = getattr(signal, "SIG" + "SEGV")  # pytest prints the lines of a test that fails

def test():
    with Stayd() as server:
        connection = server.connect("cache")
        {line}
"""


def may_be_load(log):
    script = (ROOT / "scripts/test").read_text()
    function = re.search(r"^may_be_load\(\) .*?^}", script, re.DOTALL | re.MULTILINE)[0]
    done = subprocess.run(["bash", "-c", f'{function}\nmay_be_load "$1"', "bash", log], timeout=30)
    return done.returncode == 0


@pytest.mark.parametrize("failure", FAILURES)
def test_a_crash_is_never_taken_for_load(tmp_path, failure):
    line, expected = FAILURES[failure]
    (tmp_path / "test_failing.py").write_text(TEST.replace("{line}", line))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(ROOT / "tests"), "STAYD_BINARY": str(stayd_binary())}
    with open(tmp_path / "log", "wb") as log:
        subprocess.run([sys.executable, "-m", "pytest", "-c", ROOT / "tests/pytest.ini", "-p", "conftest",
                        "-p", "no:cacheprovider", "-q", "-n", "1", tmp_path / "test_failing.py"],
                       cwd=ROOT, env=environment, stdout=log, stderr=log, timeout=120)
    text = (tmp_path / "log").read_text()
    assert re.search(r"^1 failed", text, re.MULTILINE), text
    assert may_be_load(tmp_path / "log") == expected, text


def test_a_test_that_fails_once_is_named_and_counts_as_passed(tmp_path):
    """A phase of scripts/test whose test fails in the first run, and passes in the second."""
    (tmp_path / "test_once.py").write_text(f"""
import pathlib

def test():
    mark = pathlib.Path({str(tmp_path)!r}, "mark")
    first = not mark.exists()
    mark.touch()
    assert not first
""")
    script = (ROOT / "scripts/test").read_text()
    functions = re.findall(r"^(?:phase|may_be_load|daemon_tests)\(\) .*?^}", script, re.DOTALL | re.MULTILINE)
    program = "\n".join(["set -euo pipefail", 'logs=$1 folder=$2', *functions,
                         'phase once "the phase" daemon_tests "$folder" -n 1 "$1/test_once.py"'])
    folder = os.path.relpath(os.path.dirname(stayd_binary()), ROOT)
    done = subprocess.run(["bash", "-c", program, "bash", tmp_path, folder], cwd=ROOT,
                          capture_output=True, text=True, timeout=120)
    assert "passed when it ran again, alone: " in done.stdout, done.stdout + done.stderr
    assert re.search(r"^test: the phase: 1 passed in", done.stdout, re.MULTILINE), done.stdout
    assert (tmp_path / "once.count").read_text() == "1 0\n"
