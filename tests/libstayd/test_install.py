"""libstayd as it is installed: header, libraries, pkg-config, manual page; and the example of
docs/libstayd.md, built against that."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from libstayd.programs import is_sanitized
from support.servers import ROOT, Memcached, stayd_binary

BUILD = pathlib.Path(stayd_binary()).resolve().parent


def output(*command, **options):
    """What the command prints; it must succeed."""
    done = subprocess.run(list(map(str, command)), text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that stands for /."""
    if is_sanitized():
        pytest.skip("a library under a sanitizer is not for programs without")
    root = tmp_path_factory.mktemp("root")
    output("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet",
           env={**os.environ, "DESTDIR": str(root)})
    return root


def pkg_config(installed, *arguments):
    """The words that pkg-config says of the library there."""
    (file,) = installed.glob("**/pkgconfig/libstayd.pc")
    environment = {**os.environ, "PKG_CONFIG_SYSROOT_DIR": str(installed),
                   "PKG_CONFIG_PATH": str(file.parent)}
    return shlex.split(output("pkg-config", *arguments, "libstayd", env=environment))


def libraries(installed):
    """The folder with the libraries."""
    (library,) = installed.glob("**/libstayd.so")
    return library.parent


def example():
    """The program in docs/libstayd.md."""
    text = (ROOT / "docs" / "libstayd.md").read_text()
    (program,) = re.findall(r"^```c\n(#include.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return program


@pytest.mark.parametrize("how", ["shared", "static"])
def test_the_example_is_built_against_what_is_installed_and_runs(installed, tmp_path, how):
    source, program = tmp_path / "example.c", tmp_path / "example"
    source.write_text(example())
    flags = pkg_config(installed, "--cflags", "--libs", *(["--static"] if how == "static" else []))
    if how == "static":
        flags = [str(libraries(installed) / "libstayd.a") if flag == "-lstayd" else flag
                 for flag in flags]
    output("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", source, *flags, "-o", program)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries(installed))}
    with Memcached() as server:
        text = output(program, server.url(), env=environment)
    assert text == "hello, 5 bytes\n"
    linked = output("ldd", program, env=environment)
    assert ("libstayd.so.0" in linked) == (how == "shared")


def test_no_name_but_stayds_own_can_be_seen(installed):
    folder = libraries(installed)
    header = next(installed.glob("**/include/stayd.h")).read_text()
    declared = set(re.findall(r"\b(stayd_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)))
    others = {"stayd_failed", "stayd_options_init", "stayd_stat"}  # inline, and a type
    for arguments in (["-D", folder / "libstayd.so"], ["-g", folder / "libstayd.a"]):
        listing = output("nm", "--defined-only", "-P", *arguments)
        names = {line.split()[0].split("@")[0] for line in listing.splitlines() if " " in line}
        assert names - {"STAYD_0"} == declared - others


@pytest.mark.parametrize("compiler", [
    ["cc", "-x", "c", "-std=c99", "-pedantic"], ["c++", "-x", "c++", "-std=c++11", "-pedantic"],
])
def test_the_header_stands_alone(installed, compiler):
    header = next(installed.glob("**/include/stayd.h"))
    output(*compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", header)


def test_the_manual_page_names_every_function(installed):
    (page,) = installed.glob("**/man3/libstayd.3")
    text = page.read_text()
    if shutil.which("man"):
        shown = output("man", "--warnings", "-l", page, env={**os.environ, "MANWIDTH": "100"})
        assert "warning" not in shown and "libstayd - a client" in shown
    header = next(installed.glob("**/include/stayd.h")).read_text()
    for name in set(re.findall(r"^\w.*?\b(stayd_\w+)\(", header, re.MULTILINE)):
        assert name in text, name
