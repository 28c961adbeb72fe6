"""The commands in the documents are true. Those of stayctl, stayd and curl run against a real daemon. For
other commands, the files and names that they mention must exist."""

import contextlib
import re
import shlex
import shutil
import subprocess

import pytest

from support.servers import ROOT, Stayd, stayd_binary
from support.stayctl import STAYCTL

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")),
         ROOT / "python" / "README.md", *sorted((ROOT / "packaging" / "man").iterdir())]

# Lines that are not run: they start a daemon in the foreground, need a cluster, or are the output of a command.
NOT_RUN = re.compile(r"stayd( |$)(?!.*--check)|stayd 0\.|stayctl top|stayctl reload|stayctl (-c FILE )?(cluster|reseed)")


def lines_of_code(page):
    """The lines of the page that are indented or in a code block, also those that begin with `$ `."""
    text = page.read_text()
    if page.suffix != ".md":
        blocks = re.findall(r"\.Bd -literal.*?\n(.*?)\.Ed", text, re.DOTALL)
        return "\n".join(blocks).splitlines()
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return "\n".join(blocks).splitlines() + re.findall(r"^    (\S.*)$", text, re.MULTILINE)


def commands(*programs):
    """(page, words) of each command of these programs, without its comment."""
    for page in PAGES:
        for line in lines_of_code(page):
            line = re.sub(r"^(?:\$ |sudo )", "", re.sub(r"\s#.*", "", line)).strip()
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
        values = {"FILE": self.pool, "DEST": self.pool, "-c FILE": self.stayd.config_path}
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
        run([STAYCTL, "-c", stayd.config_path, "backup", "sessions", made.pool])
        yield made


def run(words):
    """Runs a command to its end. It must succeed."""
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stdout}"


RUN = sorted({(page, line) for page, line in commands("stayctl", "stayd", "curl")
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
        run(words)


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
