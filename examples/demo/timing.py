"""Times how long Django takes to load and to save a session: one process for each store.

Run with the bookshop's settings in the environment. It creates sessions such as a reader has who is
logged in, says how large they are, and then answers each line on standard input, the number of
seconds to measure for, with a JSON object of the percentiles in microseconds.
"""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

SITE_DIR = Path(__file__).resolve().parents[1] / "site"
SESSIONS = 200
OPERATIONS_AT_LEAST = 40  # in a turn: enough for a percentile, not too long on a slow disk


def reader_session(number):
    """Returns what the bookshop keeps for a reader who is logged in."""
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


def time_calls(prepare, seconds):
    """Calls what prepare(n) returns for n = 0, 1, ... and times the call alone.

    Goes on for that many seconds of measured time, and for OPERATIONS_AT_LEAST calls.
    """
    durations = []
    measured_s = 0.0
    while measured_s < seconds or len(durations) < OPERATIONS_AT_LEAST:
        call = prepare(len(durations))
        begun = time.perf_counter()
        call()
        durations.append(time.perf_counter() - begun)
        measured_s += durations[-1]
    return durations


def main():
    """Creates the sessions and measures whenever the demo asks."""
    sys.path.insert(0, str(SITE_DIR))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookshop.settings")
    import django
    from django.conf import settings

    django.setup()
    store_class = import_module(settings.SESSION_ENGINE).SessionStore
    keys = []
    for number in range(SESSIONS):
        session = store_class()
        session.update(reader_session(number))
        session.save()
        keys.append(session.session_key)

    def prepare_load(number):
        return store_class(keys[number % SESSIONS]).load

    def prepare_save(number):
        session = store_class(keys[number % SESSIONS])
        session["visits"] = session["visits"] + 1
        return session.save

    content = json.dumps(reader_session(0), separators=(",", ":"))
    print(json.dumps({"session_bytes": len(content)}), flush=True)
    for line in sys.stdin:
        answer = {}
        for name, prepare in (("load", prepare_load), ("save", prepare_save)):
            durations = time_calls(prepare, float(line))
            answer[name] = [percentile(durations, 50), percentile(durations, 99)]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
