"""idle_timeout and max_lifetime: what the pool does with items, whatever expiry their clients asked for.

The daemon's clock has whole seconds. So a test reads the clock before and after a request, and expects
only what is true for every moment in between.
"""

import pathlib
import subprocess
import time

import pytest

from support.servers import Stayd, together, wait_until


def exists(connection, key):
    return connection.get(key) is not None


def in_time(since, seconds):
    """Called when an item is not there: skips the test if the machine was so slow that the item may
    have expired."""
    if time.time() - since >= seconds:
        pytest.skip(f"the machine stood still: {time.time() - since:.1f} s between two steps")


def sessions(**policy):
    return Stayd(sessions={"memory": "16M", "item_max": "64K", **policy})


def test_an_item_that_nobody_reads_goes_after_the_idle_timeout_and_one_that_is_read_stays():
    def check(restart):
        with sessions(idle_timeout="3s") as stayd:
            connection = stayd.connect("sessions")
            connection.set(b"idle", b"1", expiry=1000)
            connection.set(b"for-ever", b"1")
            connection.set(b"read", b"1")
            begun = read = time.time()
            if restart:
                stayd.kill9()
                stayd.start()
                connection = stayd.connect("sessions")
            while time.time() < begun + 5.5:
                if not exists(connection, b"read"):
                    in_time(read, 2)
                    pytest.fail("a read item must not go")
                read = time.time()
                time.sleep(0.3)  # the pace at which the reader reads, not a wait for a condition
            assert not exists(connection, b"idle")
            assert not exists(connection, b"for-ever")
            if restart:
                stayd.kill9()  # items that were idle too long must not come back
                stayd.start()
                connection = stayd.connect("sessions")
                assert not exists(connection, b"idle")

    together(lambda: check(False), lambda: check(True))


def test_an_idle_item_is_there_until_its_second_and_not_after_it():
    with sessions(idle_timeout="2s") as stayd:
        connection = stayd.connect("sessions")
        before = int(time.time())
        connection.set(b"early", b"1")
        connection.set(b"late", b"1")
        after = int(time.time())
        wait_until(lambda: time.time() >= before + 1.8)
        found = exists(connection, b"early")
        assert found or time.time() >= before + 2, "gone before its time"
        wait_until(lambda: time.time() >= after + 2.02)  # with the coarse clock's 4 ms
        assert not exists(connection, b"late")


def test_a_write_counts_as_use():
    with sessions(idle_timeout="2s") as stayd:
        connection = stayd.connect("sessions")
        connection.set(b"n", b"0")
        begun = written = time.time()
        while time.time() < begun + 3.5:
            if not connection.ask(b"incr n 1\r\n").isdigit():
                in_time(written, 1)
                pytest.fail("an item that is written must not go")
            written = time.time()
            time.sleep(0.2)  # the writer's pace


def test_an_item_goes_at_the_end_of_its_life_however_often_it_is_stored_again():
    def check(restart):
        with sessions(max_lifetime="4s") as stayd:
            connection = stayd.connect("sessions")
            connection.set(b"session", b"0", expiry=1000)
            born = time.time()
            stores = 0
            while time.time() < born + 2.5:
                connection.send(b"replace session 0 1000 1\r\n1\r\ntouch session 5000\r\n")
                replies = connection.read_line(), connection.read_line()
                if replies != (b"STORED", b"TOUCHED"):
                    in_time(born, 3)
                    pytest.fail(f"a session in its lifetime must not go: {replies}")
                stores += 1
                if restart and stores == 2:
                    stayd.kill9()
                    stayd.start()
                    connection = stayd.connect("sessions")
                time.sleep(0.2)  # the writer's pace
            reply = connection.ask(b"mg session t\r\n")
            if reply == b"EN":
                in_time(born, 3)
            assert 0 <= int(reply.removeprefix(b"HD t")) <= 2
            wait_until(lambda: time.time() >= born + 4.02)
            assert not exists(connection, b"session")
            connection.ask(b"replace session 0 0 1\r\n1\r\n", b"NOT_STORED\r\n")
            connection.set(b"session", b"1")  # a new session, with its own lifetime
            assert exists(connection, b"session")

    together(lambda: check(False), lambda: check(True))


def test_a_limit_that_is_raised_at_a_restart_brings_nobody_back():
    """The item was idle for longer than the limit in force. The limit is raised after a crash, and after a
    stop."""

    def check(end):
        with sessions(idle_timeout="2s") as stayd:
            connection = stayd.connect("sessions")
            connection.set(b"idle", b"1")
            stored = time.time()
            end(stayd)
            wait_until(lambda: time.time() >= stored + 2.02)
            stayctl = pathlib.Path(stayd.binary).with_name("stayctl")
            dump = subprocess.check_output([stayctl, "dump", stayd.data_file("sessions")])
            assert b"idle" not in dump, "a dump goes by the limit that is in force"
            stayd.configure(stayd.config.replace("idle_timeout = 2s", "idle_timeout = 1h"))
            for _ in range(2):  # the second round begins with the items that the first round left
                stayd.start()
                connection = stayd.connect("sessions")
                assert connection.stats()["idle_timeout"] == "3600"
                assert not exists(connection, b"idle")
                connection.set(b"new", b"1")
                stayd.kill9()

    together(lambda: check(Stayd.kill9), lambda: check(Stayd.terminate))


def test_the_memory_of_idle_items_is_used_again():
    with sessions(idle_timeout="2s") as stayd:
        connection = stayd.connect("sessions")
        for number in range(200):
            connection.set(b"key-%d" % number, b"v" * 20_000)
        assert int(connection.stats()["curr_items"]) == 200
        wait_until(lambda: int(connection.stats()["curr_items"]) == 0)
        wait_until(lambda: int(connection.stats()["live_bytes"]) == 0)


def test_stats_say_which_policy_there_is():
    with sessions(idle_timeout="2h", max_lifetime="30d") as stayd:
        stats = stayd.connect("sessions").stats()
        assert stats["idle_timeout"] == "7200"
        assert stats["max_lifetime"] == str(30 * 86400)
