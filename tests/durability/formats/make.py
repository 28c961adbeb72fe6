"""Makes the inputs of test_formats.py with the daemon of this tree: pool files of today's layout.

Run once before the layout's version is raised, and never again for the same version:

    build/venv/bin/python tests/durability/formats/make.py

writes vN-stopped.pool.xz and vN-killed.pool.xz, files as a clean stop and a SIGKILL leave them, and
vN.json, the pool's options and what a client must find in both: keys with value, flags, expiry and
CAS, and keys that must not return. Expiry times lie in the year 2100.
"""

import base64
import json
import lzma
import pathlib
import struct
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from support.servers import Stayd  # noqa: E402

LATER = 4102444800  # 2100-01-01
POOL = {"memory": "1M", "item_max": "16K"}
AGED = [b"aged-%d" % number for number in range(20)]


def encode(data):
    return base64.b64encode(data).decode()


def fill(connection):
    """Stores, changes and removes items. Returns the keys of the removed items: they must not return."""
    gone = []

    def ask(request, reply):
        connection.send(request)
        connection.expect(reply)

    def store(key, value, flags=0, expiry=LATER):
        ask(b"set %b %d %d %d\r\n%b\r\n" % (key, flags, expiry, len(value), value), b"STORED\r\n")

    for number in range(300):
        store(b"session-%d" % number, b"first version " * 8)
        store(b"session-%d" % number, bytes((number * 7 + i) % 256 for i in range(number % 97)),
              number % 5, LATER + number)
    for number in range(0, 300, 7):
        ask(b"delete session-%d\r\n" % number, b"DELETED\r\n")
        gone.append(b"session-%d" % number)
    for number in range(1, 300, 7):  # a sooner expiry: the new version has a tombstone beside it
        ask(b"touch session-%d %d\r\n" % (number, LATER - number), b"TOUCHED\r\n")
    store(b"longest-key-" + b"k" * 238, b"v" * 3000)
    store(b"large", bytes(number * number % 251 for number in range(9000)))
    ask(b"touch large %d\r\n" % (LATER + 5), b"TOUCHED\r\n")
    store(b"empty", b"")
    store(b"number", b"41")
    ask(b"incr number 1\r\n", b"42\r\n")
    for key in AGED:
        ask(b"touch %b %d\r\n" % (key, LATER), b"TOUCHED\r\n")
    ask(b"ms own-cas 5 E123456789 T%d\r\nvalue\r\n" % LATER, b"HD\r\n")
    ask(b"ms stale 3 E1000 F9 T%d\r\nold\r\n" % LATER, b"HD\r\n")
    ask(b"md stale I E2000\r\n", b"HD\r\n")
    return gone


def read(connection, key):
    """What a client finds: value, flags, CAS and expiry (which may be off by a second)."""
    connection.send(b"mg %b v f c t\r\n" % key)
    words = connection.read_line().split()
    if words == [b"EN"]:
        return None
    value = connection.read_exact(int(words[1]) + 2)[:-2]
    flags = {word[:1]: int(word[1:]) for word in words[2:] if word not in (b"W", b"X", b"Z")}
    return {"value": encode(value), "flags": flags[b"f"], "cas": flags[b"c"],
            "expiry": int(time.time()) + flags[b"t"]}


def main():
    with Stayd(sessions=POOL | {"max_lifetime": "3650d"}) as stayd:
        connection = stayd.connect("sessions")
        gone = [b"flushed-%d" % number for number in range(40)]
        for key in gone:
            connection.set(key, b"before the flush")
        connection.ask(b"flush_all\r\n", b"OK\r\n")
        for key in AGED:
            connection.set(key, b"first stored under a limit on age")
        stayd.terminate()
        stayd.configure(stayd.config.replace("max_lifetime = 3650d\n", ""))
        stayd.start()
        connection = stayd.connect("sessions")
        gone += fill(connection)
        path = stayd.data_file("sessions")
        keys = [b"session-%d" % number for number in range(300) if number % 7 != 0]
        keys += [b"longest-key-" + b"k" * 238, b"large", b"empty", b"number", b"own-cas", b"stale",
                 *AGED]
        items = {encode(key): read(connection, key) for key in keys}
        assert all(items.values())
        connection.close()
        stayd.kill9()
        killed = path.read_bytes()
        stayd.start()
        stayd.terminate()
        stopped = path.read_bytes()
    version = struct.unpack_from("<I", killed, 8)[0]
    for name, data in (("killed", killed), ("stopped", stopped)):
        (HERE / f"v{version}-{name}.pool.xz").write_bytes(lzma.compress(data, preset=9))
    (HERE / f"v{version}.json").write_text(
        json.dumps({"pool": POOL, "items": items, "gone": [encode(key) for key in gone]}, indent=0) + "\n")


if __name__ == "__main__":
    main()
