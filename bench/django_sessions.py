"""Sessions as Django's own code stores them, and a way to store a million of them.

The real backends save a number of sessions through a relay that records the bytes. The same
commands are then sent in bulk, each time with another session key.
"""

import hashlib
import secrets
import socket
import string

import django
from django.conf import settings

from recording import Relay

SESSION_KEY_CHARACTERS = string.ascii_lowercase + string.digits  # as SessionBase has them
SAMPLES = 500
BATCH = 500
STORING = (b"set", b"add", b"replace", b"cas", b"ms")
STORED = (b"STORED\r\n", b"HD\r\n")


def _configure(plain_port, stayd_port):
    settings.configure(
        SECRET_KEY="bench",
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
                "LOCATION": f"127.0.0.1:{plain_port}",
            }
        },
        SESSION_CACHE=f"memcached://127.0.0.1:{stayd_port}/",
    )
    django.setup()


def _fill_session(session, number):
    """The data that django.contrib.auth.login() stores in a session, and a counter of the site."""
    session["_auth_user_id"] = str(number)
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = hashlib.sha256(str(number).encode()).hexdigest()
    session["visits"] = number % 50


def _storing_command(sent, name):
    """The one command in `sent` that stores the session, with its value. `name`: the end of its
    key."""
    found = []
    at = 0
    while at < len(sent):
        end = sent.index(b"\r\n", at) + 2
        words = sent[at:end].split()
        if words[0] in STORING:
            end += int(words[2] if words[0] == b"ms" else words[4]) + 2
            if words[1].endswith(name):
                found.append(sent[at:end])
        at = end
    if len(found) != 1:
        raise RuntimeError(f"saving one session took {len(found)} storing commands: {sent!r}")
    return found[0]


def _record(relay, store_class, name_of):
    """Saves sessions with a backend; returns [(before the name, its length, after it)] of commands.

    `name_of(session)`: the part of the key that differs for each session.
    """
    commands = []
    for number in range(SAMPLES):
        session = store_class()
        _fill_session(session, 1000 + number)
        session.save()
        name = name_of(session).encode()
        before, found, after = _storing_command(relay.take(), name).partition(name)
        if not found or name in after:
            raise RuntimeError(f"the name stands elsewhere than in the key: {after!r}")
        commands.append((before, len(name), after))
        if dict(store_class(session.session_key).items()) != dict(session.items()):
            raise RuntimeError(f"{store_class.__module__} does not read back what it saved")
        relay.take()
    return commands


def record_sessions(plain_port, stayd_port):
    """Records Django's cache backend on one server and stayd's backend on another.

    Returns their commands as two lists, as _record does. Can be called once in a process, because
    Django can be configured only once.
    """
    with Relay(plain_port) as plain, Relay(stayd_port) as stayd:
        _configure(plain.port, stayd.port)
        # Importable only once Django is configured.
        from django.contrib.sessions.backends.cache import SessionStore as PlainStore
        from django.core.cache import caches
        from stayd.django.session_backend import SessionStore as StaydStore

        recorded = (
            _record(plain, PlainStore, lambda session: session.session_key),
            _record(stayd, StaydStore, lambda session: session.cache_key),
        )
        caches["default"].close()
        return recorded


def _random_names(count, length):
    random_bytes = secrets.token_bytes(count * length)
    table = (SESSION_KEY_CHARACTERS * 8)[:256].encode()
    text = random_bytes.translate(table)
    return [text[at : at + length] for at in range(0, len(text), length)]


def store_sessions(port, commands, count):
    """Sends `count` storing commands, each with a new name; every one must be stored."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        replies = connection.makefile("rb")
        for first in range(0, count, BATCH):
            names = _random_names(min(BATCH, count - first), commands[0][1])
            batch = []
            for name, (before, _, after) in zip(names, commands * (BATCH // len(commands) + 1)):
                batch += (before, name, after)
            connection.sendall(b"".join(batch))
            for _ in names:
                reply = replies.readline()
                if reply not in STORED:
                    raise RuntimeError(f"a session was not stored: {reply!r}")


def wire_bytes(commands):
    """Mean bytes of key and value of the recorded commands, as sent."""
    keys = values = 0
    for before, length, after in commands:
        words = before.split()
        keys += length + (len(words[-1]) if len(words) > 1 else 0)
        values += len(after.partition(b"\r\n")[2]) - 2
    return keys / len(commands), values / len(commands)
