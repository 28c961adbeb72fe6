"""idle_timeout in a clustered pool: a session that is in use on one host ends on none, and one
that is not ends on all."""

import time

import pytest
from writers import ask, read

from support.raw import wait_until

pytestmark = pytest.mark.long

IDLE_S = 6
IDLE = f"{IDLE_S}s"


def use(stayd, key, seconds):
    """Reads the key again and again; it must be there each time."""
    until = time.monotonic() + seconds
    with stayd.connect("sessions") as raw:
        while time.monotonic() < until:
            assert raw.get(key) is not None
            time.sleep(0.2)


def cas_of(stayd, key):
    with stayd.connect("sessions") as raw:
        reply = raw.ask(b"mg %b c\r\n" % key)
    return int(reply.split(b"c")[1]) if b"c" in reply else None


def test_a_session_in_use_on_one_host_ends_on_none(hosts):
    first, second = hosts.host(idle_timeout=IDLE), hosts.host(idle_timeout=IDLE)
    assert ask(first, b"set used 3 0 1\r\nx\r\n", b"set unused 0 0 1\r\nx\r\n") == [b"STORED"] * 2
    use(first, b"used", IDLE_S * 1.5)
    assert read(second, "used") == "x"
    assert read(first, "unused") is None and read(second, "unused") is None
    fresh = hosts.host(idle_timeout=IDLE)
    assert ask(fresh, b"mg used f v\r\n") == [b"VA 1 f3"] and read(fresh, "unused") is None
    wait_until(
        lambda: cas_of(first, b"used") == cas_of(second, b"used") == cas_of(fresh, b"used"),
        what="one record",
    )


def test_an_access_does_not_bring_back_what_another_host_has_deleted(hosts):
    first, second = hosts.host(idle_timeout=IDLE), hosts.host(idle_timeout=IDLE)
    keys = [b"k%d" % i for i in range(40)]
    assert ask(first, *[b"set %b 0 0 1\r\nx\r\n" % key for key in keys]) == [b"STORED"] * 40
    wait_until(lambda: read(second, "k39") == "x", what="the last value")
    time.sleep(1.1)  # from now on a read tells the log of it
    with first.connect("sessions") as reads, second.connect("sessions") as deletes:
        for key in keys:
            reads.send(b"get %b\r\n" % key)
            deletes.send(b"delete %b\r\n" % key)
        assert [deletes.read_line() for _ in keys] == [b"DELETED"] * 40
    for stayd in (first, second, hosts.host(idle_timeout=IDLE)):
        wait_until(
            lambda: all(read(stayd, key.decode()) is None for key in keys), what="the deletes"
        )
        time.sleep(0.3)
        assert all(read(stayd, key.decode()) is None for key in keys)


def test_a_session_that_is_in_use_while_the_engine_is_away_lives_on_afterwards(hosts, engine):
    """The other host has ended it meanwhile, because it heard of no access."""
    first, second = hosts.host(idle_timeout=IDLE), hosts.host(idle_timeout=IDLE)
    assert ask(first, b"set used 0 0 1\r\nx\r\n") == [b"STORED"]
    wait_until(lambda: read(second, "used") == "x", what="the value")
    for node in engine.nodes:
        node.kill()
    try:
        use(first, b"used", IDLE_S + 1)
        assert read(second, "used") is None
    finally:
        for node in engine.nodes:
            node.start()
    with first.connect("sessions") as raw, second.connect("sessions") as other:

        def both():
            assert raw.get(b"used") is not None
            return other.get(b"used")

        wait_until(both, 60, "the session on the other host")
