"""Libraries that are preloaded into the daemon, to replace functions of the system's libraries."""

import atexit
import functools
import pathlib
import shutil
import subprocess
import tempfile
import threading

from support.servers import ROOT, stayd_binary

_lock = threading.Lock()


def library(source):
    """The path of the library that is made of this C file under tests/. None if the daemon under test has
    a sanitizer, whose library must be loaded first. Any thread may call this."""
    with _lock:
        return _make(source)


@functools.cache
def has_sanitizer():
    """Whether the daemon under test has a sanitizer."""
    binary = pathlib.Path(stayd_binary()).read_bytes()
    return b"__asan_" in binary or b"__tsan_" in binary


@functools.cache
def _make(source):
    if has_sanitizer():
        return None
    folder = pathlib.Path(tempfile.mkdtemp(prefix="stayd-preload-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = folder / "library.so"
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", made,
                    ROOT / "tests" / source], check=True)
    return made
