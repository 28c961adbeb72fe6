"""Every command on a clustered pool: the reply is one machine's, and all hosts have the result."""

import pytest

from support.raw import wait_until


def text(host, line):
    with host.connect("sessions") as raw:
        return raw.ask(line)


def sees(host, key, value):
    wait_until(lambda: text(host, f"get {key}\r\n".encode()) ==
               f"VALUE {key} 0 {len(value)}\r\n{value}\r\nEND\r\n".encode(), what=f"{key} on the other host")


def misses(host, key):
    wait_until(lambda: text(host, f"get {key}\r\n".encode()) == b"END\r\n", what=f"no {key} on the other host")


def test_a_set_is_on_both_hosts(hosts):
    first, second = hosts.host(), hosts.host()
    assert text(first, b"set k 0 0 5\r\nhello\r\n") == b"STORED\r\n"
    assert text(first, b"get k\r\n") == b"VALUE k 0 5\r\nhello\r\nEND\r\n"
    sees(second, "k", "hello")
    assert text(second, b"delete k\r\n") == b"DELETED\r\n"
    assert text(second, b"get k\r\n") == b"END\r\n"
    misses(first, "k")
