"""stayctl restore: which files a pool accepts, and the messages about other files."""

import os

import pytest

from support.pool_file import COUNT, RECORD_HEADER, flip, key_of, record_at, value_of
from support.servers import Stayd
from support.stayctl import SMALL, SOUND, UNUSABLE, backup, check, restore, run


def test_restore_refuses_while_a_daemon_runs(tmp_path):
    path = tmp_path / "b.pool"
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"k", b"v")
        backup(stayd, path)
        connection.set(b"k", b"new")
        done = restore(stayd, path, "--yes")
        assert done.returncode == UNUSABLE and b"Stop stayd first" in done.stderr
        assert connection.get(b"k") == b"new"
        # A daemon that listens elsewhere still serves the pool, although the file was deleted.
        stayd.data_file("sessions").unlink()
        done = restore(stayd, path, "--yes")
        assert done.returncode == UNUSABLE and b"Stop stayd first" in done.stderr
        assert not stayd.data_file("sessions").exists()


def test_restore_refuses_a_file_that_is_locked_though_nobody_answers(tmp_path):
    path = tmp_path / "b.pool"
    with Stayd(sessions=SMALL) as stayd, Stayd(sessions=SMALL) as other:
        backup(stayd, path)
        other.terminate()
        text = other.config.replace(f"data_dir = {other.data_dir}", f"data_dir = {stayd.data_dir}")
        other.configure(text)
        done = restore(other, path, "--yes")
        assert done.returncode == UNUSABLE and b"is in use. Stop stayd first" in done.stderr


def test_restore_of_a_damaged_file_has_to_be_asked_for_and_keeps_what_is_whole(file, written):
    flip(file, record_at(written, 5) + RECORD_HEADER)
    with Stayd(sessions=SMALL) as stayd:
        stayd.terminate()
        stayd.data_file("sessions").unlink()
        done = restore(stayd, file)
        assert done.returncode == UNUSABLE
        assert b"damaged in 1 places" in done.stderr
        assert not stayd.data_file("sessions").exists()
        assert restore(stayd, file, "--yes").returncode == 0
        assert check(stayd.data_file("sessions"))[0] == SOUND, "a copy has no gaps"
        stayd.start()
        connection = stayd.connect("sessions")
        for number in range(COUNT):
            assert connection.get(key_of(number)) == (None if number == 5 else value_of(number))


@pytest.mark.parametrize("memory, item_max, words", [
    ("32M", "64K", "the file's memory is 15.9375M, the configuration's 32M: stayd will enlarge"),
    ("8M", "64K", "the configuration's 8M: stayd will shrink"),
    ("16M", "32K", "made with item_max = 65536, the configuration says 32768"),
])
def test_restore_says_in_what_the_file_differs_from_the_configuration(file, memory, item_max, words):
    with Stayd(sessions={"memory": memory, "item_max": item_max}) as stayd:
        stayd.terminate()
        done = restore(stayd, file, "--yes")
        assert done.returncode == 0
        assert words in done.stderr.decode()
        stayd.start()
        connection = stayd.connect("sessions")
        for number in range(COUNT):
            assert connection.get(key_of(number)) == value_of(number)


def test_restore_refuses_a_file_that_the_pool_can_not_use(file):
    with Stayd(sessions={"memory": "64M", "item_max": "1M"}) as stayd:
        stayd.connect("sessions").set(b"k", b"v")
        stayd.terminate()
        before = stayd.data_file("sessions").read_bytes()
        done = restore(stayd, file, "--yes")
        assert done.returncode == UNUSABLE and b"item_max" in done.stderr
        for path, words in ((__file__, "not a stayd pool file"), ("/missing", "No such file")):
            done = restore(stayd, path, "--yes")
            assert done.returncode == UNUSABLE and words in done.stderr.decode()
        done = run("-c", stayd.config_path, "restore", file, "cache", "--yes")
        assert done.returncode == UNUSABLE and b"keeps no file" in done.stderr
        done = run("-s", stayd.url("sessions"), "restore", file, "sessions")
        assert done.returncode == UNUSABLE and b"use -c" in done.stderr
        assert stayd.data_file("sessions").read_bytes() == before
        assert os.listdir(stayd.data_dir) == ["sessions.pool"]


def test_a_pool_takes_the_file_of_another_and_says_so(file):
    with Stayd(pools={"more": {"persist": "yes", **SMALL}}) as stayd:
        stayd.terminate()
        done = run("-c", stayd.config_path, "restore", file, "more", "--yes")
        assert done.returncode == 0
        assert b"is the file of a pool named sessions" in done.stderr
        stayd.start()
        assert stayd.connect("more").get(key_of(1)) == value_of(1)
