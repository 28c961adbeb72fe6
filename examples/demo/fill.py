"""Fills a store with the sessions of anonymous visitors and with cached pages, through Django.

Run as a process of its own with the bookshop's settings in the environment:

    fill.py fill KEYS_FILE [--seed S] [--pages-mb MB] [--sessions N]
    fill.py empty KEYS_FILE

`fill` caches pages, then creates sessions and writes their keys to KEYS_FILE. It creates N
sessions, or without N as many as stayd accepts before its pool is full. `empty` deletes those
sessions again. Progress and outcome are JSON objects on standard output, one on each line. If a
store fails in any other way, the process ends with the traceback.
"""

import argparse
import json
import os
import random
import sys
import time
import uuid
from importlib import import_module
from pathlib import Path

SITE_DIR = Path(__file__).resolve().parents[1] / "site"
PROGRESS_EVERY_S = 0.1
PAGE_BYTES = 8000
SAMPLED_EVERY = 16
FULL_AFTER_S = 0.5  # a pool that refuses for this long is full
RETRY_EVERY_S = 0.01
SESSIONS_AT_MOST = 5_000_000  # no store has room for more in a few megabytes


def tell(**facts):
    """Writes one line for the demo to read."""
    print(json.dumps(facts), flush=True)


def visitor_session(chooser, slugs):
    """Returns the session of a visitor of the bookshop: the last books, and sometimes a basket."""
    seen = chooser.sample(slugs, chooser.randint(1, len(slugs)))
    clicks = [f"2026-05-04T10:{chooser.randint(0, 59):02}:{n:02}+00:00" for n in range(len(seen))]
    content = {"seen": [{"slug": slug, "at": at} for slug, at in zip(seen, clicks)]}
    if chooser.random() < 0.7:
        content["basket"] = {slug: chooser.randint(1, 3) for slug in seen[:4]}
    return content


def create_sessions(store_class, seed, limit, keys_file):
    """Creates limit sessions, or as many as fit into stayd's pool when limit is None."""
    from bookshop.books import BY_SLUG
    from stayd import OutOfMemory

    class VisitorStore(store_class):
        """The site's store, which does not check first whether a new random key is taken: the `add`
        in create() finds out."""

        def _get_new_session_key(self):
            return uuid.uuid4().hex

    chooser = random.Random(seed)
    slugs = sorted(BY_SLUG)
    created, sampled, sampled_bytes, full, refused_since = 0, 0, 0, False, None
    told_at = time.monotonic()
    while not full and created < (limit or SESSIONS_AT_MOST):
        session = VisitorStore()
        session.update(visitor_session(chooser, slugs))
        try:
            session.save()
        except OutOfMemory:
            # stayd may still find room, because it reclaims dead records in the background.
            refused_since = refused_since or time.monotonic()
            full = time.monotonic() - refused_since > FULL_AFTER_S
            time.sleep(RETRY_EVERY_S)
            continue
        refused_since = None
        keys_file.write(session.session_key + "\n")
        created += 1
        if created % SAMPLED_EVERY == 0:
            sampled += 1
            sampled_bytes += len(json.dumps(dict(session.items()), separators=(",", ":")))
        if time.monotonic() - told_at > PROGRESS_EVERY_S:
            tell(sessions=created)
            told_at = time.monotonic()
    average_bytes = round(sampled_bytes / max(sampled, 1))
    tell(done=True, sessions=created, average_bytes=average_bytes, full=full)


def cache_pages(megabytes):
    """Puts `megabytes` of pages into the cache."""
    from django.core.cache import cache

    for number in range(megabytes * 1_000_000 // PAGE_BYTES):
        cache.set(f"page-{number}", f"{number:<{PAGE_BYTES}}", 3600)


def main():
    """Runs the command line in this module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=["fill", "empty"])
    parser.add_argument("keys", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pages-mb", type=int, default=0)
    parser.add_argument("--sessions", type=int)
    arguments = parser.parse_args()

    sys.path.insert(0, str(SITE_DIR))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshop.settings")
    import django
    from django.conf import settings

    django.setup()
    store_class = import_module(settings.SESSION_ENGINE).SessionStore
    if arguments.action == "fill":
        cache_pages(arguments.pages_mb)
        with open(arguments.keys, "w", encoding="ascii") as keys_file:
            create_sessions(store_class, arguments.seed, arguments.sessions, keys_file)
        return
    keys = arguments.keys.read_text(encoding="ascii").split()
    for key in keys:
        store_class(key).delete()
    tell(done=True, sessions=len(keys))


if __name__ == "__main__":
    main()
