"""version, verbosity, quit, and commands that do not exist."""

import re
import subprocess

import pytest

from support.servers import stayd_binary


def test_version_is_three_numbers_and_nothing_behind_them(connection):
    """npm's `memcached` throws an error at any other version, and other clients need this form too."""
    line = connection.ask(b"version\r\n")
    assert re.fullmatch(rb"VERSION [0-9]+\.[0-9]+\.[0-9]+", line), line
    assert connection.stats()["version"] == line.split()[1].decode()


def test_stats_tells_the_version_that_the_command_line_says(stayd_connection):
    said = subprocess.run([stayd_binary(), "--version"], capture_output=True, timeout=20, text=True)
    assert said.returncode == 0
    name, version = said.stdout.split()[:2]
    assert name == "stayd" and stayd_connection.stats()["stayd_version"] == version
    first = said.stdout.splitlines()[0]
    assert first.endswith(f"memcached {stayd_connection.stats()['version']})")


def test_verbosity_is_taken(connection):
    connection.ask(b"verbosity 1\r\n", b"OK\r\n")
    connection.ask(b"verbosity 0\r\n", b"OK\r\n")
    connection.ask(b"verbosity 0 noreply\r\nmn\r\n", b"MN\r\n")


def test_verbosity_without_a_number_is_refused(connection):
    connection.ask(b"verbosity x\r\n", b"CLIENT_ERROR bad command line format\r\n")


def test_quit_closes_without_a_word(target):
    with target.connect() as connection:
        connection.send(b"quit\r\n")
        connection.expect_closed()


def test_quit_comes_after_the_replies_of_all_before_it(target):
    with target.connect() as connection:
        connection.send(b"set k 0 0 1\r\nv\r\nget k\r\nquit\r\nget k\r\n")
        assert connection.read_to_end() == b"STORED\r\nVALUE k 0 1\r\nv\r\nEND\r\n"


@pytest.mark.parametrize("line", [b"  ", b"foo", b"gett k", b"ge k", b"quitx", b"\xff\xfe"],
                         ids=repr)
def test_an_unknown_command_is_an_error(connection, line):
    connection.ask(line + b"\r\n", b"ERROR\r\n")


def test_me_tells_the_time_that_is_left(stayd_connection):
    connection = stayd_connection
    connection.set(b"k", b"v", expiry=1000)
    connection.set(b"for-ever", b"v")
    line = connection.ask(b"me k\r\n")
    assert 995 <= int(re.search(rb" exp=(-?[0-9]+) la=0 ", line).group(1)) <= 1000
    assert b" exp=-1 " in connection.ask(b"me for-ever\r\n")


def test_a_unix_socket_speaks_the_same(stayd_target):
    with stayd_target.server.connect_socket(stayd_target.pool) as connection:
        assert connection.set(b"k", b"v") == b"STORED"
        with stayd_target.connect() as other:
            assert other.get(b"k") == b"v"
