#!/usr/bin/python3
"""The demo of a cluster: who stays logged in when machines die?

    build/venv/bin/python -B examples/demo/cluster_demo.py

Starts three nodes of nats-server, three stayds with a clustered sessions pool, three copies of the
bookshop of examples/site, and an nginx in front of them. Readers log in; then an engine node, the
leader, a stayd and a whole host are killed and come back, and the demo shows after each who is still
logged in, at the address and on each host, how long the longest write waited, and how long it took
until all hosts had it. The exit status is 0 if all readers stayed logged in everywhere, 1 if not or
if something else failed, and 130 if the demo was interrupted.

All files of the demo are under build/run-cluster/ and are made anew each time.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

import cluster_setups
import setups
from children import CannotRun
from cluster_story import ClusterStory
from cluster_watch import Watch
from run import fresh_directory, perform

RUN_DIR = setups.TREE_DIR / "build" / "run-cluster"


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Shows who stays logged in when machines die.")
    parser.add_argument("--readers", type=int, default=200, help="readers (200)")
    parser.add_argument("--memory", type=int, default=16, help="megabytes of each pool (16)")
    parser.add_argument("--run-dir", type=Path, default=RUN_DIR, help="where all state goes")
    return parser.parse_args()


def check_programs():
    """Raises CannotRun if a program that the demo starts is missing."""
    for program in (setups.STAYD, cluster_setups.STAYCTL, cluster_setups.NATS_SERVER, cluster_setups.NGINX):
        if not os.access(program, os.X_OK):
            raise CannotRun(f"{program} is missing. `make cluster-demo` makes it or unpacks it.")


def introduce(screen, reader_count):
    """Says what is about to be shown."""
    screen.heading("stayd on three hosts: who stays logged in?")
    screen.pairs([
        ("three engine nodes", "nats-server: each write is on the disks of two before it counts"),
        ("three hosts", "stayd and the bookshop, a Django site; each stayd has all sessions"),
        ("one address", "nginx, which asks the hosts in turn"),
    ])
    screen.blank()
    screen.paragraph(
        f"{reader_count} readers log in at the address. Then machines are killed and come back."
    )
    screen.blank()


def start(screen, children, run_dir, arguments):
    """Starts everything. Returns (nodes, hosts, URL of the front)."""
    nodes = cluster_setups.make_nodes(run_dir)
    hosts = cluster_setups.make_hosts(run_dir, nodes, arguments.memory)
    with screen.waiting("starting three engine nodes, three stayds and three bookshops"):
        for node in nodes:
            node.start(children)
        database = setups.make_database(run_dir, arguments.readers)
        cluster_setups.create_streams(nodes, hosts[0])
        for host in hosts:
            host.daemon.start(children)
        for host in hosts:
            host.setup.serve(children, run_dir, database)
        for host in hosts:
            host.setup.wait_until_served()
        front, url = cluster_setups.make_front(run_dir, hosts)
        children.start(front)
        cluster_setups.wait_for_front(front, url)
    return nodes, hosts, url


def run(screen, children, arguments):
    """Runs the whole demo; returns the exit status."""
    check_programs()
    with fresh_directory(arguments.run_dir) as run_dir:
        introduce(screen, arguments.readers)
        nodes, hosts, url = start(screen, children, run_dir, arguments)
        watch = Watch(hosts)
        story = ClusterStory(screen, children, nodes, hosts, url, watch, arguments.readers)
        try:
            with screen.table(story.table):
                story.run()
        finally:
            story.close()
            watch.stop()
        for mark, sentence in story.notes():
            screen.bullet(mark, sentence)
        screen.blank()
        if story.all_stayed:
            outcome = f"All {arguments.readers} readers stayed logged in on every host that ran."
            screen.paragraph(outcome, "bold green")
        else:
            screen.paragraph("Not every reader stayed logged in.", "bold red")
        screen.tell("done")
        return 0 if story.all_stayed else 1


def main():
    """Runs the demo."""
    arguments = parse_arguments()
    logging.getLogger("stayd").addHandler(logging.NullHandler())  # the table says what the client says there
    return perform(run, arguments)


if __name__ == "__main__":
    sys.exit(main())
