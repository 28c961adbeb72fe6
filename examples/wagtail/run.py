#!/usr/bin/python3
"""A Wagtail site whose sessions and cache are in stayd.

    examples/wagtail/run.py [--port 8000] [--folder build/wagtail]

The first run installs Wagtail from PyPI into build/wagtail-venv, which takes a minute. Then the script
makes a SQLite database with an editor, starts stayd and gunicorn, and prints the site's address. If
stayd ends, the script starts it again, as systemd does. Ctrl-C stops everything, and the next run
continues with the same site and sessions. Exit status: 130 after Ctrl-C or SIGTERM; 2 if PyPI cannot be
reached; 1 if something else failed.
"""

import argparse
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE_DIR = HERE.parents[1]
sys.path.insert(0, str(TREE_DIR / "examples" / "demo"))

from children import (  # noqa: E402
    CannotRun, Child, ChildDied, Children, how_it_ended, interrupt_when_told_to_end, locked, wait_until,
)

VENV = TREE_DIR / "build" / "wagtail-venv"
PACKAGES = TREE_DIR / "build" / "python"  # stayd's, as `make build` leaves it
STAYD = Path(os.environ.get("STAYD_BINARY", TREE_DIR / "build" / "stayd")).resolve()
PYTHON = "/usr/bin/python3"  # the extension is built for it
EDITOR = "editor"
CONFIGURATION = """\
# Written by examples/wagtail/run.py.
[server]
data_dir = {folder}/data
run_dir = {folder}/run
admin = no

[pool cache]
listen = unix:cache.sock
evict = yes
persist = no

[pool sessions]
listen = unix:sessions.sock
evict = no
persist = yes
"""


class NoPackages(CannotRun):
    """pip has not installed Wagtail."""


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Runs a Wagtail site on stayd.")
    parser.add_argument("--port", type=int, default=8000, help="of 127.0.0.1 (8000)")
    parser.add_argument("--folder", type=Path, default=TREE_DIR / "build" / "wagtail",
                        help="where all that the site stores goes (build/wagtail)")
    return parser.parse_args()


def tell(text):
    """Prints a line at once."""
    print(text, flush=True)


def install():
    """Makes the environment from PyPI, unless it exists and has the versions of requirements.txt."""
    wanted = (HERE / "requirements.txt").read_text()
    stamp = VENV / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    tell(f"installing {wanted.split()[0]} from PyPI into {VENV}")
    shutil.rmtree(VENV, ignore_errors=True)
    for command in (
        [PYTHON, "-m", "venv", VENV],
        [VENV / "bin" / "pip", "--quiet", "--disable-pip-version-check", "install", "--only-binary=:all:",
         "--retries=2", "-r", HERE / "requirements.txt"],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            end = "\n".join(f"    {line}" for line in done.stdout.splitlines()[-5:])
            raise NoPackages(f"Wagtail could not be installed. This example needs PyPI, or the mirror that"
                             f" pip is set up for. The last lines of {Path(command[0]).name}:\n{end}")
    stamp.write_text(wanted)


def kept_secret(path):
    """The secret in this file, which is made if it does not exist."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24))
    return path.read_text()


class Site:
    """stayd, the database and gunicorn, all in one folder."""

    def __init__(self, folder, port):
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.children = Children()
        kept_secret(folder / "secret_key")
        self.password = kept_secret(folder / "password")
        self.environ = {
            "PYTHONPATH": str(PACKAGES), "PYTHONDONTWRITEBYTECODE": "1", "SITE_FOLDER": str(folder),
        }
        configuration = folder / "stayd.conf"
        configuration.write_text(CONFIGURATION.format(folder=folder))
        for name in ("data", "run"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        self.stayd = Child("stayd", [STAYD, "-c", configuration], folder / "stayd.log")
        self.gunicorn = Child(
            "gunicorn",
            [VENV / "bin" / "gunicorn", "--chdir", HERE, "--bind", f"127.0.0.1:{port}", "--workers", "2",
             "--threads", "4", "--timeout", "120", "newsroom.wsgi"],
            folder / "gunicorn.log", self.environ)

    def manage(self, *arguments, **environ):
        """Runs manage.py."""
        done = subprocess.run(
            [VENV / "bin" / "python", HERE / "manage.py", *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env={**os.environ, **self.environ, **environ})
        if done.returncode != 0:
            raise CannotRun(f"manage.py {arguments[0]} failed:\n{done.stdout[-2000:]}")

    def make_database(self):
        """Brings the tables up to date, and the first time makes the editor."""
        ready = self.folder / "ready"
        if not ready.exists():
            tell("making the database")
            (self.folder / "site.sqlite3").unlink(missing_ok=True)
        self.manage("migrate", "--verbosity=0")
        if not ready.exists():
            self.manage("createsuperuser", "--noinput", "--username", EDITOR, "--email", "editor@localhost",
                        DJANGO_SUPERUSER_PASSWORD=self.password)
            ready.touch()

    def start_stayd(self):
        """Starts stayd, and waits until both pools listen."""
        self.children.start(self.stayd)
        for name in ("cache.sock", "sessions.sock"):
            wait_until(lambda: self._listens(name), self.stayd, "listen")

    def _listens(self, name):
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.folder / "run" / name)) == 0

    def start_gunicorn(self):
        """Starts the web server, and waits until it shows Wagtail's login page."""
        self.children.start(self.gunicorn)
        wait_until(self._is_served, self.gunicorn, "answer", poll_every_s=0.2)

    def _is_served(self):
        try:
            with urllib.request.urlopen(f"{self.url}/admin/login/", timeout=60) as page:
                return page.status == 200
        except urllib.error.HTTPError as error:
            raise ChildDied(f"{error.url}: {error}. {self.gunicorn.end_of_log()}") from error
        except OSError:
            return False

    def stay_up(self):
        """Starts stayd again whenever it ends, for as long as gunicorn runs."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                how = how_it_ended(self.stayd.process.wait(0.3))
                self.start_stayd()
                tell(f"stayd {how}. It runs again, as process {self.stayd.process.pid}.")
            self.gunicorn.check()


def run(arguments):
    """Makes everything that is missing, and runs the site until a signal comes."""
    if not os.access(STAYD, os.X_OK):
        raise CannotRun(f"{STAYD} is missing. `make build` makes it.")
    install()
    with locked(arguments.folder, "another run.py uses"):
        site = Site(arguments.folder.resolve(), arguments.port)
        try:
            site.start_stayd()
            site.make_database()
            site.start_gunicorn()
            tell(f"Wagtail: {site.url}/admin/\n"
                 f"name: {EDITOR}\n"
                 f"password: {site.password}\n"
                 f"stayd: process {site.stayd.process.pid}\n"
                 "Log in, then kill -9 that process: it starts again, and you are still logged in."
                 " Ctrl-C stops all.")
            site.stay_up()
        finally:
            site.children.stop_for_good()


def main():
    """Runs the site, and prints what went wrong."""
    arguments = parse_arguments()
    interrupt_when_told_to_end()
    try:
        run(arguments)
    except KeyboardInterrupt:
        return 130
    except (CannotRun, ChildDied) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, NoPackages) else 1


if __name__ == "__main__":
    sys.exit(main())
