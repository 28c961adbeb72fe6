"""Times how long Django takes for each operation on a session: one process for each store.

Run with the bookshop's settings in the environment. It creates sessions of readers who are logged in, and
prints their size. Then it reads lines from standard input. Each line is a JSON object with
operations, and for how many seconds to measure each. The reply is a JSON object with the
percentiles in microseconds:

    {"load": 0.05, "save": 0.05}    ->    {"load": [52.1, 120.3], "save": [127.0, 301.2]}

Every result is checked; a wrong one ends the process.
"""

import functools
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

SITE_DIR = Path(__file__).resolve().parents[1] / "site"
SESSIONS = 200
OPERATIONS_AT_LEAST = 40  # in a turn: enough for a percentile, not too long on a slow disk
CACHED_AT_ONCE = 20  # values that get_many reads
CACHED_BYTES = 300


def reader_session(number):
    """Returns the session of a reader who is logged in."""
    return {
        "_auth_user_id": str(number + 1),
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": f"{number:064x}",
        "visits": 1,
        "basket": {"middlemarch": 1, "kidnapped": 2},
    }


def percentile(durations, percent):
    """Returns this percentile of durations, a list of seconds, in microseconds."""
    ordered = sorted(durations)
    rank = min(len(ordered) - 1, len(ordered) * percent // 100)
    return ordered[rank] * 1e6


class Operations:
    """The operations that can be timed. prepare_NAME(n) returns the n-th call, and
    is_right_NAME(result) checks its result. Only the call itself is timed."""

    def __init__(self, store_class, cache):
        self._store_class = store_class
        self._cache = cache
        self._keys = [self._create(number).session_key for number in range(SESSIONS)]
        self._unused_keys = [f"{number:032x}" for number in range(SESSIONS)]
        self._cached = {f"page-{number}": f"{number:<{CACHED_BYTES}}" for number in range(SESSIONS)}
        self._cached_names = list(self._cached)

    def _create(self, number):
        session = self._store_class()
        session.update(reader_session(number))
        session.save()
        return session

    def prepare_load(self, number):
        """Loading an existing session."""
        return self._store_class(self._keys[number % SESSIONS]).load

    def is_right_load(self, found):
        """Whether the result is a reader's session."""
        return found.keys() == reader_session(0).keys()

    def prepare_save(self, number):
        """Saving a session that was changed."""
        session = self._store_class(self._keys[number % SESSIONS])
        session["visits"] = session["visits"] + 1
        return session.save

    def is_right_save(self, result):
        """Errors are exceptions."""
        return result is None

    def prepare_exists(self, number):
        """Asking whether an existing session exists."""
        return functools.partial(self._store_class().exists, self._keys[number % SESSIONS])

    def is_right_exists(self, result):
        """The answer must be yes."""
        return bool(result)

    def prepare_miss(self, number):
        """Loading a session that does not exist, as with an old cookie."""
        return self._store_class(self._unused_keys[number % SESSIONS]).load

    def is_right_miss(self, found):
        """The result must be an empty session."""
        return found == {}

    def prepare_delete(self, number):
        """Deleting an existing session, as at a logout."""
        return self._create(number).delete

    def is_right_delete(self, result):
        """Errors are exceptions."""
        return result is None

    def prepare_get_many(self, number):
        """Reading several values from Django's cache. The first call fills the cache."""
        if number == 0:
            self._cache.set_many(self._cached, 3600)
        first = number * CACHED_AT_ONCE % SESSIONS
        names = self._cached_names[first : first + CACHED_AT_ONCE]
        return functools.partial(self._cache.get_many, names)

    def is_right_get_many(self, found):
        """The result must have all values, unchanged."""
        return len(found) == CACHED_AT_ONCE and all(
            value == self._cached[name] for name, value in found.items()
        )

    def time(self, name, seconds):
        """Times the calls of one operation, alone; returns their durations in seconds.

        Measures for at least `seconds`, and at least OPERATIONS_AT_LEAST calls.
        """
        prepare = getattr(self, f"prepare_{name}")
        is_right = getattr(self, f"is_right_{name}")
        durations = []
        measured_s = 0.0
        while measured_s < seconds or len(durations) < OPERATIONS_AT_LEAST:
            call = prepare(len(durations))
            begun = time.perf_counter()
            result = call()
            durations.append(time.perf_counter() - begun)
            measured_s += durations[-1]
            if not is_right(result):
                sys.exit(f"a wrong result of {name}: {result!r}")
        return durations


def main():
    """Creates the sessions, and measures for each line on standard input."""
    sys.path.insert(0, str(SITE_DIR))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshop.settings")
    import django
    from django.conf import settings

    django.setup()
    from django.core.cache import cache

    operations = Operations(import_module(settings.SESSION_ENGINE).SessionStore, cache)
    content = json.dumps(reader_session(0), separators=(",", ":"))
    print(json.dumps({"session_bytes": len(content)}), flush=True)
    for line in sys.stdin:
        answer = {}
        for name, seconds in json.loads(line).items():
            durations = operations.time(name, seconds)
            answer[name] = [percentile(durations, 50), percentile(durations, 99)]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
