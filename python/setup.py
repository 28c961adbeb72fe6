"""Builds stayd._client from libstayd's sources. In the repository, these sources are beside this folder; in a
source distribution, they are inside it. Without a compiler or OpenSSL, the package is installed without the
extension (see stayd.Client.backend)."""

import os
import pathlib
import re
import shutil

from setuptools import Extension, setup
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
INSIDE = pathlib.Path("libstayd")


def library_sources(root):
    """The C files of libstayd under `root`, with those that it shares with the daemon. lib/meson.build lists
    them."""
    lines = (root / "lib" / "meson.build").read_text().split("static_library('stayd_parts',")[1]
    names = re.findall(r"^  '([^']+\.c)',$", lines.split(")")[0], re.MULTILINE)
    return [pathlib.Path(os.path.normpath(root / "lib" / name)) for name in names]


def with_headers(root, sources):
    """These files, and all files under `root` that they include."""
    found = set()
    waiting = list(sources)
    while waiting:
        source = waiting.pop()
        if source in found:
            continue
        found.add(source)
        for name in re.findall(r'^#include "([^"]+)"', source.read_text(), re.MULTILINE):
            beside = (source.parent / name, root / "lib" / name, root / "src" / name)
            waiting += [each for each in beside if each.is_file()][:1]
    return found


class SdistWithLibrary(sdist):
    """A source distribution that also contains libstayd's sources."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        root = HERE.parent
        own = set((HERE / "extension").glob("*.[ch]"))
        wanted = with_headers(root, [*library_sources(root), *own, root / "lib" / "stayd.h"]) - own
        for source in [*wanted, root / "lib" / "meson.build"]:
            target = pathlib.Path(base_dir) / INSIDE / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


root = INSIDE if (HERE / INSIDE).is_dir() else pathlib.Path("..")
library_version = "0.1.0"

setup(
    cmdclass={"sdist": SdistWithLibrary},
    ext_modules=[
        Extension(
            "stayd._client",
            sources=[
                *(f"extension/{path.name}" for path in sorted((HERE / "extension").glob("*.c"))),
                *(str(source) for source in library_sources(root)),
            ],
            include_dirs=[str(root / "lib"), str(root / "src")],
            define_macros=[
                ("_GNU_SOURCE", None),
                ("STAYD_LIBRARY", None),
                ("STAYD_VERSION", f'"{library_version}"'),
            ],
            extra_compile_args=["-std=gnu11", "-fvisibility=hidden", "-fno-strict-aliasing"],
            extra_link_args=["-Wl,-Bsymbolic"],
            libraries=["ssl", "crypto", "zstd", "pthread"],
            optional=True,
        )
    ],
)
