"""Backups of a clustered pool, and files that are older than what the log keeps: nothing is lost,
nothing comes back."""

import base64
import struct
import subprocess
import time

from support.nats import Refused
from support.raw import wait_until
from support.stayctl import backup, run
from writers import Writer, ask, find_faults, items_of, read, store


def sessions(count):
    return {f"k{i}": f"value-{i}" for i in range(count)}


def restore(stayd, copy):
    done = run("-c", stayd.config_path, "restore", copy, "sessions", "--yes", text=True)
    assert done.returncode == 0, done.stderr


def test_a_backup_is_as_far_as_what_it_has(hosts, tmp_path):
    """What is written and deleted after the backup is there again when the restored pool is caught up."""
    stayd, other = hosts.host(), hosts.host()
    kept = sessions(200)
    store(stayd, kept)
    copy = tmp_path / "copy.pool"
    backup(stayd, copy)
    assert ask(stayd, b"delete k0\r\n", b"set k1 0 0 3\r\nnew\r\n", b"set fresh 0 0 1\r\nx\r\n")
    stayd.terminate()
    assert ask(other, b"delete k2\r\n") == [b"DELETED"]
    restore(stayd, copy)
    stayd.start()
    assert (read(stayd, "k0"), read(stayd, "k1"), read(stayd, "fresh"), read(stayd, "k2")) == (
        None,
        "new",
        "x",
        None,
    )
    assert read(stayd, "k199") == kept["k199"]


def test_backups_while_hosts_write_lose_nothing_and_bring_nothing_back(hosts, tmp_path):
    stayd, other = hosts.host(), hosts.host()
    writers = [Writer(stayd, "a"), Writer(other, "b")]
    for writer in writers:
        writer.start()
    copies = []
    for i in range(3):
        done = [writer.done for writer in writers]
        wait_until(lambda: all(w.done > d + 30 for w, d in zip(writers, done)), 60, "writes")
        copies.append(tmp_path / f"{i}.pool")
        backup(stayd, copies[-1])
    for writer in writers:
        writer.stop()
    stayd.terminate()
    for copy in copies:
        restore(stayd, copy)
        stayd.start()
        assert find_faults(stayd, writers) == []
        stayd.terminate()


def test_a_pool_that_heard_nothing_for_long_is_compared_with_the_log(hosts, tmp_path):
    """Its tombstones may be gone from the log: what the log has not is removed; also if the first start after
    that is killed half-way."""
    stayd, other = hosts.host(), hosts.host()
    kept = sessions(400)
    store(stayd, kept)
    copy = tmp_path / "copy.pool"
    wait_until(lambda: backup_heard(stayd, copy), what="a backup that has heard of all partitions")
    assert ask(other, *[f"delete k{i}\r\n".encode() for i in range(50)]) == [b"DELETED"] * 50
    stayd.terminate()
    other.terminate()
    for i in range(hosts.partitions):  # as if W were over: the tombstones are gone
        with hosts.engine.client() as client:
            for key in tombstones(hosts, client, i):
                client.api("STREAM.MSG.DELETE." + hosts.stream(i), seq=key)
    set_heard(copy, int(time.time()) - 5 * 24 * 3600)
    restore(stayd, copy)
    for _ in range(3):
        process = subprocess.Popen(
            stayd.command(), stderr=subprocess.DEVNULL, env=stayd.environment()
        )
        time.sleep(0.15)
        process.kill()
        process.wait()
    stayd.start()
    assert len(items_of(stayd, kept)) == 350
    assert "items that the log does not have were removed" in stayd.log
    stayd.restart()
    assert len(items_of(stayd, kept)) == 350


HEARD = 164
"""The place of partitions_noted_s in a pool's file (src/store/layout.h)."""


def backup_heard(stayd, copy):
    """Makes a backup; whether the pool had been caught up with all partitions."""
    backup(stayd, copy)
    return struct.unpack_from("<I", copy.read_bytes(), HEARD)[0] != 0


def set_heard(copy, when):
    data = bytearray(copy.read_bytes())
    struct.pack_into("<I", data, HEARD, when)
    copy.write_bytes(data)


def tombstones(hosts, client, partition):
    """The sequences of a stream's tombstones."""
    found = []
    state = client.api("STREAM.INFO." + hosts.stream(partition))["state"]
    for sequence in range(state["first_seq"], state["last_seq"] + 1):
        try:
            message = client.api("STREAM.MSG.GET." + hosts.stream(partition), seq=sequence)[
                "message"
            ]
        except Refused:
            continue
        if ".k." in message["subject"] and base64.b64decode(message["data"])[1] == 2:
            found.append(sequence)
    return found
