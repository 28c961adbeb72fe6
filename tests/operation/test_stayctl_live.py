"""stayctl as it is used at a terminal: top in tmux, completion in bash and zsh, and sessions."""

import json
import re
import shlex
import shutil
import subprocess
import uuid

import pytest

from support.servers import ROOT, Memcached, Stayd, wait_until
from support.stayctl import STAYCTL, run

COMPLETIONS = ROOT / "packaging" / "completions"


@pytest.fixture(scope="module")
def stayd():
    with Stayd(sessions={"memory": "16M"}) as server:
        yield server


class Terminal:
    """A terminal in tmux, in which a command runs."""

    def __init__(self, command, columns=100, lines=30):
        self._tmux = ["tmux", "-L", f"stayd-{uuid.uuid4().hex[:8]}", "-f", "/dev/null"]
        self._do("new-session", "-d", "-x", str(columns), "-y", str(lines),
                 shlex.join(map(str, command)) + "; echo ended with $?; cat")

    def _do(self, *arguments):
        return subprocess.run([*self._tmux, *arguments], capture_output=True, text=True,
                              check=True, timeout=30).stdout

    def shown(self):
        return self._do("capture-pane", "-p")

    def wait_for(self, pattern):
        return wait_until(lambda: re.search(pattern, self.shown()), timeout=30, what=pattern)

    def press(self, *keys):
        self._do("send-keys", *keys)

    def close(self):
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, timeout=30)


@pytest.fixture
def terminal():
    if not shutil.which("tmux"):
        pytest.skip("tmux is not installed")
    opened = []

    def start(*command, **size):
        opened.append(Terminal(command, **size))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_top_shows_the_pools_live(stayd, terminal):
    top = terminal(STAYCTL, "-c", stayd.config_path, "top")
    top.wait_for(r"cache +ok +0 +0 ")
    connection = stayd.connect("sessions")

    def reads_are_shown():
        connection.send(b"set k 0 0 1\r\nv\r\n" + b"get k\r\n" * 50)
        connection.read_until(b"STORED\r\n")
        for _ in range(50):
            connection.read_until(b"END\r\n")
        return re.search(r"sessions +ok +[1-9]\d* +[1-9]\d* +100.0%", top.shown())

    wait_until(reads_are_shown, timeout=30, interval=0.1)
    assert "live of 15.1M" in top.shown()
    top.press("+")
    top.wait_for(r"interval: 2 s")
    top.press("Space")
    top.wait_for(r"\(paused\)")
    top.press("q")
    top.wait_for(r"ended with 0")


def test_top_warns_and_outlives_the_daemon(terminal):
    with Stayd(sessions={"memory": "16M"}) as stayd:
        connection = stayd.connect("sessions")
        number = 0
        while connection.set(b"k%d" % number, b"v" * 100_000) == b"STORED":
            number += 1
        top = terminal(STAYCTL, "-c", stayd.config_path, "top")
        top.wait_for(r"sessions +FULL")
        top.wait_for(r"pool sessions is full: new keys are refused.*\n +Raise its memory")
        stayd.kill9()
        top.wait_for(r"cache +DOWN +.*Connection refused")
        stayd.start()
        top.wait_for(r"cache +ok")
        top.press("q")
        top.wait_for(r"ended with 0")


def test_a_small_terminal_is_no_fault(stayd, terminal):
    top = terminal(STAYCTL, "-c", stayd.config_path, "top", columns=20, lines=4)
    top.wait_for("stayd")
    top.press("q")
    top.wait_for(r"ended with 0")


def test_top_without_a_terminal_says_what_to_use(stayd):
    done = run("-c", stayd.config_path, "top", text=True)
    assert done.returncode == 2 and "needs a terminal" in done.stderr
    process = subprocess.Popen([STAYCTL, "-c", stayd.config_path, "-j", "top"], text=True,
                               stdout=subprocess.PIPE)
    try:
        lines = [json.loads(process.stdout.readline()) for _ in range(4)]
    finally:
        process.kill()
        process.communicate()
    assert [line["pool"] for line in lines] == ["cache", "sessions"] * 2
    assert all(line["answered"] and line["reads_per_s"] >= 0 for line in lines)


def test_sessions_tells_when_they_expire_and_no_key():
    with Stayd(sessions={"memory": "16M"}) as stayd:
        connection = stayd.connect("sessions")
        for number, ttl in enumerate([60, 1800, 3 * 3600, 10 * 3600, 20 * 86400, 0, 0]):
            connection.set(b"secret%d" % number, b"v", expiry=ttl)
        done = run("-c", stayd.config_path, "sessions", "sessions", text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "about 7 live items" in done.stdout and "secret" not in done.stdout
        told = json.loads(run("-c", stayd.config_path, "-j", "sessions", "sessions").stdout)
        assert (told["pool"], told["live"], told["never"]) == ("sessions", 7, 2)
        assert len(told["within_hours"]) == 24
        assert told["live"] == sum(told["within_hours"]) + told["later"] + told["never"]
        everywhere = run("-c", stayd.config_path, "-j", "sessions").stdout.splitlines()
        assert [json.loads(line)["pool"] for line in everywhere] == ["cache", "sessions"]
    with Memcached() as memcached:
        done = run("-s", memcached.url(), "sessions", text=True)
        assert done.returncode == 1


def test_latency_has_a_histogram_for_each_kind_of_command():
    with Stayd(sessions={"memory": "16M"}) as stayd:
        for request, reply in ((b"set k 0 0 1\r\n1\r\n", b"STORED\r\n"), (b"get none\r\n", b"END\r\n"),
                               (b"delete none\r\n", b"NOT_FOUND\r\n"), (b"incr k 1\r\n", b"2\r\n"),
                               (b"touch k 0\r\n", b"TOUCHED\r\n"), (b"mn\r\n", b"MN\r\n")):
            with stayd.connect("sessions") as connection:
                for _ in range(257):  # only the first and the last request are measured
                    connection.ask(request, reply if b"incr" not in request else None)
        told = json.loads(run("-c", stayd.config_path, "-j", "latency", "sessions").stdout)
        assert told["measured_every"] == 256
        measured = {name: kind["measured"] for name, kind in told["commands"].items()}
        other = measured.pop("other")
        assert measured == {"get": 2, "set": 2, "delete": 2, "arithmetic": 2, "touch": 2}
        assert other >= 2
        for kind in told["commands"].values():
            assert sum(step["count"] for step in kind["histogram"]) == kind["measured"]
            assert 128 <= kind["p50_ns"] <= kind["p99_ns"] <= 1 << 30
        shown = run("-c", stayd.config_path, "latency", text=True)
        assert shown.returncode == 0 and "get: 2 measured; half took up to" in shown.stdout
        assert "pool cache: time of a request" in shown.stdout
        with stayd.connect("sessions") as connection:
            assert connection.stats(b"latency")["measured_every"] == "256"


def commands_in_help():
    usage = run("--help", text=True).stdout
    return set(re.findall(r"^  ([a-z]+) ", usage, re.MULTILINE))


def completed(*words):
    """What bash offers for the last word."""
    script = (f". {COMPLETIONS / 'stayctl.bash'}; COMP_WORDS=({shlex.join(words)}); "
              f"COMP_CWORD={len(words) - 1}; _stayctl; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def test_bash_completes_commands_pools_and_files(stayd, tmp_path):
    assert completed("stayctl", "") == commands_in_help()
    assert completed("stayctl", "re") == {"reload", "reseed", "restore"}
    assert completed("stayctl", "--j") == {"--json"}
    config = ["-c", str(stayd.config_path)]
    assert completed("stayctl", *config, "flush", "") == {"cache", "sessions"}
    assert completed("stayctl", *config, "flush", "se") == {"sessions"}
    assert completed("stayctl", *config, "stats", "cache", "exp") == {"expiry"}
    (tmp_path / "a.pool").touch()
    assert completed("stayctl", "check", f"{tmp_path}/a") == {f"{tmp_path}/a.pool"}
    assert completed("stayctl", *config, "restore", "x", "") == {"cache", "sessions"}
    assert completed("stayctl", "status", "") == set()


def test_zsh_completes_the_same_commands():
    text = (COMPLETIONS / "_stayctl").read_text()
    block = re.search(r"commands=\((.*?)\n    \)", text, re.DOTALL)[1]
    assert set(re.findall(r"'([a-z]+):", block)) == commands_in_help()
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed: its syntax is not checked")
    done = subprocess.run(["zsh", "-n", COMPLETIONS / "_stayctl"], capture_output=True, text=True,
                          timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_zsh_offers_the_pools_of_the_configuration(stayd, terminal):
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    zsh = terminal("zsh", "-f", "-i")
    setup = f"fpath=({COMPLETIONS} $fpath); autoload -Uz compinit; compinit -u -D; PS1='ready> '"
    zsh.press(setup, "Enter")
    zsh.wait_for(r"(?m)^ready>")
    zsh.press(f"stayctl -c {stayd.config_path} flush se", "Tab")
    zsh.wait_for(r"flush sessions")


def test_the_page_lists_each_command():
    page = (ROOT / "docs" / "stayctl.md").read_text()
    named = set(re.findall(r"`([a-z]+)[ `]", page))
    assert commands_in_help() <= named
