"""Times the steps of loading and saving a session: docs/django.md shows the result.

    build/venv/bin/python bench/session_steps.py

Each step is timed alone, with a daemon that nothing else uses. The result is the shortest of many
runs, because other work on the machine can only add to a time.
"""

import json.decoder
import sys
import timeit
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples" / "demo"), str(ROOT / "build" / "python")]

import django  # noqa: E402
from django.conf import settings  # noqa: E402

from support.servers import Stayd  # noqa: E402
from timing import reader_session  # noqa: E402

REPEATS = 1000
CALLS = 50
STEPS = [
    ("load", "session._session_key = key; session.load()"),
    ("  key's digest", "digest_name(key)"),
    ("  look-up, and the value as bytes", "client.get_mapped(name)"),
    ("  zstd", "packing.unpack(packed)"),
    ("  JSON", "scan(text, 0)"),
    ("  (json.loads instead)", "json.loads(text)"),
    ("  the extension's call as a whole", "load_mapped(key)"),
    ("the session's store", "SessionStore(key)"),
    ("save, but the round trip", "session.encode(content); session.get_session_cookie_age()"),
    ("  JSON", "dumps(content)"),
    ("  (json.dumps instead)", "json.dumps(content, separators=(',', ':')).encode('latin-1')"),
    ("  zstd", "packing.pack(serialized)"),
    ("  (get_expiry_age instead)", "session.get_expiry_age()"),
    ("round trip: replace", "client.replace(name, packed_value, 1000)"),
]


def main(url):
    """Prints a line for each step."""
    settings.configure(SESSION_ENGINE="stayd.django.session_backend", SESSION_CACHE=url)
    django.setup()
    from stayd import packing
    from stayd.django.session_backend import SessionStore

    session = SessionStore()
    session.update(reader_session(0))
    session["_auth_user_hash"] = "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92"
    session.save()
    key, client, parts = session.session_key, session._cache, session._parts
    name = session.cache_key
    value = client.get(name)
    serialized = packing.unpack(value)
    names = {
        "SessionStore": SessionStore, "client": client, "content": json.loads(serialized),
        "digest_name": parts.items.name_of_new, "dumps": parts.dumps, "json": json, "key": key,
        "load_mapped": parts.load_mapped, "name": name, "packed": value[1:], "packed_value": value,
        "packing": packing.sessions_1(), "scan": json.decoder.JSONDecoder().scan_once,
        "serialized": serialized, "session": session, "text": serialized.decode(),
    }
    print(f"{len(serialized)} bytes, packed {len(value)}")
    for title, statement in STEPS:
        runs = timeit.repeat(statement, globals=names, number=CALLS, repeat=REPEATS)
        print(f"{title:36}{min(runs) / CALLS * 1e6:7.2f} us")


if __name__ == "__main__":
    with Stayd(binary=str(ROOT / "build" / "stayd")) as daemon:
        main(daemon.unix_url("sessions"))
