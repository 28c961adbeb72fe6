"""Packed sessions, with each implementation of zstd."""

import json
import logging
import os
import pathlib
import subprocess
import sys

import pytest
import stayd
from django.core.exceptions import ImproperlyConfigured
from django.test.utils import override_settings
from stayd import packing
from stayd.django import checks, session_backend
from stayd.django.session_backend import SessionStore
from stayd.django.session_cache import cache as pool

ROOT = pathlib.Path(__file__).parents[2]
LOGIN = {
    "_auth_user_id": "4711",
    "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
    "_auth_user_hash": "0123456789abcdef" * 4,
    "visits": 12,
}
FROZEN = bytes.fromhex("0120ba1501006341031fcde71a5bea93a3e6d5c4740e05fcce22810068ccec8d0c30142b60e76b13")
"""LOGIN as version 0.2 stored it. Every later version must read it."""


def plain(data):
    return json.dumps(data, separators=(",", ":")).encode()


def all_libraries():
    """Each zstd that there is, as (class, module)."""
    found = []
    try:
        import zstandard

        found.append((packing._PackageFrames, zstandard))
    except ImportError:
        pass
    for name in ("compression.zstd", "backports.zstd"):
        try:
            module = __import__(name, fromlist=["zstd"])
        except ImportError:
            continue
        found.append((packing._PythonFrames, module))
    return found


@pytest.fixture(autouse=True)
def own_packing():
    """At the end of a test, restores what the test has replaced in the module `packing`."""
    yield
    packing.sessions_1.cache_clear()
    session_backend.forget_parts()


LIBRARIES = all_libraries()
if packing._extension is not None:
    LIBRARIES.append((None, packing._extension))


def use(library, monkeypatch):
    """Packs with this library from now on."""
    frames_class, module = library
    monkeypatch.setattr(packing, "_frames_class", frames_class)
    monkeypatch.setattr(packing, "_library", module)
    monkeypatch.setattr(packing, "_extension", None if frames_class else module)
    packing.sessions_1.cache_clear()


@pytest.fixture(params=LIBRARIES, ids=lambda library: library[1].__name__)
def library(request, monkeypatch):
    use(request.param, monkeypatch)


def test_what_was_packed_unpacks(library):
    for size in (0, 1, 9, 100, 255, 256, 257, 4000, 65_791, 65_792, 600_000, packing.UNPACKED_MAX + 1):
        for data in (b"{" * size, os.urandom(size), plain({"a": "b" * size})):
            packed = packing.pack(data)
            assert packing.unpack(packed) == data
            assert len(packed) <= len(data) or (data[0] < 32 and len(packed) == len(data) + 1)
            if len(data) > packing.UNPACKED_MAX:
                assert packed == packing.wrap(data)


def test_a_login_takes_a_third(library):
    assert len(packing.pack(plain(LOGIN))) < len(plain(LOGIN)) * 0.42


def test_what_version_0_2_packed_is_read_for_ever(library):
    assert json.loads(packing.unpack(FROZEN)) == LOGIN


def test_the_libraries_read_each_other(monkeypatch):
    packed = []
    for library in LIBRARIES:
        use(library, monkeypatch)
        packed.append(packing.pack(plain(LOGIN)))
        for one in packed:
            assert packing.unpack(one) == plain(LOGIN)


def test_a_value_that_begins_like_a_packed_one_is_kept_as_it_is(library):
    for first in range(256):
        data = bytes([first]) + b"?"
        assert packing.unpack(packing.pack(data)) == data


def test_damage_is_a_value_error_and_nothing_else(library):
    packed = packing.pack(plain(LOGIN))
    for at in range(1, len(packed)):
        for damaged in (packed[:at], packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :]):
            try:
                packing.unpack(damaged)
            except ValueError:
                pass
    for data in (b"\x01", b"\x01\x20", b"\x01\x00\x00", b"\x01" + b"\xff" * 20):
        with pytest.raises(ValueError):
            packing.unpack(data)


@pytest.mark.parametrize("size", [300, 600_000])
def test_nothing_may_follow_the_frame(library, size):
    packed = packing.pack(b"x" * size)
    empty_frame, skippable_frame = "28b52ffd2000010000", "502a4d1800000000"
    for rest in (b"?", bytes.fromhex(empty_frame), bytes.fromhex(skippable_frame), packed[1:]):
        with pytest.raises(ValueError, match="not one whole frame"):
            packing.unpack(packed + rest)


@pytest.mark.parametrize("named", [packing.UNPACKED_MAX + 1, 0xFFFFFFFF])
def test_nothing_unpacks_to_more_than_the_limit(library, named):
    frame = packing.pack(b"x" * 70_000)
    assert frame[1] == 0xA0  # the next four bytes are the size
    with pytest.raises(ValueError, match="unpacks to"):
        packing.unpack(frame[:2] + named.to_bytes(4, "little") + frame[6:])
    for lie in (100, 69_999, 70_001):
        with pytest.raises(ValueError):
            packing.unpack(frame[:2] + lie.to_bytes(4, "little") + frame[6:])


@pytest.mark.parametrize("first", [2, 17, 30])
def test_a_form_of_a_later_version_is_no_damage(daemon, first):
    session = SessionStore()
    session.create()
    pool.set(session.cache_key, bytes([first]) + b"later")
    waiting = SessionStore(session.session_key)
    with pytest.raises(stayd.UnreadableValue, match="Update it"):
        waiting.get("a")
    assert waiting.session_key == session.session_key


def test_a_damaged_session_is_an_empty_one_with_its_key_and_reported(daemon, caplog):
    session = SessionStore()
    session.update(LOGIN)
    session.save()
    stored = pool.get(session.cache_key)
    assert stored[0] == packing.SESSIONS_1 and len(stored) < 80
    for damaged in (stored[:-3], stored[:1], stored[:2] + b"\xff" + stored[3:]):
        pool.set(session.cache_key, damaged)
        again = SessionStore(session.session_key)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "django.security.SuspiciousSession"):
            assert dict(again.items()) == {}
        assert "Session data corrupted" in caplog.text
        assert again.session_key == session.session_key


def test_packing_can_be_turned_off_and_what_was_packed_is_read(daemon):
    session = SessionStore()
    session.update(LOGIN)
    session.save()
    with override_settings(SESSION_CACHE_COMPRESS=False):
        again = SessionStore(session.session_key)
        assert dict(again.items()) == LOGIN
        again.save()
        assert pool.get(session.cache_key) == plain(LOGIN)
    assert dict(SessionStore(session.session_key).items()) == LOGIN


def test_without_zstd_a_site_says_so_when_it_starts(monkeypatch):
    monkeypatch.setattr(packing, "can_pack", False)
    with pytest.raises(ImproperlyConfigured, match="python3-zstandard.*SESSION_CACHE_COMPRESS"):
        checks.require_valid_session_settings()
    assert "stayd.E005" in [error.id for error in checks.check_settings(None)]
    with override_settings(SESSION_CACHE_COMPRESS=False):
        checks.require_valid_session_settings()
        assert "stayd.E005" not in [error.id for error in checks.check_settings(None)]


def test_without_zstd_a_packed_session_is_an_error_and_no_logout(daemon, monkeypatch):
    session = SessionStore()
    session.update(LOGIN)
    session.save()
    monkeypatch.setattr(packing, "can_pack", False)
    packing.sessions_1.cache_clear()
    session_backend.forget_parts()
    waiting = SessionStore(session.session_key)
    with pytest.raises(stayd.UnreadableValue, match="python3-zstandard"):
        waiting.get("visits")
    assert waiting.session_key == session.session_key
    fresh = SessionStore()
    fresh.update(LOGIN)
    fresh.save()
    assert pool.get(fresh.cache_key) == plain(LOGIN)


def test_the_dictionary_is_the_one_that_the_script_makes(tmp_path):
    """zstd versions other than Debian 12's make other bytes, which are as few."""
    zstandard = pytest.importorskip("zstandard")
    if zstandard.ZSTD_VERSION != (1, 5, 4):
        pytest.skip("made with zstd 1.5.4")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/train-dictionary", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
