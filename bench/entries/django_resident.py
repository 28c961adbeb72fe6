"""Resident memory per session, each server with its own Django back end.

memcached gets what Django's cache session back end stores through PyMemcacheCache (a long key, a
pickle), stayd what stayd.django.session_backend stores (a digest, packed JSON). The session is what
login() leaves in it and one counter.
"""

from django_sessions import record_sessions, store_sessions, wire_bytes
from report import Result, Row

from .resident import grow, parts, sessions_of

MEMORY_MB = 768
ROWS = ("each with its own back end",)


def run(bench):
    """Returns bytes per session, over what the daemon needs when it is empty."""
    sessions = sessions_of(bench)
    bench.progress("django-resident: recording what the backends store")
    with bench.peer(64) as memcached, bench.under_test(64, persist=True) as stayd:
        plain, own = record_sessions(memcached.port, stayd.port)

    def measure(daemon, commands):
        return grow(
            bench, daemon, lambda daemon: store_sessions(daemon.port, commands, sessions), sessions
        )

    bench.progress("django-resident: memcached")
    peer = measure(bench.peer(MEMORY_MB), plain)
    bench.progress("django-resident: stayd")
    growth = measure(bench.under_test(MEMORY_MB, persist=True), own)

    result = Result(
        f"Resident memory, {sessions:,} logged-in Django sessions", "bytes per session"
    )
    result.rows.append(
        Row(ROWS[0], [growth.total / sessions], [peer.total / sessions], 0.4)
    )
    for name, commands, grown in (("memcached", plain, peer), ("stayd", own, growth)):
        key, value = wire_bytes(commands)
        result.notes.append(f"{name} is sent {key:.0f} bytes of key, {value:.0f} of value")
        result.notes.append(parts(name, grown, sessions))
    return result
