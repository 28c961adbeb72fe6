"""The demo of a cluster as a person runs it, with a few readers."""

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from support import nats
from support.servers import ROOT

pytestmark = pytest.mark.long

NGINX = Path(os.environ.get("NGINX", ROOT / "build/peers/usr/sbin/nginx"))
MARK = "STAYD_CLUSTER_DEMO_TEST"


def marked(value):
    """The processes that have this mark in their environment."""
    found, wanted = [], f"{MARK}={value}".encode()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue  # it has ended, or is another user's
    return found


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The demo, run to its end without a terminal; and the mark of its processes."""
    server = nats.find_server()
    if server is None or not NGINX.exists():
        pytest.skip("there is no nats-server, or no nginx: make cluster-demo builds and unpacks them")
    value = uuid.uuid4().hex
    environ = {**os.environ, MARK: value, "NATS_SERVER": server, "PYTHONPATH": str(ROOT / "build" / "python")}
    demo = ROOT / "examples" / "demo" / "cluster_demo.py"
    command = [sys.executable, "-B", str(demo), "--readers", "4", "--run-dir",
               str(tmp_path_factory.mktemp("demo") / "run")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=400)
    return done, value


def test_everybody_stays_logged_in_and_the_table_says_so(ended):
    done, _ = ended
    assert done.returncode == 0, done.stdout + done.stderr
    row = r"^ +(\d)  \w.*?  +(\d+) +(\d+) +(\d+|down) +(\d+) +[\d.]+ m?s +[\d.]+ m?s$"
    rows = re.findall(row, done.stdout, re.MULTILINE)
    assert [row[0] for row in rows] == list("1234567"), done.stdout
    assert {count for row in rows for count in row[1:]} == {"4", "down"}
    assert "All 4 readers stayed logged in" in done.stdout


def test_its_output_is_plain_and_80_columns_wide_and_nothing_stays(ended):
    done, value = ended
    assert done.stderr == ""
    table = done.stdout[done.stdout.index("Readers still logged in"):]
    assert "\x1b" not in done.stdout and all(len(line) <= 80 for line in table.splitlines())
    assert marked(value) == []
