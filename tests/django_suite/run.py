#!/usr/bin/env python3
"""Runs Django's own tests of sessions and of memcached caches against the back ends of this package.

    tests/django_suite/run.py [VERSION...]        # 4.2 5.2 6.0, those that this Python can run

For each version, Django and its source distribution come from PyPI into build/django-suite, the
first time. stayd_tests beside this file says which classes of Django's run, and which of their tests
do not apply, with the reason. Exit status 0 if all passed.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "build/django-suite"
PACKAGES = ["pymemcache>=4.0", "zstandard"]
LEAST_PYTHON = {"6.0": (3, 12), "5.2": (3, 10)}
DEFAULT = ["4.2", "5.2", "6.0"]
# The last two make Django's runner install the applications that stayd_tests uses.
LABELS = ["stayd_tests", "sessions_tests.tests.ClearSessionsCommandTests",
          "cache.tests.CacheHandlerTest"]


def find_python(version):
    """A Python that can run this Django, None if there is none."""
    least = LEAST_PYTHON.get(version, (3, 9))
    names = [sys.executable, *(f"python3.{minor}" for minor in range(14, 9, -1))]
    pyenv = sorted(pathlib.Path.home().glob(".pyenv/versions/3.1*/bin/python3"))
    for name in [*names, *map(str, pyenv)]:
        program = shutil.which(name)
        ask = f"import sys; sys.exit(sys.version_info < {least})"
        if program and subprocess.run([program, "-c", ask], capture_output=True).returncode == 0:
            return program
    return None


def prepare(version, python):
    """(the environment's Python, Django's folder of tests)."""
    folder = WORK / version
    program = folder / "venv/bin/python"
    if not (folder / "ready").exists():
        print(f"django-suite: fetching Django {version}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
        pip = [program, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", f"django~={version}.0", *PACKAGES], check=True)
        ask = "import django; print(django.__version__)"
        exact = subprocess.run([program, "-c", ask], capture_output=True, text=True, check=True)
        subprocess.run([*pip, "download", "--no-deps", "--no-binary=:all:", "--dest", folder,
                        f"django=={exact.stdout.strip()}"], check=True)
        (archive,) = folder.glob("[Dd]jango-*.tar.gz")
        with tarfile.open(archive) as source:
            source.extractall(folder)
        (folder / "ready").touch()
    (tests,) = folder.glob("[Dd]jango-*/tests")
    return program, tests


def run(version, python):
    """True if Django's tests pass."""
    program, tests = prepare(version, python)
    shutil.copytree(HERE / "stayd_tests", tests / "stayd_tests", dirs_exist_ok=True)
    sys.path.insert(0, str(ROOT / "tests"))
    from support.servers import Stayd

    with Stayd() as server:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "build" / "python", HERE))),
            "STAYD_SESSIONS": server.url("sessions"),
            "STAYD_CACHE": server.address("cache"),
        }
        done = subprocess.run(
            [program, "-B", "runtests.py", "--settings=suite_settings", "--parallel=1", "-v1", *LABELS],
            cwd=tests, env=environment,
        )
    return done.returncode == 0


def main(versions):
    """The exit status."""
    failed = False
    for version in versions or DEFAULT:
        python = find_python(version)
        if python is None:
            print(f"django-suite: NOT RUN: Django {version}: no Python here is new enough")
            continue
        print(f"django-suite: Django {version}", flush=True)
        failed |= not run(version, python)
    return int(failed)


if __name__ == "__main__":
    os.environ.setdefault("STAYD_BINARY", str(ROOT / "build/stayd"))
    sys.exit(main(sys.argv[1:]))
