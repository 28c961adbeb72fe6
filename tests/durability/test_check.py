"""stayctl check: what it finds in whole and damaged files of the real daemon, and in other files."""

import os
import random
import re
import shutil
import time

import pytest

from support.journal import Churn, Journal
from support.pool_file import (
    COUNT,
    PAGE,
    RECORD_HEADER,
    flip,
    key_of,
    record_at,
    segment_bytes,
    segment_of,
    value_of,
)
from support.servers import Stayd, wait_until
from support.stayctl import (
    DAMAGED,
    SMALL,
    SOUND,
    UNUSABLE,
    check,
    dump,
    run,
    seen_by_clients,
    values,
)


def test_a_file_is_sound_after_a_clean_stop_and_the_records_are_counted():
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        expiry = int(time.time()) + 2
        for number in range(300):
            connection.set(b"k%d" % number, b"v")
        for number in range(100):
            connection.ask(b"delete k%d\r\n" % number, b"DELETED\r\n")
        for number in range(50):
            connection.set(b"short%d" % number, b"v", expiry=expiry)
        stayd.terminate()
        path = stayd.data_file("sessions")
        before = path.read_bytes()
        wait_until(lambda: time.time() >= expiry + 0.1)
        code, output = check(path)
        assert code == SOUND, output
        assert "items      200 live, 50 expired\n" in output
        assert "records    350 values, 100 tombstones, 0 flushes\n" in output
        assert "torn       0 bytes\n" in output
        assert f"{path} has no faults\n" in output
        assert len(dump(path)) == 200
        assert path.read_bytes() == before, "the file was changed by looking at it"


PLACES = {
    "checksum": 0,
    "sequence": 8,
    "kind": 14,
    "key length": 15,
    "expiry": 16,
    "value length": 20,
    "key": RECORD_HEADER + 3,
    "value": RECORD_HEADER + 50,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", [0, COUNT // 2])
def test_a_flipped_bit_is_found_where_it_is_and_costs_one_item(file, written, place, number):
    at = record_at(written, number)
    flip(file, at + PLACES[place])
    code, output = check(file)
    assert code == DAMAGED
    assert f"{file}: segment {segment_of(written, at)}, at byte {at}: " in output
    assert "is damaged: 1 faults" in output
    items = values(dump(file))
    assert items == {key_of(n): value_of(n) for n in range(COUNT) if n != number}


@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_bit_in_the_last_record_of_a_segment_is_found(file, written, place):
    at = record_at(written, COUNT - 1)
    if place == "sequence":
        bit = 0 if written[at + 8] & 1 else 1  # so that the number stays close to one that was given out
    else:
        bit = 0
    flip(file, at + PLACES[place], bit)
    code, output = check(file)
    assert code == DAMAGED, output
    assert f"segment {segment_of(written, at)}, at byte {at}: the last record is not whole" in output
    assert set(dump(file)) == {key_of(n) for n in range(COUNT - 1)}


def test_the_time_of_the_last_access_is_no_part_of_what_is_verified(file, written):
    """A read changes this field in place, and the record's checksum leaves the field out."""
    flip(file, record_at(written, 7) + 4)
    assert check(file)[0] == SOUND


@pytest.mark.parametrize("offset", [0, 4, 8, 16, 24, 32, 36, 63])
def test_a_damaged_segment_header_is_found_and_costs_the_segment(file, written, offset):
    size = segment_bytes(written)
    segment = segment_of(written, record_at(written, 0))
    flip(file, PAGE + segment * size + offset)
    code, output = check(file)
    assert code == DAMAGED
    assert f"segment {segment}, at byte {PAGE + segment * size}: the segment's header" in output
    end = written.index(key_of(COUNT - 1)) + 20
    inside = {int(found.group(1)) for found in re.finditer(rb"victim-(\d{4})", written[:end])
              if segment_of(written, found.start()) == segment}
    assert 0 < len(inside) < COUNT
    assert set(dump(file)) == {key_of(n) for n in range(COUNT) if n not in inside}


def test_a_page_that_was_never_written_is_found(file, written):
    """A power cut may leave zeroes between records."""
    data = bytearray(written)
    begin = record_at(written, COUNT // 3) // PAGE * PAGE
    data[begin:begin + PAGE] = bytes(PAGE)
    file.write_bytes(data)
    code, output = check(file)
    assert code == DAMAGED
    assert f"segment {segment_of(written, begin)}, at byte " in output
    lost = COUNT - len(dump(file))
    assert PAGE // 300 <= lost <= PAGE // 200 + 2


def test_what_check_finds_damaged_is_what_a_start_loses(file, written):
    """The daemon opens the damaged file and serves all other items. After its next stop, check finds no
    fault."""
    numbers = {3, 400, 401, 777}
    for number in numbers:
        flip(file, record_at(written, number) + RECORD_HEADER + 30)
    assert check(file)[0] == DAMAGED
    with Stayd(sessions=SMALL) as stayd:
        stayd.terminate()
        shutil.copy(file, stayd.data_file("sessions"))
        stayd.start()
        connection = stayd.connect("sessions")
        for number in range(COUNT):
            expected = None if number in numbers else value_of(number)
            assert connection.get(key_of(number)) == expected


@pytest.mark.parametrize("offset", [8, 12, 16, 20, 24, 28, 32, 40, 48, 87, 88])
def test_a_file_whose_header_is_damaged_can_not_be_used(file, offset):
    flip(file, offset, bit=6)  # changes the version to one that has never existed
    code, output = check(file)
    assert code == UNUSABLE
    assert ("format version" if offset == 8 else "does not match its checksum") in output
    assert run("dump", file).returncode == UNUSABLE


@pytest.mark.parametrize("size", [100, PAGE - 1, PAGE, 1 << 20, -1])
def test_a_file_that_was_cut_off_can_not_be_used(file, size):
    size = file.stat().st_size - 1 if size < 0 else size
    os.truncate(file, size)
    code, output = check(file)
    assert code == UNUSABLE
    assert ("not a stayd pool file" if size < PAGE else f"cut off: it is {size} bytes") in output
    assert run("dump", file).returncode == UNUSABLE


def test_a_file_that_is_longer_than_its_header_says_is_sound(file):
    """A crash while the pool grows leaves such a file."""
    with open(file, "ab") as stream:
        stream.write(bytes(1 << 20))
    assert check(file)[0] == SOUND


@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(1 << 16), b"statad1\x0a" * 10000],
                         ids=["empty", "text", "zeroes", "magic"])
def test_a_foreign_file_is_no_pool_file(tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    for command in ("check", "dump"):
        done = run(command, path)
        assert done.returncode == UNUSABLE
        assert done.stdout == b""
        assert str(path).encode() in done.stderr
    assert path.read_bytes() == content


def test_what_is_no_regular_file_is_refused(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, "/dev/zero", tmp_path / "missing"):
        code, output = check(path)
        assert code == UNUSABLE
        assert ("No such file" if str(path).endswith("missing") else "not a regular file") in output


def test_random_damage_never_fells_the_tools(file, written):
    """Whatever bytes are changed, check and dump come to an end with one of their statuses."""
    generator = random.Random(5)
    used = written.rindex(key_of(COUNT - 1)) + 1000
    for _ in range(25):
        data = bytearray(written)
        for _ in range(generator.randrange(1, 400)):
            begin = generator.randrange(PAGE, used)
            length = generator.choice([1, 1, 8, 500])
            data[begin:begin + length] = generator.randbytes(length)
        file.write_bytes(data[:len(written)])
        code, output = check(file)
        assert code in (SOUND, DAMAGED), output
        found = values(dump(file))
        assert all(found[key] == value_of(int(key[-4:])) for key in found)
        assert code == DAMAGED or len(found) == COUNT


@pytest.mark.parametrize("command", ["check", "dump"])
def test_a_file_that_a_daemon_has_is_refused_with_advice(command):
    with Stayd(sessions=SMALL) as stayd:
        done = run(command, stayd.data_file("sessions"))
        assert done.returncode == UNUSABLE
        assert b"in use by a running stayd" in done.stderr
        assert b"stayctl backup" in done.stderr
        assert done.stdout == b""


def test_files_of_killed_daemons_are_told_from_what_a_start_makes_of_them():
    """After a SIGKILL in the middle of writing, dump prints what the next daemon serves."""
    with Stayd(sessions=SMALL) as stayd:
        for turn in range(3):
            journal = Journal(stayd.connect("sessions"), f"turn{turn}", turn)
            churn = Churn(stayd.connect("sessions"))
            journal.start()
            churn.start()
            wait_until(lambda: journal.acknowledged > 2000, 60)
            stayd.kill9()
            journal.join(30)
            churn.join(30)
            path = stayd.data_file("sessions")
            code, output = check(path)
            assert code in (SOUND, DAMAGED), output
            items = dump(path)
            journal.assert_is_one_state(items, journal.acknowledged, len(journal.commands))
            stayd.start()
            connection = stayd.connect("sessions")
            assert len(items) == int(connection.stats()["curr_items"])
            assert {key: item["value"] for key, item in seen_by_clients(connection, items).items()} \
                == values(items)
