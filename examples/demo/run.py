#!/usr/bin/python3
"""The demo: who stays logged in?

    build/venv/bin/python -B examples/demo/run.py

Starts the bookshop of examples/site three times: on one memcached, on two memcacheds, and on stayd.
It uses the shops over HTTP as browsers do, and shows who is still logged in after things that
happen to every site. Then it times loading and saving a session. On a terminal, the bookshop on
stayd then stays up until Ctrl-C; otherwise the demo ends. The exit status is 0 if all readers
stayed logged in on stayd after every step, 1 if not or if something else failed, and 130 if the
demo was interrupted.

All files of the demo are under build/run/ and are made anew each time.
"""

import argparse
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import requests

import setups
from browser import UnexpectedPage
from children import LOCK, CannotRun, ChildDied, Children, how_it_ended, interrupt_when_told_to_end, locked
from screen import Screen
from speed import Speed
from story import Story

RUN_DIR = setups.TREE_DIR / "build" / "run"
READER = "reader001"
ENDING_S = 2.0  # how long a dying process may take to end after a visitor has met an error


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Shows who stays logged in, and what it costs.")
    parser.add_argument("--readers", type=int, default=200, help="readers in each shop (200)")
    parser.add_argument("--memory", type=int, default=8, help="megabytes of each pool (8)")
    parser.add_argument("--rounds", type=int, default=21, help="rounds of timing, 0 for none (21)")
    parser.add_argument("--run-dir", type=Path, default=RUN_DIR, help="where all state goes")
    return parser.parse_args()


def check_programs():
    """Raises CannotRun if a program that the demo starts is missing."""
    for program in (setups.STAYD, setups.MEMCACHED):
        if not os.access(program, os.X_OK):
            raise CannotRun(f"{program} is missing. `make build` makes it.")


@contextlib.contextmanager
def fresh_directory(path):
    """Empties the directory, makes it if necessary, and keeps other demos out of it."""
    with locked(path, "another demo is running in"):
        for entry in path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != LOCK:
                entry.unlink()
        yield path


def introduce(screen, shops, reader_count):
    """Says what is about to be shown."""
    screen.heading("stayd: who stays logged in?")
    screen.paragraph(
        f"{reader_count} readers log in to a small bookshop, a Django site, over HTTP. It runs"
        " three times; all that differs is where it keeps its sessions:"
    )
    screen.blank()
    screen.pairs([(setup.title, setup.about) for setup in shops])
    screen.blank()
    screen.paragraph("Then the same is done to all three, things that happen to every site.")
    screen.blank()


def tell_story(screen, children, run_dir, shops, arguments):
    """Shows the first table; returns the story."""
    story = Story(screen, children, run_dir, shops, arguments.readers, arguments.memory)
    try:
        with screen.table(story.table):
            story.run()
    finally:
        story.close()
    screen.paragraph("Readers who were logged out logged in again before the next step.", "dim")
    screen.blank()
    for mark, sentence in story.notes():
        screen.bullet(mark, sentence)
    screen.blank()
    if story.all_stayed:
        outcome = f"All {arguments.readers} readers stayed logged in on stayd after every step."
        screen.paragraph(outcome, "bold green")
    else:
        screen.paragraph("Not every reader stayed logged in on stayd.", "bold red")
    return story


def measure_speed(screen, children, run_dir, database, rounds):
    """Shows the second table."""
    screen.heading("And what does it cost?")
    speed = Speed(screen, children, run_dir, database)
    with screen.table(speed.table):
        speed.run(rounds)
    screen.paragraph(speed.note(), "dim")


def stay_up(screen, children, stayd):
    """Keeps the bookshop on stayd up until Ctrl-C. A stayd that ends is started again."""
    daemon = stayd.daemons[0]
    screen.heading("Try it yourself")
    screen.pairs(
        [
            ("the bookshop on stayd", f"{stayd.url}/login/"),
            ("name and password", f"{READER}, {READER}"),
            ("stayd's dashboard", stayd.dashboard),
            ("stayd's process", f"{daemon.child.process.pid}"),
        ]
    )
    screen.blank()
    screen.paragraph(
        "Log in, clear the cache on your account page, or kill stayd with"
        f" `kill -9 {daemon.child.process.pid}`: it is started again at once, and you are still"
        " logged in. Ctrl-C ends the demo."
    )
    screen.blank()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            how = how_it_ended(daemon.child.process.wait(0.3))
            seconds = daemon.start(children)
            screen.paragraph(
                f"stayd {how}; started again, it answered after {seconds * 1000:.0f} ms."
                f" It is now process {daemon.child.process.pid}."
            )
        for site in stayd.sites:
            site.check()


def run(screen, children, arguments):
    """Runs the whole demo; returns the exit status."""
    check_programs()
    with fresh_directory(arguments.run_dir) as run_dir:
        shops = [
            make(run_dir, arguments.memory)
            for make in (setups.one_memcached, setups.two_memcacheds, setups.stayd)
        ]
        introduce(screen, shops, arguments.readers)
        with screen.waiting("starting three bookshops and their daemons"):
            database = setups.make_database(run_dir, arguments.readers)
            for setup in shops:
                for daemon in setup.daemons:
                    daemon.start(children)
                setup.serve(children, run_dir, database)
            for setup in shops:
                setup.wait_until_served()
        story = tell_story(screen, children, run_dir, shops, arguments)
        *others, stayd = shops
        children.stop([process for setup in others for process in setup.processes])
        if arguments.rounds:
            measure_speed(screen, children, run_dir, database, arguments.rounds)
        screen.tell("done")
        status = 0 if story.all_stayed else 1
        if sys.stdout.isatty() and sys.stdin.isatty():
            try:
                stay_up(screen, children, stayd)
            except KeyboardInterrupt:
                screen.goodbye()
        return status


def explanations(error, children):
    """Returns the parts of the logs that explain an error in a shop."""
    found = [child.report() for child in children.ended(ENDING_S)]
    if not found and isinstance(error, UnexpectedPage):
        address = error.url.removeprefix("http://")
        found = [child.end_of_log() for child in children.all if address in child.command]
    return found


def perform(demo, arguments):
    """Calls demo(screen, children, arguments), stops everything that it started, and prints what went wrong.

    Returns the exit status: that of the demo, 1 after an error, and 130 if somebody interrupted it.
    """
    interrupt_when_told_to_end()
    for name in [name for name in os.environ if name.startswith("SITE_")]:
        del os.environ[name]
    os.environ["SITE_CHEAP_PASSWORDS"] = "yes"
    os.environ["SITE_SECRET_KEY"] = secrets.token_hex(32)
    screen = Screen()
    children = Children()
    try:
        return demo(screen, children, arguments)
    except KeyboardInterrupt:
        screen.goodbye()
        return 130
    except BrokenPipeError:
        # The reader of the output has gone. Without this line, Python would fail when it flushes
        # the output at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (CannotRun, ChildDied) as error:
        screen.failed(str(error))
        return 1
    except (UnexpectedPage, requests.RequestException) as error:
        screen.failed("\n".join([str(error), *explanations(error, children)]))
        return 1
    finally:
        children.stop_for_good()


def main():
    """Runs the demo."""
    return perform(run, parse_arguments())


if __name__ == "__main__":
    sys.exit(main())
