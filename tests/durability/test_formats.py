"""Pool files of each earlier version of the layout are taken over with every item.

The files were made by the daemons that wrote them (formats/make.py): as a clean stop and as a
SIGKILL left them.
"""

import base64
import json
import lzma
import pathlib
import struct
import subprocess
import time

import pytest

from support.servers import Stayd, stayd_binary

FORMATS = pathlib.Path(__file__).with_name("formats")
VERSIONS = sorted(int(path.stem[1:]) for path in FORMATS.glob("v*.json"))
FIRST_POOL = {"memory": "1M", "item_max": "4K"}  # of version 1


def version_of(path):
    with open(path, "rb") as file:
        return struct.unpack_from("<I", file.read(12), 8)[0]


def described(version):
    return json.loads((FORMATS / f"v{version}.json").read_text())


def pool_of(version):
    return described(version).get("pool", FIRST_POOL)


def expected(version):
    """The items and the keys that must not return."""
    found = described(version)
    items = {base64.b64decode(key): item for key, item in found["items"].items()}
    return items, [base64.b64decode(key) for key in found["gone"]]


def unpack(version, ending, path):
    path.write_bytes(lzma.decompress((FORMATS / f"v{version}-{ending}.pool.xz").read_bytes()))


def read(connection, key):
    connection.send(b"mg %b v f c t\r\n" % key)
    words = connection.read_line().split()
    assert words[0] == b"VA", f"{key}: {words}"
    value = connection.read_exact(int(words[1]) + 2)[:-2]
    flags = {word[:1]: int(word[1:]) for word in words[2:] if word not in (b"W", b"X", b"Z")}
    return {"value": base64.b64encode(value).decode(), "flags": flags[b"f"], "cas": flags[b"c"],
            "expiry": int(time.time()) + flags[b"t"]}


def verify(stayd, version):
    items, gone = expected(version)
    connection = stayd.connect("sessions")
    for key, item in items.items():
        found = read(connection, key)
        assert abs(found.pop("expiry") - item["expiry"]) <= 1
        assert found == {name: item[name] for name in found}
    for key in gone:
        assert connection.get(key) is None, key
    connection.close()


@pytest.mark.parametrize("ending", ["stopped", "killed"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_of_an_earlier_version_is_taken_over_with_every_item(version, ending):
    with Stayd(sessions=pool_of(version)) as stayd:
        stayd.terminate()
        path = stayd.data_file("sessions")
        current = version_of(path)
        unpack(version, ending, path)
        stayd.start()
        assert version_of(path) == current > version
        verify(stayd, version)
        assert stayd.connect("sessions").set(b"new", b"value") == b"STORED"
        stayd.kill9()
        stayd.start()
        verify(stayd, version)
        stayd.terminate()
        stayd.start()
        verify(stayd, version)
        assert stayd.connect("sessions").get(b"new") == b"value"


@pytest.mark.parametrize("version", VERSIONS)
def test_stayctl_reads_and_restores_a_file_of_an_earlier_version(version, tmp_path):
    old = tmp_path / "old.pool"
    unpack(version, "killed", old)
    stayctl = pathlib.Path(stayd_binary()).with_name("stayctl").resolve()
    assert subprocess.run([stayctl, "check", old], capture_output=True).returncode == 0
    with Stayd(sessions=pool_of(version)) as stayd:
        stayd.terminate()
        done = subprocess.run([stayctl, "-c", stayd.config_path, "restore", "--yes", old, "sessions"],
                              capture_output=True)
        assert done.returncode == 0, done.stderr
        stayd.start()
        verify(stayd, version)
