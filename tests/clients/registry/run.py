"""Tests clients from the registries with the daemon: runs the package's own integration suite if it
has one, else one of our programs. `make test-clients` runs this; it needs the network, and node, go
or mvn for the clients of those languages. Not part of `make test`.

    run.py [NAME...]        all of them, or these

Prints a line for each client: what ran, its version, and the result. Exit status 1: a client
failed.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
WORK = ROOT / "build" / "clients"
sys.path.insert(0, str(ROOT / "tests"))

from support.servers import Stayd, stayd_binary  # noqa: E402


CAPTURED_STDERR = """
import contextlib, io

@contextlib.contextmanager
def captured_stderr():
    with contextlib.redirect_stderr(io.StringIO()) as captured:
        yield captured
"""


class Missing(Exception):
    """What a client needs is not on this machine."""


class Failed(Exception):
    """A suite or a program did not pass; the message is the end of what it said."""


def run(command, cwd, needs=None, **environment):
    """Runs a command; returns what it printed."""
    if shutil.which(needs or command[0]) is None:
        raise Missing(f"{needs or command[0]} is not installed")
    done = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=600, env={**os.environ, **environment})
    if done.returncode != 0:
        raise Failed(done.stdout[-3000:])
    return done.stdout


def last(pattern, text):
    """The last match in the output of a test runner: its closing line."""
    found = re.findall(pattern, text)
    return found[-1] if found else "passed"


def sdist(name, *requirements):
    """The source package of PyPI, unpacked, and a Python that has it and pytest: (folder, python,
    version)."""
    folder = WORK / name
    python = folder / "venv" / "bin" / "python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        run([sys.executable, "-m", "venv", str(folder / "venv")], folder)
        pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run([*pip, "download", "--no-deps", "--no-binary", name, name], folder)
        [archive] = folder.glob("*.tar.gz")
        with tarfile.open(archive) as files:
            files.extractall(folder)
        run([*pip, "install", str(archive), "pytest", *requirements], folder)
        (folder / "ready").touch()
    [source] = [path for path in folder.iterdir() if (path / "PKG-INFO").exists()]
    return source, str(python), source.name.rsplit("-", 1)[1]


def pymemcache(stayd):
    """Its integration suite, without what needs a TLS server of its own."""
    source, python, version = sdist("pymemcache", "faker", "zstd")
    host, port = stayd.address().split(":")
    text = run([python, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", ".",
                "-p", "no:cacheprovider", "--server", host, "--port", port,
                "-k", "not tls", "pymemcache/test/test_integration.py",
                "pymemcache/test/test_compression.py"], source)
    return f"pymemcache {version}, its integration suite", last(r"\d+ passed.*?(?= in )", text)


def pylibmc(stayd):
    """Its suite, without test_autoconf: that looks for Amazon's ElastiCache on port 11211."""
    if not os.path.exists("/usr/include/libmemcached/memcached.h"):
        raise Missing("libmemcached-dev is not installed")
    source, python, version = sdist("pylibmc")
    host, port = stayd.address().split(":")
    text = run([python, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", ".",
                "-p", "no:cacheprovider", "--ignore", "tests/test_autoconf.py", "tests"], source,
               MEMCACHED_HOST=host, MEMCACHED_PORT=port)
    return f"pylibmc {version}, its suite", last(r"\d+ passed.*?(?= in )", text)


def python_memcached(stayd):
    """All of its suite, with the constant port replaced."""
    source, python, version = sdist("python-memcached", "mock")
    (source / "tests" / "__init__.py").touch()  # the archive lacks these two files
    (source / "tests" / "utils.py").write_text(CAPTURED_STDERR)
    suite = source / "tests" / "test_memcache.py"
    suite.write_text(re.sub(r"127\.0\.0\.1:\d+", stayd.address(), suite.read_text()))
    text = run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], source)
    return f"python-memcached {version}, its suite", last(r"\d+ passed.*?(?= in )", text)


def gomemcache(stayd):
    """All of its suite. The suite starts a program by the name of memcached, which is stayd here."""
    folder = WORK / "go"
    module = "github.com/bradfitz/gomemcache"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "memcached").write_text(f'#!/bin/sh\nexec {stayd_binary()} "$@"\n')
    (folder / "bin" / "memcached").chmod(0o755)
    (folder / "go.mod").write_text("module clients\n\ngo 1.21\n")
    run(["go", "get", f"{module}/memcache"], folder)
    where, version = run(["go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", module], folder).split()
    shutil.copytree(where, folder / "source")
    run(["chmod", "-R", "u+w", "source"], folder)
    suite = folder / "source" / "memcache" / "memcache_test.go"
    suite.write_text(suite.read_text().replace("localhost:11211", stayd.address()))
    text = run(["go", "test", "-count=1", "-v", "./memcache/"], folder / "source",
               PATH=f"{folder / 'bin'}:{os.environ['PATH']}")
    passed = len(re.findall(r"^--- PASS", text, re.M))
    skipped = re.findall(r"^--- SKIP: (\w+)", text, re.M)
    return (f"gomemcache {version}, its suite",
            f"{passed} passed" + (f", skipped: {', '.join(skipped)}" if skipped else ""))


def node(stayd):
    """memjs and memcached, of npm; a program of ours."""
    folder = WORK / "node"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules" / "memjs").exists():
        run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder),
             "memjs", "memcached"], folder)
    versions = [run(["node", "-p", f"require('./node_modules/{name}/package.json').version"],
                    folder).strip() for name in ("memjs", "memcached")]
    shutil.copy(HERE / "node.js", folder / "run.js")
    text = run(["node", "run.js", stayd.address()], folder)
    return f"memjs {versions[0]} and memcached {versions[1]}, a program of ours", text.strip()


def java(stayd):
    """spymemcached and xmemcached, of Maven Central; a program of ours."""
    folder = WORK / "java"
    (folder / "src" / "main" / "java").mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "pom.xml", folder)
    shutil.copy(HERE / "Clients.java", folder / "src" / "main" / "java")
    text = run(["mvn", "-q", "compile", "exec:java", f"-Dexec.args={stayd.address()}"], folder)
    pom = (HERE / "pom.xml").read_text()
    versions = [f"{name} {re.search(f'{name}</artifactId><version>(.*?)<', pom)[1]}"
                for name in ("spymemcached", "xmemcached")]
    return (f"{' and '.join(versions)}, a program of ours",
            f"{len(re.findall(': passed', text))} of 4 passed")


CLIENTS = {"pymemcache": pymemcache, "pylibmc": pylibmc, "python-memcached": python_memcached,
           "gomemcache": gomemcache, "node": node, "java": java}


def main(names):
    """Runs each against a daemon of its own; returns the exit status."""
    status = 0
    for name in names or CLIENTS:
        try:
            with Stayd() as stayd:
                what, result = CLIENTS[name](stayd)
            print(f"test-clients: {what}: {result}", flush=True)
        except Missing as missing:
            print(f"test-clients: {name}: not run: {missing}", flush=True)
        except (Failed, subprocess.TimeoutExpired) as failure:
            print(f"test-clients: {name}: FAILED\n{failure}", flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
