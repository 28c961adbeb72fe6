"""stayctl dump: what it prints is what clients see."""

import base64
import json
import subprocess
import time

from support.servers import Stayd, wait_until
from support.stayctl import (
    SMALL,
    STAYCTL,
    UNUSABLE,
    backup,
    check,
    dump,
    run,
    seen_by_clients,
)


def test_a_dump_is_what_clients_see(tmp_path):
    """Text, other bytes and numbers at their limits are dumped; deleted and expired items are not."""
    keys = [b"plain", "gr\u00fc\u00dfe-\U0001f36a".encode(), b"\xff\xfe\xfd", b"quote\"back\\slash",
            b"a b\x00c\n", b"k" * 180, b"deleted", b"replaced", b"touched", b"appended", b"counted",
            b"expired", b"empty", b"kept", b"large"]
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")

        def put(key, value, more=b""):
            connection.ask(b"ms %b %d b %b\r\n%b\r\n" % (base64.b64encode(key), len(value), more,
                                                       value), b"HD\r\n")

        put(b"flushed", b"x")
        connection.ask(b"flush_all\r\n", b"OK\r\n")
        for key in keys:
            put(key, b"value of " + key, b"F%d" % len(key))
        put(b"empty", b"")
        put(b"plain", "\u20ac \x00 \x1f \u2028 </script>".encode(), b"F4294967295 T0")
        put(b"large", bytes(range(256)) * 200)
        put(b"replaced", b"new", b"E18446744073709551615 T100000")
        put(b"counted", b"18446744073709551614")
        connection.ask(b"incr counted 1\r\n", b"18446744073709551615\r\n")
        connection.ask(b"delete deleted\r\n", b"DELETED\r\n")
        connection.ask(b"touch touched 500\r\n", b"TOUCHED\r\n")
        connection.ask(b"append appended 0 0 1\r\n!\r\n", b"STORED\r\n")
        connection.ask(b"touch expired -1\r\n", b"TOUCHED\r\n")
        now = time.time()
        seen = seen_by_clients(connection, [*keys, b"flushed"])
        copy = tmp_path / "copy.pool"
        backup(stayd, copy)
        stayd.terminate()
    assert {b"deleted", b"expired", b"flushed"}.isdisjoint(seen)
    for path in (copy,):
        items = dump(path)
        assert set(items) == set(seen)
        for key, item in items.items():
            expected = seen[key]
            for name in ("value", "flags", "cas"):
                assert item[name] == expected[name], (key, name)
            if expected["left"] < 0:
                assert item["expiry"] == 0
            else:
                assert abs(item["expiry"] - now - expected["left"]) <= 2
            assert abs(item["accessed"] - now) <= 5


def test_a_dump_of_bytes_that_are_no_text_is_base64_and_each_line_is_json(tmp_path):
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        connection.ask(b"ms %b 2 b\r\n\xc3\x28\r\n" % base64.b64encode(b"\xfe"), b"HD\r\n")
        connection.set(b"text", b"ok")
        stayd.terminate()
        lines = run("dump", stayd.data_file("sessions")).stdout.decode().splitlines()
    first, second = map(json.loads, lines)
    assert (first["key_base64"], first["value_base64"]) == ("/g==", "wyg=")
    assert "key" not in first and "value" not in first
    assert (second["key"], second["value"]) == ("text", "ok")
    assert list(second) == ["key", "value", "flags", "expiry", "cas", "accessed", "created"]


PACKED = bytes.fromhex("0120ba1501006341031fcde71a5bea93a3e6d5c4740e05fcce22810068ccec8d0c30142b60e76b13")
"""What the Python package stores for SESSION (tests/django/test_packing.py has the same)."""

SESSION = {
    "_auth_user_id": "4711",
    "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
    "_auth_user_hash": "0123456789abcdef" * 4,
    "visits": 12,
}


def test_a_dump_shows_a_packed_session_unpacked_and_damage_as_it_is():
    damaged = [PACKED[:at] for at in range(1, len(PACKED))] + [
        b"\x01" + b"\xff" * 20, b"\x01\xa0\xff\xff\xff\xff" + PACKED[3:], b"\x02" + PACKED[1:],
    ]
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"packed", PACKED)
        for number, value in enumerate(damaged):
            connection.set(b"damaged%d" % number, value)
        stayd.terminate()
        items = dump(stayd.data_file("sessions"))
    assert json.loads(items[b"packed"]["value"]) == SESSION
    assert items[b"packed"]["packed_bytes"] == len(PACKED)
    for number, value in enumerate(damaged):
        item = items[b"damaged%d" % number]
        assert item["value"] == value
        assert "packed_bytes" not in item


def test_a_dump_tells_when_an_item_was_first_stored_where_the_pool_knows():
    with Stayd(sessions={**SMALL, "max_lifetime": "1h"}) as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"k", b"v")
        now = time.time()
        stayd.terminate()
        item = dump(stayd.data_file("sessions"))[b"k"]
        assert abs(item["created"] - now) <= 3
        assert abs(item["expiry"] - now - 3600) <= 3


def test_a_dump_leaves_out_what_a_delayed_flush_ends_at_the_next_start():
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"k", b"v")
        due = int(time.time()) + 2
        connection.ask(b"flush_all %d\r\n" % due, b"OK\r\n")
        stayd.terminate()
        path = stayd.data_file("sessions")
        items, looked = dump(path), time.time()
        assert b"k" in items or looked >= due
        wait_until(lambda: time.time() >= due + 0.1)
        assert dump(path) == {}
        assert "items      0 live" in check(path)[1]


def test_a_dump_that_can_not_be_written_fails(file):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([STAYCTL, "dump", file], stdout=full, stderr=subprocess.PIPE,
                              timeout=60)
    assert done.returncode == UNUSABLE
    assert b"No space left" in done.stderr
