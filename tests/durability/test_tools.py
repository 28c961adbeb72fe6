"""stayctl's check, dump, backup and restore, on files of the real daemon.

Where a record lies in a file is found by its key, which is unique there: without options a record
is 24 bytes of header, key and value (src/store/layout.h).
"""

import base64
import contextlib
import json
import mmap
import os
import pathlib
import pty
import random
import re
import resource
import shutil
import stat
import struct
import subprocess
import threading
import time

import pytest

from support.servers import SANITIZER_MARKS, Stayd, stayd_binary, wait_until

STAYCTL = pathlib.Path(stayd_binary()).with_name("stayctl").resolve()

SMALL = {"memory": "16M", "item_max": "64K"}

SOUND, DAMAGED, UNUSABLE = 0, 1, 2
"""Exit statuses of `stayctl check`."""

PAGE = 4096
RECORD_HEADER = 24


def run(*arguments, **options):
    """Runs stayctl to its end; fails on a sanitizer's report."""
    command = [STAYCTL, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=120, **options)
    assert not any(mark.encode() in done.stderr for mark in SANITIZER_MARKS), done.stderr.decode()
    return done


def check(path):
    """Exit status and output of `stayctl check`."""
    done = run("check", path)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def dump(path):
    """The items of a pool file by key, as `stayctl dump` prints them."""
    done = run("dump", path)
    assert done.returncode == 0, done.stderr
    items = {}
    for line in done.stdout.splitlines():
        item = json.loads(line)
        for name in ("key", "value"):
            if name + "_base64" in item:
                item[name] = base64.b64decode(item.pop(name + "_base64"), validate=True)
            else:
                item[name] = item[name].encode()
        assert item["key"] not in items, f"{item['key']} is printed twice"
        items[item["key"]] = item
    return items


def values(items):
    """Of what `dump` returns, the values alone."""
    return {key: item["value"] for key, item in items.items()}


def backup(stayd, to, pool="sessions"):
    """Backs a pool up and fails if that does not succeed."""
    done = run("-c", stayd.config_path, "backup", pool, to)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr


def backup_at_last(stayd, to):
    """Backs up a pool whose clients may be faster than the backup: until it succeeds."""
    def succeeds():
        done = run("-c", stayd.config_path, "backup", "sessions", to)
        assert done.returncode == 0 or b"writes would have to wait" in done.stderr, done.stderr
        assert to.exists() == (done.returncode == 0)
        return done.returncode == 0

    wait_until(succeeds, 60, "a backup")


def restore(stayd, path, *more):
    """Runs `stayctl restore` for the sessions pool."""
    return run("-c", stayd.config_path, "restore", path, "sessions", *more)


def key_of(number):
    return b"victim-%04d" % number


def value_of(number):
    return b"value %d " % number * 20


COUNT = 1000


@pytest.fixture(scope="module")
def written():
    """A pool file with COUNT items of several segments, from a clean stop."""
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        for number in range(COUNT):
            assert connection.set(key_of(number), value_of(number)) == b"STORED"
        assert stayd.terminate() == 0
        yield stayd.data_file("sessions").read_bytes()


@pytest.fixture
def file(written, tmp_path):
    """A copy of that file, to be damaged: its path."""
    path = tmp_path / "copy.pool"
    path.write_bytes(written)
    return path


def record_at(data, number):
    """Offset of a record in a file's bytes."""
    return data.index(key_of(number)) - RECORD_HEADER


def segment_bytes(data):
    return struct.unpack_from("<I", data, 12)[0]


def segment_of(data, offset):
    return (offset - PAGE) // segment_bytes(data)


def flip(path, offset, bit=0):
    """Changes one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


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
        assert f"{path} is sound\n" in output
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
        bit = 0 if written[at + 8] & 1 else 1  # so that it stays one that was given out, about
    else:
        bit = 0
    flip(file, at + PLACES[place], bit)
    code, output = check(file)
    assert code == DAMAGED, output
    assert f"segment {segment_of(written, at)}, at byte {at}: the last record is not whole" in output
    assert set(dump(file)) == {key_of(n) for n in range(COUNT - 1)}


def test_the_time_of_the_last_access_is_no_part_of_what_is_verified(file, written):
    """Reads change it in place, and a record's checksum leaves it out."""
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
    """What a power cut may leave: zeroes between records."""
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
    """The daemon takes the damaged file, serves all other items, and the next stop is sound."""
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
    flip(file, offset, bit=1)
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
    """As a crash leaves it while a pool grows."""
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


def seen_by_clients(connection, keys):
    """What clients see of each key, in the words of `dump`."""
    items = {}
    for key in keys:
        connection.send(b"mg %b v f t c b\r\n" % base64.b64encode(key))
        words = connection.read_line().split(b" ")
        if words[0] == b"EN":
            continue
        assert words[0] == b"VA"
        value = connection.read_exact(int(words[1]) + 2)[:-2]
        numbers = {word[:1]: int(word[1:]) for word in words[2:] if word[1:].lstrip(b"-").isdigit()}
        items[key] = {"key": key, "value": value, "flags": numbers[b"f"], "cas": numbers[b"c"],
                      "left": numbers[b"t"]}
    return items


def test_a_dump_is_what_clients_see(tmp_path):
    """Text, other bytes, numbers at their limits; and nothing of what is gone."""
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


class Journal(threading.Thread):
    """One client that changes its own keys, one acknowledged command after the other.

    `commands` is what it has sent, and `acknowledged` how many of these were answered. Expiries are
    absolute, so that what a command leaves behind does not depend on when it arrives; some are
    shorter than before, which writes a tombstone paired with the new version.
    """

    def __init__(self, connection, name, seed):
        super().__init__(name=name)
        self.connection = connection
        self.random = random.Random(seed)
        self.keys = [b"%b-%d" % (name.encode(), n) for n in range(60)]
        self.now = int(time.time())
        self.commands = []
        self.acknowledged = 0
        self.stopping = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
        except Exception as failure:
            self.failure = failure

    def step(self):
        key = self.random.choice(self.keys)
        kind = self.random.choice(["set", "set", "set", "delete", "touch", "append"])
        number = len(self.commands)
        expiry = self.now + self.random.choice([200, 3000, 20_000, 80_000, 500_000, 2_000_000])
        if kind == "set":
            value = b"%d " % number + b"x" * self.random.randrange(600)
            line = b"set %b %d %d %d\r\n%b\r\n" % (key, number % 7, expiry, len(value), value)
            command = (kind, key, value, number % 7, expiry)
        elif kind == "append":
            line = b"append %b 0 0 1\r\n+\r\n" % key
            command = (kind, key)
        elif kind == "touch":
            line = b"touch %b %d\r\n" % (key, expiry)
            command = (kind, key, expiry)
        else:
            line = b"delete %b\r\n" % key
            command = (kind, key)
        self.commands.append(command)
        reply = self.connection.ask(line)
        assert reply in (b"STORED", b"DELETED", b"TOUCHED", b"NOT_FOUND", b"NOT_STORED"), reply
        self.acknowledged = len(self.commands)

    @staticmethod
    def apply(state, command):
        """Does to `state`, a dict of key to (value, flags, expiry), what the server does."""
        kind, key, *rest = command
        if kind == "set":
            state[key] = tuple(rest)
        elif kind == "delete":
            state.pop(key, None)
        elif key in state:
            value, flags, expiry = state[key]
            state[key] = (value + b"+", flags, expiry) if kind == "append" else (value, flags, *rest)

    def assert_is_one_state(self, items, begin, end):
        """Fails unless `items` (of `dump`) is what the first N commands left, begin <= N <= end."""
        found = {key: (items[key]["value"], items[key]["flags"], items[key]["expiry"])
                 for key in self.keys if key in items}
        state = {}
        for command in self.commands[:begin]:
            self.apply(state, command)
        for number in range(begin, end + 1):
            if state == found:
                return
            if number < len(self.commands):
                self.apply(state, self.commands[number])
        raise AssertionError(f"{self.name}: no state between {begin} and {end} commands is this one")


class Relay(threading.Thread):
    """Two counters, raised in turn over two connections; `first` is never behind `second`.

    They lie far apart in the file: one expires soon, the other never.
    """

    def __init__(self, stayd):
        super().__init__(name="relay")
        self.connections = [stayd.connect("sessions"), stayd.connect("sessions")]
        assert self.connections[0].set(b"first", b"0", expiry=250) == b"STORED"
        assert self.connections[0].set(b"second", b"0") == b"STORED"
        self.count = 0
        self.stopping = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.stopping.is_set():
                next_count = self.count + 1
                for connection, name in zip(self.connections, (b"first", b"second")):
                    connection.ask(b"incr %b 1\r\n" % name, b"%d\r\n" % next_count)
                self.count = next_count
        except Exception as failure:
            self.failure = failure


class Churn(threading.Thread):
    """Writes large values to few keys, so that segments are compacted all the time.

    Now and then it writes a value again that is to stay: between what dies soon, it has to move.
    """

    def __init__(self, connection, kept=None):
        super().__init__(name="churn")
        self.connection = connection
        self.kept = list((kept or {b"kept": b"v"}).items())
        self.stopping = threading.Event()
        self.failure = None

    def run(self):
        try:
            number = 0
            while not self.stopping.is_set():
                batch = []
                for number in range(number + 1, number + 9):
                    expiry = 5000 + number % 3 * 100_000
                    batch.append((b"churn-%d" % (number * 7919 % 400), b"c" * 4000, expiry))
                batch.append((*self.kept[number // 8 * 7 % len(self.kept)], expiry))
                self.connection.send(b"".join(
                    b"set %b 0 %d %d\r\n%b\r\n" % (key, expiry, len(value), value)
                    for key, value, expiry in batch
                ))
                self.connection.expect(b"STORED\r\n" * len(batch))
        except Exception as failure:
            self.failure = failure


@contextlib.contextmanager
def at_work(threads):
    """Runs these threads meanwhile; raises what they raise."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stopping.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), f"{thread.name} hangs"
    for thread in threads:
        if thread.failure is not None:
            raise thread.failure


BACKUPS = int(os.environ.get("STAYD_BACKUP_ROUNDS", "4"))


def test_a_backup_while_clients_write_is_one_state_between_its_begin_and_its_end(tmp_path):
    """All that was acknowledged before is in it, of what came later either all up to a moment or
    nothing, and nothing that was deleted before it began is back."""
    with Stayd(sessions={"memory": "32M", "item_max": "64K"}, server={"threads": 4}) as stayd:
        connection = stayd.connect("sessions")
        kept = {b"kept-%d" % number: b"%d " % number * 200 for number in range(6000)}
        for key, value in kept.items():
            connection.send(b"set %b 0 0 %d noreply\r\n%b\r\n" % (key, len(value), value))
        connection.expect_in_step()
        gone = [key for number, key in enumerate(kept) if number % 3 == 0]
        for key in gone:
            connection.send(b"delete %b noreply\r\n" % key)
            del kept[key]
        connection.expect_in_step()
        journals = [Journal(stayd.connect("sessions"), f"journal{n}", n) for n in range(2)]
        relay = Relay(stayd)
        churn = Churn(stayd.connect("sessions"), kept)
        compacted = int(connection.stats()["segments_compacted"])
        with at_work([*journals, relay, churn]):
            wait_until(lambda: int(connection.stats()["segments_compacted"]) > compacted + 20, 60)
            for number in range(BACKUPS):
                begins = [journal.acknowledged for journal in journals]
                count_before = relay.count
                path = tmp_path / f"{number}.pool"
                backup_at_last(stayd, path)
                ends = [len(journal.commands) for journal in journals]
                count_after = relay.count + 1
                code, output = check(path)
                assert code == SOUND, output
                items = dump(path)
                found = values(items)
                assert all(found.get(key) == value for key, value in kept.items())
                assert not any(key in items for key in gone)
                first, second = (int(items[name]["value"]) for name in (b"first", b"second"))
                assert second in (first, first - 1)
                assert count_before <= second <= first <= count_after
                for journal, begin, end in zip(journals, begins, ends):
                    journal.assert_is_one_state(items, begin, end)
                compacted_then = int(connection.stats()["segments_compacted"])
                wait_until(lambda: int(connection.stats()["segments_compacted"]) > compacted_then,
                           60, "compaction after a backup")
        stayd.terminate()
        assert check(stayd.data_file("sessions"))[0] == SOUND


def test_a_backup_is_restored_and_started_with_all_that_was_in_it(tmp_path):
    path = tmp_path / "backup.pool"
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"deleted", b"v")
        for number in range(500):
            connection.set(b"k%d" % number, b"old", flags=number)
        connection.ask(b"delete deleted\r\n", b"DELETED\r\n")
        backup(stayd, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for number in range(500):
            connection.set(b"k%d" % number, b"new")
        connection.set(b"later", b"v")
        assert stayd.terminate() == 0
        index = stayd.run_dir / "sessions.index"
        with open(index, "rb") as stream:
            mapped = mmap.mmap(stream.fileno(), PAGE, prot=mmap.PROT_READ)
        before = path.read_bytes()
        refused = restore(stayd, path)
        assert refused.returncode == UNUSABLE and b"--yes" in refused.stderr
        assert index.exists()
        done = restore(stayd, path, "--yes")
        assert (done.returncode, done.stderr) == (0, b"")
        assert not index.exists()
        assert b"\x03\0\0\0" == mapped[80:84], "whoever maps the old index is to stop believing it"
        mapped.close()
        assert path.read_bytes() == before
        assert sorted(os.listdir(stayd.data_dir)) == ["sessions.pool"]
        assert check(stayd.data_file("sessions"))[0] == SOUND
        stayd.start()
        connection = stayd.connect("sessions")
        connection.send(b"".join(b"get k%d\r\n" % number for number in range(500)))
        for number in range(500):
            connection.expect(b"VALUE k%d %d 3\r\nold\r\nEND\r\n" % (number, number))
        assert connection.get(b"deleted") is None
        assert connection.get(b"later") is None
        assert connection.set(b"more", b"v") == b"STORED"
        assert stayd.restart() == 0
        assert stayd.connect("sessions").get(b"more") == b"v"


def test_a_backup_takes_the_place_of_an_earlier_one_and_of_nothing_else(tmp_path):
    path = tmp_path / "backup.pool"
    foreign = tmp_path / "letter.txt"
    foreign.write_text("Dear Ada")
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        for value in (b"one", b"two"):
            connection.set(b"k", value)
            backup(stayd, path)
            assert values(dump(path)) == {b"k": value}
        for place in (foreign, tmp_path, stayd.data_file("sessions")):
            done = run("-c", stayd.config_path, "backup", "sessions", place)
            assert done.returncode == UNUSABLE
            assert b"cannot replace this file by a backup" in done.stderr
        assert foreign.read_text() == "Dear Ada"
        assert connection.get(b"k") == b"two"
        assert sorted(os.listdir(tmp_path)) == ["backup.pool", "letter.txt"]
        assert os.listdir(stayd.data_dir) == ["sessions.pool"]


def test_a_backup_and_a_restore_write_to_no_file_that_was_there_and_are_their_owners_alone(tmp_path):
    path = tmp_path / "backup.pool"
    letter = tmp_path / "letter.txt"
    letter.write_bytes(b"dear reader")
    letter.chmod(0o666)
    with Stayd(sessions=SMALL) as stayd:
        connection = stayd.connect("sessions")
        assert connection.set(b"k", b"v") == b"STORED"
        beside = stayd.data_file("sessions").with_name("sessions.pool.new")
        os.link(letter, tmp_path / "backup.pool.new")
        os.link(letter, beside)
        backup(stayd, path)
        assert stayd.terminate() == 0
        assert restore(stayd, path, "--yes").returncode == 0
        assert letter.read_bytes() == b"dear reader"
        for made in (path, stayd.data_file("sessions")):
            assert stat.S_IMODE(made.stat().st_mode) == 0o600
            assert made.stat().st_nlink == 1
        assert sorted(os.listdir(tmp_path)) == ["backup.pool", "backup.pool.new", "letter.txt"]


def test_a_backup_without_room_on_the_disk_fails_and_leaves_nothing(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    with Stayd(sessions=SMALL) as stayd:
        done = run("-c", stayd.config_path, "backup", "sessions", tmp_path / "b.pool",
                   preexec_fn=limit)
        assert done.returncode == 1
        assert b"cannot reserve disk space" in done.stderr
        assert os.listdir(tmp_path) == []
        backup(stayd, tmp_path / "b.pool")


def test_a_backup_says_what_to_do_where_there_is_nothing_to_back_up(tmp_path):
    path = tmp_path / "b.pool"
    with Stayd(sessions=SMALL) as stayd:
        for words, code, message in (
            (["cache", path], 2, "keeps no file"),
            (["nobody", path], 2, "there is no pool 'nobody'"),
            (["sessions"], 2, "a pool and a file"),
            (["sessions", tmp_path / "missing" / "b.pool"], 1, "No such file"),
        ):
            done = run("-c", stayd.config_path, "backup", *words)
            assert done.returncode == code
            assert message in done.stderr.decode()
        other = tmp_path / "other.conf"
        other.write_text(stayd.config.replace(str(stayd.data_dir), str(tmp_path)))
        done = run("-c", other, "backup", "sessions", path)
        assert (done.returncode, b"cannot open" in done.stderr) == (1, True)
        shutil.copy(stayd.data_file("sessions"), tmp_path / "sessions.pool")
        done = run("-c", other, "backup", "sessions", path)
        assert (done.returncode, b"not the file of the running" in done.stderr) == (1, True)
        stayd.terminate()
        done = run("-c", stayd.config_path, "backup", "sessions", path)
        assert done.returncode == 1
        assert b"can simply be copied" in done.stderr
        assert not path.exists()


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
        # A daemon that listens elsewhere, and whose file has lost its name, has the pool as well.
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


def begin_hold(connection, seconds, timeout=10):
    """Asks until the pool is held; returns the hold's number."""
    def asked():
        reply = connection.ask(b"hold %d\r\n" % seconds)
        assert reply == b"BUSY" or reply.startswith(b"HOLD "), reply
        return int(reply[5:]) if reply != b"BUSY" else 0

    return wait_until(asked, timeout, "a hold")


@pytest.fixture
def holding():
    """A daemon with a small pool."""
    with Stayd(sessions=SMALL, server={"threads": 3}) as stayd:
        yield stayd


def test_a_hold_belongs_to_one_client_until_it_ends_it(holding):
    one, two = holding.connect("sessions"), holding.connect("sessions")
    number = begin_hold(one, 20)
    assert two.ask(b"hold 20\r\n") == b"BUSY"
    assert two.ask(b"hold 20 %d\r\n" % (number + 1)) == b"NOT_FOUND"
    assert one.ask(b"hold 20 %d\r\n" % number) == b"HOLD %d" % number
    assert one.ask(b"hold 0 %d\r\n" % number) == b"OK"
    assert one.ask(b"hold 20 %d\r\n" % number) == b"NOT_FOUND"
    later = begin_hold(two, 20)
    assert later > number
    assert one.ask(b"hold 0 %d\r\n" % number) == b"NOT_FOUND"
    assert two.ask(b"hold 0 %d\r\n" % later) == b"OK"


def test_a_hold_is_numbered_between_the_writes_before_it_and_those_after(holding):
    connection = holding.connect("sessions")
    before = int(connection.ask(b"ms k 1 c\r\nv\r\n").split(b" c")[1])
    number = begin_hold(connection, 20)
    after = int(connection.ask(b"ms k 1 c\r\nv\r\n").split(b" c")[1])
    assert before < number < after


def test_a_hold_ends_by_itself_when_its_client_has_vanished(holding):
    gone = holding.connect("sessions")
    number = begin_hold(gone, 1)
    gone.reset()
    other = holding.connect("sessions")
    assert other.ask(b"hold 1\r\n") == b"BUSY"
    assert begin_hold(other, 1, timeout=6) > number
    assert other.ask(b"hold 1 %d\r\n" % number) == b"NOT_FOUND"


def test_a_pool_without_a_file_can_not_be_held(holding):
    connection = holding.connect("cache")
    assert connection.ask(b"hold 10\r\n").startswith(b"CLIENT_ERROR the pool keeps no file")
    assert connection.ask(b"hold 10 1\r\n").startswith(b"CLIENT_ERROR the pool keeps no file")


def overwrite(connection, count, value=b"c" * 4000):
    """Sends updates of 100 keys; returns what was not STORED."""
    connection.send(b"".join(
        b"set over-%d 0 0 %d\r\n%b\r\n" % (number % 100, len(value), value)
        for number in range(count)
    ))
    return [reply for reply in (connection.read_line(30) for _ in range(count))
            if reply != b"STORED"]


def test_nothing_is_freed_or_moved_during_a_hold_and_afterwards_it_is(holding):
    connection = holding.connect("sessions")

    def stat(name):
        return int(connection.stats()[name])

    def compacted():
        return stat("segments_compacted"), stat("bytes_moved")

    live = 0
    while stat("segments_free") > 24:  # some more than the janitor leaves alone
        live += 1
        connection.set(b"live-%d" % live, b"so that the segment is not all dead")
        assert overwrite(connection, 12) == []
    number = begin_hold(connection, 20)
    before, free = compacted(), stat("segments_free")
    assert free >= 240 // 4, "there is room for what comes"
    assert overwrite(connection, (free - 8) * 16) == [], "fewer than the janitor leaves alone"
    assert stat("segments_free") <= 18
    deadline = time.monotonic() + 0.5  # five times as long as the janitor ever waits
    while time.monotonic() < deadline:
        assert compacted() == before
    assert connection.ask(b"hold 20 %d\r\n" % number) == b"HOLD %d" % number
    connection.ask(b"hold 0 %d\r\n" % number, b"OK\r\n")
    assert overwrite(connection, 4000) == []
    wait_until(lambda: compacted() > before)


def test_writes_that_find_no_room_during_a_hold_wait_and_are_not_refused(holding):
    """They end the hold, which tells whoever copies to begin again; and nobody spins meanwhile."""
    holder = holding.connect("sessions")
    number = begin_hold(holder, 30)
    fields = pathlib.Path(f"/proc/{holding.pid}/stat").read_text().rsplit(")", 1)[1].split()
    began, ticks = time.monotonic(), int(fields[11]) + int(fields[12])
    writers = [holding.connect("sessions") for _ in range(2)]
    failures = []
    threads = [threading.Thread(target=lambda one=one: failures.extend(overwrite(one, 4000)))
               for one in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failures == []
    assert holder.ask(b"hold 30 %d\r\n" % number) == b"NOT_FOUND"
    wait_until(lambda: "a backup has to begin again" in holding.log)
    assert time.monotonic() - began < 20, "they waited for the lease and not for the hold's end"
    assert ticks >= 0


def test_a_janitor_that_holds_still_uses_no_processor(holding):
    holder = holding.connect("sessions")
    begin_hold(holder, 30)

    def ticks():
        fields = pathlib.Path(f"/proc/{holding.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    began, before = time.monotonic(), ticks()
    wait_until(lambda: time.monotonic() > began + 1.5)  # a time in which there is nothing to do
    assert (ticks() - before) / os.sysconf("SC_CLK_TCK") < 0.3


def test_a_flush_that_falls_due_during_a_hold_is_performed(holding):
    connection = holding.connect("sessions")
    connection.set(b"k", b"v")
    number = begin_hold(connection, 30)
    connection.ask(b"flush_all 1\r\n", b"OK\r\n")
    wait_until(lambda: connection.get(b"k") is None, 5)
    assert connection.ask(b"hold 30 %d\r\n" % number) == b"HOLD %d" % number


def test_a_backup_before_a_flush_that_falls_due_meanwhile_keeps_the_flush(tmp_path):
    """The delayed flush is part of the state that is copied."""
    with Stayd(sessions=SMALL) as stayd, Stayd(sessions=SMALL) as other:
        other.terminate()
        connection = stayd.connect("sessions")
        connection.set(b"k", b"v")
        due = int(time.time()) + 2
        connection.ask(b"flush_all %d\r\n" % due, b"OK\r\n")
        backup(stayd, tmp_path / "b.pool")
        wait_until(lambda: time.time() >= due + 0.1)
        assert restore(other, tmp_path / "b.pool", "--yes").returncode == 0
        other.start()
        assert other.connect("sessions").get(b"k") is None


def test_a_daemon_that_is_held_stops_at_once_and_cleanly(holding):
    connection = holding.connect("sessions")
    connection.set(b"k", b"v")
    begin_hold(connection, 30)
    began = time.monotonic()
    assert holding.restart() == 0
    assert time.monotonic() - began < 5
    assert holding.connect("sessions").get(b"k") == b"v"
    assert begin_hold(holding.connect("sessions"), 1) > 0


def test_two_backups_of_one_pool_wait_for_each_other(holding, tmp_path):
    connection = holding.connect("sessions")
    connection.set(b"k", b"v")
    commands = [[STAYCTL, "-c", holding.config_path, "backup", "sessions", tmp_path / f"{n}.pool"]
                for n in range(4)]
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    assert [process.wait(60) for process in running] == [0] * 4
    for number in range(4):
        assert values(dump(tmp_path / f"{number}.pool")) == {b"k": b"v"}


def test_files_of_killed_daemons_are_told_from_what_a_start_makes_of_them():
    """After SIGKILL in the midst of writing, dump is what the next daemon serves."""
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


def on_terminal(*arguments):
    """What stayctl writes to a terminal, as bytes."""
    main, side = pty.openpty()
    process = subprocess.Popen([STAYCTL, *map(str, arguments)], stdout=side, stderr=side)
    os.close(side)
    output = b""
    with contextlib.suppress(OSError):  # EIO is the end of a terminal
        while piece := os.read(main, 65536):
            output += piece
    os.close(main)
    assert process.wait(60) == 0
    return output


def test_long_work_shows_how_far_it_is_on_a_terminal_and_is_quiet_elsewhere():
    with Stayd(sessions={"memory": "512M"}) as stayd:
        stayd.connect("sessions").set(b"k", b"v")
        stayd.terminate()
        path = stayd.data_file("sessions")
        output = on_terminal("check", path)
        assert b"\rcheck: " in output and b" of 512 MiB\x1b[K" in output
        assert output.count(b"\n") == len(check(path)[1].splitlines()), "it is one line, rewritten"
        done = run("check", path)
        assert done.stderr == b"" and b"\r" not in done.stdout
