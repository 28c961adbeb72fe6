"""Builds the extension for each Python that it supports, and runs short.py there (make test-pythons).

    python3 tests/pythons/run.py [NAME...]         e.g. 3.12 3.11-dbg; else all

A Python comes from PATH or ~/.pyenv, with its headers. Otherwise, if Debian has it, it is unpacked from
Debian's archive into build/pythons/NAME with all its dependencies, and run there by chroot (as root). A
Python that neither way finds is skipped, with a message. Exit status 0 if all that ran have passed.

The name `valgrind`: the system's Python opens and closes clients under valgrind, if that is installed.
"""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from support.servers import Stayd  # noqa: E402

BUILD = ROOT / "build"
HERE = BUILD / "pythons"
CLIENTS = 10_000
CLIENTS_UNDER_VALGRIND = 300
RELEASES = {
    "3.9": None, "3.10": None, "3.11": "bookworm", "3.11-dbg": "bookworm", "3.12": None,
    "3.13": "trixie", "3.14": "sid", "3.14-dbg": "sid",
}
"""For each Python: a release of Debian that has it, and whose libc is at least as new as this machine's,
because the extension is compiled for this machine's libc. None: no release."""

ABOUT = "import sys, sysconfig as s; print(s.get_config_var('EXT_SUFFIX'), s.get_paths()['include'])"


class LeftOut(Exception):
    """This machine cannot get this Python."""


def run(command, **options):
    """Runs a command; its output is shown only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}")
    return done.stdout


class Installed:
    """A Python of this machine."""

    def __init__(self, name):
        number, _, debug = name.partition("-")
        folders = [pathlib.Path(each) for each in os.environ["PATH"].split(os.pathsep)]
        folders += sorted(pathlib.Path.home().glob(f".pyenv/versions/{number}.*/bin"))
        for folder in [pathlib.Path("/usr/bin"), *folders]:
            self.command = [folder / f"python{number}{'-' if debug else ''}{debug}"]
            if self.command[0].exists() and self._has_headers():
                return
        raise LeftOut

    def _has_headers(self):
        found = subprocess.run([*self.command, "-c", ABOUT], capture_output=True, text=True)
        if found.returncode != 0:
            return False  # pyenv has such a command in PATH for versions that are not in use
        self.suffix, include = found.stdout.split()
        self.includes = [pathlib.Path(include)]
        return (self.includes[0] / "Python.h").exists()


class Unpacked:
    """A Python from Debian's archive, unpacked with the system that it needs."""

    def __init__(self, name, release):
        if release is None or os.geteuid() != 0 or not shutil.which("apt-get"):
            raise LeftOut
        number, _, debug = name.partition("-")
        self._system = HERE / name / "system"
        packages = [f"python{number}", f"libpython{number}-dev", "libssl-dev", "libzstd-dev"]
        if debug:
            packages += [f"python{number}-dbg", f"libpython{number}-dbg"]
        if not (self._system / "ready").exists():
            try:
                self._unpack(release, packages)
            except RuntimeError as error:
                raise LeftOut(str(error).splitlines()[-1]) from error
        # A mount of this tree at its own path, so that all paths are the same inside.
        inside = self._system / str(ROOT).lstrip("/")
        inside.mkdir(parents=True, exist_ok=True)
        (self._system / "proc").mkdir(exist_ok=True)
        self.command = [
            "unshare", "--mount", "sh", "-c",
            'mount --make-rprivate / && mount --bind "$1" "$2" && mount --rbind /proc "$3/proc" &&'
            ' system=$3 && shift 3 && exec chroot "$system" "$@"',
            "sh", ROOT, inside, self._system, f"/usr/bin/python{number}{'-' if debug else ''}{debug}",
        ]
        self.suffix, include = run([*self.command, "-c", ABOUT]).split()
        # Debian's pyconfig.h is in a folder for each kind of machine. Only that folder is used: the
        # other
        # headers beside it belong to another libc than this machine's.
        own = HERE / name / "include"
        shutil.rmtree(own, ignore_errors=True)
        for folder in (self._system / "usr" / "include").glob("*-linux-*/python*"):
            (own / folder.parent.name).mkdir(parents=True, exist_ok=True)
            (own / folder.parent.name / folder.name).symlink_to(folder)
        self.includes = [self._system / include.lstrip("/"), own]

    def _unpack(self, release, packages):
        shutil.rmtree(self._system, ignore_errors=True)
        own = HERE / "apt" / release
        for folder in ("lists/partial", "archives/partial", "etc/preferences.d"):
            (own / folder).mkdir(parents=True, exist_ok=True)
        (own / "status").touch()
        mirror = run([
            "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian",
        ]).split()
        if not mirror:
            raise RuntimeError("this machine's apt knows no Debian mirror")
        key = "/usr/share/keyrings/debian-archive-keyring.gpg"
        (own / "sources.list").write_text(f"deb [signed-by={key}] {mirror[0]} {release} main\n")
        options = {
            "Dir::Etc": own / "etc", "Dir::Etc::sourcelist": own / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null", "Dir::State": own, "Dir::State::lists": own / "lists",
            "Dir::State::status": own / "status", "Dir::Cache": own, "Dir::Cache::archives": own / "archives",
            "APT::Install-Recommends": "false",
        }
        apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
        run([*apt, "update"])
        run([*apt, "-y", "--download-only", "install", *packages])
        for name in ("bin", "sbin", "lib", "lib64"):
            (self._system / "usr" / name).mkdir(parents=True, exist_ok=True)
            (self._system / name).symlink_to(f"usr/{name}")
        for package in sorted((own / "archives").glob("*.deb")):
            run(["dpkg", "-x", package, self._system])
        (self._system / "ready").touch()


def find_python(name):
    try:
        return Installed(name)
    except LeftOut:
        return Unpacked(name, RELEASES[name])


def build(name, python):
    """Makes the package for this Python: links to python/stayd, and the extension."""
    package = HERE / name / "python" / "stayd"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for source in (ROOT / "python" / "stayd").iterdir():
        (package / source.name).symlink_to(source)
    includes = [ROOT / "lib", *python.includes]
    run([
        "cc", "-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror",
        "-Wno-missing-field-initializers", "-fvisibility=hidden", "-fno-strict-aliasing", "-Wl,-Bsymbolic",
        *(f"-I{folder}" for folder in includes), *sorted((ROOT / "python" / "extension").glob("*.c")),
        BUILD / "lib" / "libstayd.a", "-lssl", "-lcrypto", "-lzstd", "-lpthread",
        "-o", package / f"_client{python.suffix}",
    ])
    return package.parent


def check(name, url):
    """Returns what short.py says."""
    python = find_python(name)
    package = build(name, python)
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", "STAYD_URL": url}
    short = [*python.command, "-X", "dev", "-W", "error", ROOT / "tests" / "pythons" / "short.py"]
    return run([*short, str(CLIENTS)], env=environment, timeout=600).strip()


def check_with_valgrind(url):
    """Every block that was allocated in the extension or in libstayd is freed."""
    if not shutil.which("valgrind"):
        raise LeftOut
    name = f"{sys.version_info[0]}.{sys.version_info[1]}"
    package = build(name, find_python(name))
    environment = {
        **os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", "STAYD_URL": url,
        "PYTHONMALLOC": "malloc",
    }
    program = (
        "import os, stayd\n"
        f"for _ in range({CLIENTS_UNDER_VALGRIND}):\n"
        "    with stayd.Client(os.environ['STAYD_URL']) as client:\n"
        "        client.set('k', b'v'); client.get('k'); client.get_many(['k', 'absent'])\n"
        "        client.gets('k'); client.stats()\n"
    )
    said = run(
        [
            "valgrind", "--leak-check=full", "--show-leak-kinds=definite,indirect",
            sys.executable, "-c", program,
        ],
        env=environment, timeout=600,
    )
    lost = [each for each in said.split("\n\n") if "stayd" in each and "lost in loss record" in each]
    wrong = [each for each in said.split("\n\n") if "_client" in each and "Invalid" in each]
    if lost or wrong:
        raise RuntimeError("\n\n".join(lost + wrong))
    return f"{CLIENTS_UNDER_VALGRIND} clients lose nothing"


def main(names):
    unknown = set(names) - {*RELEASES, "valgrind"}
    if unknown:
        sys.exit(f"test-pythons: there is no {unknown.pop()}: {' '.join(RELEASES)} valgrind")
    failed, left_out = [], []
    HERE.mkdir(parents=True, exist_ok=True)
    with Stayd(binary=str(BUILD / "stayd"), parent=str(HERE)) as daemon:
        url = daemon.unix_url("sessions")
        for name in names or [*RELEASES, "valgrind"]:
            try:
                said = check_with_valgrind(url) if name == "valgrind" else check(name, url)
                print(f"test-pythons: {name}: {said}", flush=True)
            except LeftOut as error:
                left_out.append(f"{name} {error}".strip())
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                failed.append(name)
                print(f"test-pythons: {name}: {error}", file=sys.stderr, flush=True)
    for name in left_out:
        print(f"test-pythons: NOT RUN: {name}", file=sys.stderr)
    if failed:
        sys.exit(f"test-pythons: failed: {' '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
