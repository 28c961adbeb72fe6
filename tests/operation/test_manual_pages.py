"""The manual pages have every option, setting and command of the programs, and no others."""

import re
import shutil
import subprocess

import pytest

from support.servers import ROOT, stayd_binary
from support.stayctl import STAYCTL

PAGES = ROOT / "packaging" / "man"
SOURCES = (ROOT / "lib" / "libstayd.3", *sorted(PAGES.iterdir()))


def items(page, macro):
    """The words after this macro in the page's lists: `.It Ic status` gives status."""
    lines = re.findall(r"^\.It (.*)$", (PAGES / page).read_text(), re.MULTILINE)
    return [name for line in lines for name in re.findall(rf"\b{macro} ([\w-]+)", line)]


def options_of_page(page):
    """As -p and --port."""
    lines = "\n".join(re.findall(r"^\.It (Fl .*)$", (PAGES / page).read_text(), re.MULTILINE))
    letters = re.findall(r"(?<!Fl )Fl (\w)\b", lines)
    names = re.findall(r"Fl Fl ([\w-]+)", lines)
    return [f"-{letter}" for letter in letters] + [f"--{name}" for name in names]


def options_of_help(program):
    """The options at the beginning of the lines of the program's help."""
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    starts = re.findall(r"^ +((?:-\w(?:, )?)?(?:--[\w-]+)?)(?=[ =\n])", text, re.MULTILINE)
    return [option for start in starts for option in start.split(", ") if option]


@pytest.mark.parametrize("page, program", [("stayd.1", stayd_binary()), ("stayctl.1", STAYCTL)])
def test_a_page_has_each_option_of_the_help(page, program):
    wanted = set(options_of_help(program))
    assert len(wanted) > 10
    assert set(options_of_page(page)) == wanted


def settings_of_parser():
    """The settings of each section, from the parser's tables."""
    source = (ROOT / "src" / "stayd" / "config_keys.c").read_text()
    tables = re.findall(r"config_(server|pool)_keys\[\] = \{\n(.*?)\n\};", source, re.DOTALL)
    return {name: sorted(re.findall(r'\{"(\w+)", set_', rows)) for name, rows in tables}


def test_the_page_of_the_configuration_has_each_setting_in_its_section_in_order():
    text = (PAGES / "stayd.conf.5").read_text()
    server, pool = re.search(r"\.Ss \[server\]\n(.*)\.Ss \[pool NAME\]\n(.*?)\.Sh",
                             text, re.DOTALL).groups()
    wanted = settings_of_parser()
    assert len(wanted["server"]) > 5 and len(wanted["pool"]) > 5
    for name, section in (("server", server), ("pool", pool)):
        assert re.findall(r"^\.It Cm (\w+)$", section, re.MULTILINE) == wanted[name]


def test_the_packaged_configuration_explains_each_setting():
    text = (ROOT / "packaging" / "stayd.conf").read_text()
    explained = set(re.findall(r"^;?(\w+) = ", text, re.MULTILINE))
    wanted = settings_of_parser()
    assert not (set(wanted["server"]) | set(wanted["pool"])) - explained


def test_the_page_of_stayctl_has_each_command():
    source = (ROOT / "ctl" / "main.c").read_text()
    table = re.search(r"commands\[\] = \{\n(.*?)\n\};", source, re.DOTALL).group(1)
    wanted = set(re.findall(r'\{"(\w+)", ', table))
    wanted |= set(re.findall(r'strcmp\(invocation[.>-]+command, "(\w+)"\)', source))
    assert len(wanted) > 10
    assert sorted(items("stayctl.1", "Ic")) == sorted(wanted)


@pytest.mark.parametrize("page", SOURCES, ids=lambda page: page.name)
def test_a_page_is_shown_without_a_warning(page):
    checkers = {"man": ["man", "--warnings", "-l"],
                "mandoc": ["mandoc", "-T", "lint", "-W", "warning"]}
    there = [command for name, command in checkers.items() if shutil.which(name)]
    if not there:
        pytest.skip("there is neither man nor mandoc")
    for command in there:
        done = subprocess.run([*command, page], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert command[0] == "man" or done.stdout == ""
