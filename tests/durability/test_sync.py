"""What clients see of a slow or failing disk, which gate.c, preloaded, simulates.

tests/unit/test_sync.c tests the order of writes and syncs, and tests/unit/test_faults.c each
failing call. This file tests the replies, the log, and the service for other clients meanwhile.
"""

import contextlib

import pytest

from support import certificates
from support.gate import gated
from support.servers import wait_until


@pytest.fixture
def start():
    """Starts a daemon of one thread, with a sessions pool of this policy and a gate for its syncs."""
    with contextlib.ExitStack() as stack:
        yield lambda fsync: stack.enter_context(gated(
            sessions={"memory": "16M", "item_max": "64K", "fsync": fsync}, server={"threads": 1}))


def syncs(connection):
    return int(connection.stats()["syncs"])


def test_with_always_replies_wait_in_order_and_all_else_goes_on(start):
    stayd, gate = start("always")
    writer, reader = stayd.connect("sessions"), stayd.connect("sessions")
    cache = stayd.connect("cache")
    assert writer.set(b"k", b"old") == b"STORED"
    assert writer.set(b"other", b"v") == b"STORED"
    assert reader.get(b"other") == b"v"
    sets = int(reader.stats()["cmd_set"])
    gate.shut()
    writer.send(b"get k\r\nset k 0 0 3\r\nnew\r\nget k\r\nset k 0 0 4\r\nlast\r\n")
    wait_until(lambda: int(reader.stats()["cmd_set"]) == sets + 2, what="the write")
    assert reader.get(b"other") == b"v", "that is on the disk"
    assert cache.set(b"k", b"v") == b"STORED", "another pool, and the same thread"
    writer.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        writer.socket.recv(1)
    gate.open()
    writer.expect(b"VALUE k 0 3\r\nold\r\nEND\r\nSTORED\r\nVALUE k 0 3\r\nnew\r\nEND\r\nSTORED\r\n")


def test_with_always_no_reply_rests_on_what_is_not_on_the_disk(start):
    """Without this wait, a power cut could bring back a session after a client was told that it is gone."""
    stayd, gate = start("always")
    writer = stayd.connect("sessions")
    for key in (b"deleted", b"updated"):
        assert writer.set(key, b"old") == b"STORED"
    deletes = int(writer.stats()["delete_hits"])
    gate.shut()
    writer.send(b"delete deleted\r\nset updated 0 0 3\r\nnew\r\n")
    other = stayd.connect("sessions")
    wait_until(lambda: int(other.stats()["delete_hits"]) == deletes + 1, what="the delete")
    asked = {
        b"delete deleted\r\n": b"NOT_FOUND\r\n",
        b"get deleted\r\n": b"END\r\n",
        b"mg deleted v\r\n": b"EN\r\n",
        b"md deleted\r\n": b"NF\r\n",
        b"touch deleted 0\r\n": b"NOT_FOUND\r\n",
        b"incr deleted 1\r\n": b"NOT_FOUND\r\n",
        b"get updated\r\n": b"VALUE updated 0 3\r\nnew\r\nEND\r\n",
        b"add updated 0 0 1\r\nv\r\n": b"NOT_STORED\r\n",
        b"cas updated 0 0 1 99999\r\nv\r\n": b"EXISTS\r\n",
    }
    readers = {request: stayd.connect("sessions") for request in asked}
    for request, reader in readers.items():
        reader.send(request)
    other.ask(b"mn\r\n", b"MN\r\n")  # the daemon has read all requests by the time of this reply
    for request, reader in readers.items():
        reader.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            pytest.fail(f"{request}: {reader.socket.recv(9)}")
        reader.socket.settimeout(20)
    gate.open()
    writer.expect(b"DELETED\r\nSTORED\r\n")
    for request, reader in readers.items():
        reader.expect(asked[request])


def test_with_always_one_sync_serves_all_connections_that_wait(start):
    stayd, gate = start("always")
    reader = stayd.connect("sessions")
    gate.shut()
    writers = [stayd.connect("sessions") for _ in range(40)]
    for number, writer in enumerate(writers):
        writer.send(b"set k%d 0 0 1\r\nv\r\n" % number)
    wait_until(lambda: int(reader.stats()["curr_items"]) == len(writers), what="all writes")
    before = syncs(reader)
    gate.open()
    for writer in writers:
        writer.expect(b"STORED\r\n")
    assert syncs(reader) - before <= 2, "that which was under way, and one for all the others"


def test_with_everysec_a_disk_that_hangs_holds_up_writes_and_nothing_else(start):
    stayd, gate = start("everysec")
    writer, reader = stayd.connect("sessions"), stayd.connect("sessions")
    cache = stayd.connect("cache")
    assert writer.set(b"k", b"0") == b"STORED"
    gate.shut()

    def held():
        writer.send(b"incr k 1\r\n")
        try:
            writer.read_line(timeout=0.1)
        except TimeoutError:
            return True
        return False

    wait_until(held, what="a reply that waits")
    assert 2000 <= int(reader.stats()["sync_lag_ms"])
    assert int(reader.get(b"k")) > 0
    assert cache.set(b"k", b"v") == b"STORED"
    gate.open()
    assert int(writer.read_line()) == int(reader.get(b"k"))
    wait_until(lambda: int(reader.stats()["sync_lag_ms"]) < 2000, what="the disk to catch up")
    assert not held()


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_a_disk_that_fails_makes_the_pool_read_only_and_loud(start, fsync):
    stayd, gate = start(fsync)
    writer, other, cache = stayd.connect("sessions"), stayd.connect("sessions"), stayd.connect()
    assert writer.set(b"k", b"acknowledged") == b"STORED"
    wait_until(lambda: int(other.stats()["sync_lag_ms"]) == 0, what="the disk to have it")
    gate.fail()
    writer.send(b"set k 0 0 1\r\nx\r\n")
    if fsync == "always":
        writer.expect_closed()  # a write that may not be on the disk gets no reply
    wait_until(lambda: other.stats()["read_only"] == "yes", what="the pool to be read-only")
    gate.mend()
    for request in (b"set k 0 0 1\r\ny\r\n", b"delete k\r\n", b"touch k 100\r\n", b"flush_all\r\n"):
        reply = other.ask(request)
        assert reply.startswith(b"SERVER_ERROR pool is read-only"), (request, reply)
    assert other.get(b"k") == b"x", "reads go on"
    assert cache.set(b"k", b"v") == b"STORED", "the other pool has nothing to do with it"
    wait_until(lambda: "pool sessions is read-only from now on: its file could not be written to "
                       "the disk (Input/output error)" in stayd.log)
    status, text = stayd.health()
    assert status == 503 and "sessions is read-only" in text
    stayd.restart()
    connection = stayd.connect("sessions")
    assert connection.get(b"k") in (b"acknowledged", b"x")
    assert connection.set(b"k", b"z") == b"STORED"
    assert "writing the whole file again" in stayd.log


def test_a_reload_that_ends_before_a_write_is_on_the_disk_is_answered_all_the_same(tmp_path):
    """The write before the read is noreply, and no other client wakes the worker."""
    made = certificates.make(tmp_path)
    with gated(sessions={"memory": "16M", "item_max": "64K", "fsync": "always"},
               cache={"tls_cert": made["server.pem"], "tls_key": made["server.key"]},
               server={"threads": 1}) as (stayd, gate):
        connection = stayd.connect("sessions")
        gate.slow(300)
        connection.ask(b"set k 0 0 1 noreply\r\nv\r\nrefresh_certs\r\n", b"OK\r\n")
