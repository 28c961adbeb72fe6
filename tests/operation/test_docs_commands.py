"""The commands in the documents are true. Those of stayctl, stayd and curl run against a real daemon. For
other commands, the files and names that they mention must exist."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess

import pytest

from support.servers import ROOT, Stayd, free_port, stayd_binary, wait_until
from support.stayctl import STAYCTL

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")),
         ROOT / "python" / "README.md", *sorted((ROOT / "packaging" / "man").iterdir())]

# Lines that are not run: they start a daemon in the foreground, need a cluster, or are a command's output.
NOT_RUN = re.compile(r"stayd( |$)(?!.*--check)|stayd 0\.|stayctl top|stayctl reload|"
                     r"stayctl (-c FILE )?(cluster|reseed)")


def lines_of_code(page):
    """The lines of the page that are indented or in a code block of no language or of a shell's."""
    text = page.read_text()
    if page.suffix != ".md":
        blocks = re.findall(r"\.Bd -literal.*?\n(.*?)\.Ed", text, re.DOTALL)
        return "\n".join(blocks).splitlines()
    lines, language = [], None
    for line in text.splitlines():
        if fence := re.match(r" *```(\w*)", line):
            language = fence[1] if language is None else None
        elif language in ("", "sh"):
            lines.append(line)
        elif language is None and re.match(r"    \S", line):
            lines.append(line[4:])
    return lines


def command_of(line):
    """The line without its prompt and its comment."""
    return re.sub(r"^(?:\$ |sudo (?:-u \S+ )?)", "", re.sub(r"\s#.*", "", line)).strip()


def commands(*programs):
    """(page, words) of each command of these programs, without its comment."""
    for page in PAGES:
        for line in lines_of_code(page):
            line = command_of(line)
            name = re.match(r"(?:build/)?([\w-]+)(?: |$)", line)
            if name and name[1] in programs:
                yield page.name, line


class Machine:
    """A machine whose paths are in the folder of one daemon. The daemon has some sessions."""

    def __init__(self, stayd):
        self.stayd = stayd
        self.admin = stayd.admin_url().removeprefix("http://")
        self.pool = stayd.directory / "copy.pool"

    def words(self, line):
        """The command for this machine."""
        for there, here in (("/etc/stayd/stayd.conf", self.stayd.config_path),
                            ("packaging/stayd.conf", self.stayd.config_path),
                            ("/var/backups/sessions.pool", self.pool),
                            ("/run/stayd", self.stayd.run_dir), ("127.0.0.1:11280", self.admin)):
            line = line.replace(there, str(here))
        words = shlex.split(line)
        program = words[0].removeprefix("build/")
        if program == "stayctl":
            return self.stayctl(words[1:])
        return [{"stayd": stayd_binary()}.get(program, program), *self.fill(words[1:])]

    def fill(self, words):
        """Replaces FILE and other placeholders."""
        values = {"FILE": self.pool, "DEST": self.pool, "copy.pool": self.pool,
                  "-c FILE": self.stayd.config_path}
        return [str(values.get(f"{before} {word}", values.get(word, word)))
                for before, word in zip(["", *words], words)]

    def stayctl(self, words):
        """Adds -c: without a configuration, stayctl would use the pools at the usual ports."""
        if not {"-c", "-s"} & set(words):
            words = ["-c", str(self.stayd.config_path), *words]
        return [STAYCTL, *self.fill(words)]


@pytest.fixture(scope="module")
def machine():
    with Stayd(sessions={"memory": "16M"}) as stayd:
        stayd.connect("sessions").set(b"k", b"v")
        made = Machine(stayd)
        run([STAYCTL, "-c", stayd.config_path, "backup", "sessions", made.pool], stayd.directory)
        yield made


def run(words, folder):
    """Runs a command to its end, in a folder for its files. It must succeed."""
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=60, cwd=folder)
    assert done.returncode == 0, f"{words}: {done.stdout}"


RUN = sorted({(page, line) for page, line in commands("stayctl", "stayd", "curl", "python3")
              if not NOT_RUN.match(line.removeprefix("build/"))
              and not re.search(r"[a-z]+://(?!127|/)|<|\| ", line)})


def test_there_are_commands():
    assert len(RUN) > 12


@pytest.mark.parametrize("page, line", RUN, ids=[f"{page}: {line}" for page, line in RUN])
def test_a_command_of_the_documents_does_what_it_says(machine, page, line):
    with contextlib.ExitStack() as stack:
        if " restore " in line:
            machine.stayd.terminate()
            stack.callback(machine.stayd.start)
            line += " --yes"
        words = machine.words(line)
        if shutil.which(words[0]) is None:
            pytest.skip(f"there is no {words[0]}")
        run(words, machine.stayd.directory)


SERVED = sorted({(page, line) for page, line in commands("stayd")
                 if re.search(r" -c (?!FILE)| -p ", line) and "--check" not in line})


@pytest.mark.parametrize("page, line", SERVED, ids=[f"{page}: {line}" for page, line in SERVED])
def test_a_daemon_of_the_documents_serves(page, line, tmp_path):
    """Its ports are free ones, its user is one that is on every machine, and its files are in a folder."""
    line = re.sub(r"-p \d+", lambda _: f"-p {free_port()}", line).replace("-u memcache", "-u nobody")
    words = shlex.split(line)[1:]
    if "-c" in words and not words[words.index("-c") + 1].isdigit():
        text = (ROOT / "packaging" / "stayd.conf").read_text()
        text = re.sub(r"127\.0\.0\.1:\d+", lambda _: f"127.0.0.1:{free_port()}", text)
        path = tmp_path / "stayd.conf"
        path.write_text(text)
        words[words.index("-c") + 1] = path
    folders = {"STATE_DIRECTORY": str(tmp_path / "data"), "RUNTIME_DIRECTORY": str(tmp_path / "run")}
    log = tmp_path / "log"
    with open(log, "wb") as stderr, subprocess.Popen([stayd_binary(), *words], stderr=stderr,
                                                     env=os.environ | folders) as process:
        try:
            wait_until(lambda: " ready: " in log.read_text() or process.poll() is not None)
        finally:
            process.terminate()
    assert process.returncode == 0, log.read_text()


# Other commands: a pattern of the command, the file that runs the same, and what stands in that file for it.
ELSEWHERE = {
    r"make bench|build/venv/bin/python -B bench/run\.py": ("bench/test_results.py", 'BENCH / "run.py"'),
    r"meson test|build/tests/unit/|meson setup build/tsan": ("scripts/test", "meson test"),
    r"STAYD_BINARY=.*-m pytest": ("scripts/test", "-m pytest"),
    r"scripts/fuzz": ("scripts/test", "scripts/fuzz"),
    r"build/stayd$": ("examples/demo/run.py", "setups.STAYD"),
    r"stayd -c FILE$": ("tests/support/servers.py", '"-c"'),
    r"memcached -p ": ("tests/operation/test_memcached_options.py", "Memcached(options)"),
    r"cc example\.c ": ("tests/libstayd/test_install.py", "example.c"),
    r"python manage\.py stayd_migrate_sessions ": ("tests/django/test_migrating_page.py",
                                                   "stayd_migrate_sessions"),
    r"curl .*--cacert ca\.pem ": ("tests/operation/test_admin_access.py", "--cacert"),
    r"cd packaging/prometheus && promtool ": ("tests/operation/test_monitoring_files.py", "promtool("),
    r"apt-get install \./build/deb/": ("tests/packages/try", "apt-get install"),
    r"systemctl (?:stop|start) ": ("tests/packages/try", "systemctl stop stayd"),
    r"systemctl enable --now ": ("tests/packages/try", "systemctl enable --quiet --now"),
    r"(?:\.|fpath=\(\$PWD/) ?packaging/completions|fpath=\(\$PWD/packaging/completions ":
        ("tests/operation/test_stayctl_live.py", "completions"),
    r"stayctl -c FILE cluster adopt ": ("tests/cluster/test_cluster_adopt.py", '"cluster", "adopt"'),
    r"pip install '\./python\[django\]'": ("scripts/wheel", 'bin/pip" install'),
}
NOT_RUN_ANYWHERE = {
    r"make ": "takes minutes; a test below looks for its target, and scripts/test runs what most of them do",
    r"dpkg-divert |ln -s /usr/bin/stayd |systemctl restart memcached":
        "changes the machine; test_memcached_options.py runs memcached's unit with stayd in its place",
    r"systemd-sysusers; systemd-tmpfiles":
        "changes the machine; Debian's packages do the same by their triggers",
    r"journalctl ": "needs a journal; it is systemd's own command",
}
PROGRAMS = re.compile(
    r"(?:(?:build|scripts)/\S+|[A-Z_]+=\S+ \S+|\.|make|meson|stayd|stayctl|curl|python3?|pip|cc|cd|ln"
    r"|memcached|apt-get|apt|systemctl|systemd-\w+|journalctl|dpkg-\w+|fpath=\S+|podman|docker|kubectl"
    r"|buildah|promtool|manage\.py)(?:[ ;]|$)")


def test_each_command_of_the_documents_is_run_or_said_why_not():
    known = {line for _, line in [*RUN, *SERVED]}
    found, patterns = [], set()
    for page in PAGES:
        for line in map(command_of, lines_of_code(page)):
            if not PROGRAMS.match(line) or line in known or re.match(r"stayd +\d|stayd/", line):
                continue
            matching = [each for each in [*ELSEWHERE, *NOT_RUN_ANYWHERE] if re.match(each, line)]
            patterns.update(matching)
            if not matching:
                found.append(f"{page.name}: {line}")
    assert found == [], "run these commands in a test, or say in ELSEWHERE or NOT_RUN_ANYWHERE why not"
    assert patterns == {*ELSEWHERE, *NOT_RUN_ANYWHERE}, "no page has commands of the others any more"
    for path, text in ELSEWHERE.values():
        assert text in (ROOT / path).read_text(), path


def test_each_make_target_in_the_documents_is_there():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {(page, target) for page, line in commands("make")
             for target in re.match(r"make((?: [a-z-]+\b(?!=))+)?", line).group(1).split()[:1]}
    for page in PAGES:
        named |= {(page.name, target) for target in re.findall(r"`make ([\w-]+)", page.read_text())}
    assert len(named) > 20
    assert sorted(name for name in named if name[1] not in targets) == []


def test_each_file_in_the_documents_is_there():
    missing = []
    for page in PAGES:
        text = page.read_text()
        for path in re.findall(r"`((?:scripts|packaging|tests|bench|src|lib|ctl|examples)/[\w./-]+)`", text):
            if not (ROOT / path).exists() and not (ROOT / f"{path}.c").exists():
                missing.append(f"{page.name}: {path}")
        for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text) if page.suffix == ".md" else []:
            if not (page.parent / link).exists():
                missing.append(f"{page.name}: {link}")
    assert missing == []


def anchors(page):
    """The anchors of the page's headings, as GitHub makes them."""
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)}


def test_each_link_to_a_heading_finds_it():
    missing = []
    for page in PAGES:
        if page.suffix == ".md":
            for file, anchor in re.findall(r"\]\(([^)#:]*)#([\w-]+)\)", page.read_text()):
                target = page.parent / file if file else page
                if anchor not in anchors(target):
                    missing.append(f"{page.name}: {file}#{anchor}")
    assert missing == []
