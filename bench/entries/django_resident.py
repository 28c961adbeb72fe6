"""Resident memory per session, each server with its own Django backend.

memcached gets what Django's cache session backend stores through PyMemcacheCache (a long key, a
pickle), stayd what stayd.django.session_backend stores (a digest, packed JSON). The session is what
login() leaves in it and one counter.
"""

from django_sessions import record_sessions, store_sessions, wire_bytes
from report import Result, Row

from .resident import SESSIONS, grow, parts

MEMORY_MB = 768


def run(bench):
    """Returns bytes per session, over what the daemon needs when it is empty."""
    bench.progress("django-resident: recording what the backends store")
    with bench.peer(64) as memcached, bench.under_test(64, persist=True) as stayd:
        plain, own = record_sessions(memcached.port, stayd.port)

    def measure(daemon, commands):
        return grow(daemon, lambda daemon: store_sessions(daemon.port, commands, SESSIONS))

    bench.progress("django-resident: memcached")
    peer = measure(bench.peer(MEMORY_MB), plain)
    bench.progress("django-resident: stayd")
    growth = measure(bench.under_test(MEMORY_MB, persist=True), own)

    result = Result(
        f"Resident memory, {SESSIONS:,} logged-in Django sessions", "bytes per session"
    )
    result.rows.append(
        Row("each with its own backend", [growth.total / SESSIONS], [peer.total / SESSIONS], 0.4)
    )
    for name, commands, grown in (("memcached", plain, peer), ("stayd", own, growth)):
        key, value = wire_bytes(commands)
        result.notes.append(f"{name} is sent {key:.0f} bytes of key, {value:.0f} of value")
        result.notes.append(parts(name, grown))
    return result
