"""Builds stayd._client from libstayd's sources. In the repository they are beside this folder, in a
source distribution inside it. Without a compiler or OpenSSL the package is installed without the
extension (see stayd.Client.backend)."""

import pathlib
import shutil

from setuptools import Extension, setup
from setuptools.command.sdist import sdist

HERE = pathlib.Path(__file__).resolve().parent
INSIDE = pathlib.Path("libstayd")
SHARED = ("base/buffer", "base/number")


def library_sources(root):
    """libstayd's C files under `root`, and the files that it shares with the daemon."""
    sources = sorted((root / "lib").glob("*.c"))
    return sources + [root / "src" / f"{name}.c" for name in SHARED]


class SdistWithLibrary(sdist):
    """A source distribution that also contains libstayd's sources."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        root = HERE.parent
        wanted = library_sources(root) + sorted((root / "lib").glob("*.h"))
        wanted += sorted((root / "src" / "base").glob("*.h"))
        wanted += sorted((root / "src" / "store").glob("*.h"))
        for source in wanted:
            target = pathlib.Path(base_dir) / INSIDE / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


root = INSIDE if (HERE / INSIDE).is_dir() else pathlib.Path("..")
version = "0.1.0"

setup(
    cmdclass={"sdist": SdistWithLibrary},
    ext_modules=[
        Extension(
            "stayd._client",
            sources=[
                *(f"extension/{name}.c" for name in ("client", "many", "sessions", "single")),
                *(str(source) for source in library_sources(root)),
            ],
            include_dirs=[str(root / "lib"), str(root / "src")],
            define_macros=[
                ("_GNU_SOURCE", None),
                ("STAYD_LIBRARY", None),
                ("STAYD_VERSION", f'"{version}"'),
            ],
            extra_compile_args=["-std=gnu11", "-fvisibility=hidden", "-fno-strict-aliasing"],
            libraries=["ssl", "crypto", "zstd", "pthread"],
            optional=True,
        )
    ],
)
