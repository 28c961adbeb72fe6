"""Expiry in real seconds: an item is never served after its expiry, and never removed before."""

import time

import pytest

from support.servers import together, wait_until

CLOCK_S = 0.05
"""How much later than its expiry an item may be seen: the daemon reads a coarse clock, and a reply takes
time."""


def test_an_item_expires(connection):
    """memcached's seconds begin at its own moments, so both limits allow one second more. On a busy
    machine memcached's clock may lag even further behind."""
    lag = max(0.0, time.time() - int(connection.stats()["time"]) - 1)
    stored = time.time()
    connection.set(b"k", b"v", expiry=2)
    assert connection.get(b"k") == b"v"
    asked = [stored]  # when each read was sent; the last read but one still found the item

    def is_gone():
        asked.append(time.time())
        return connection.get(b"k") is None

    wait_until(is_gone, 10, "the expiry")
    assert time.time() - stored > 0.9 - lag
    assert asked[-2] - stored < 3.2


def test_every_way_to_store_an_absolute_expiry_is_exact(stayd_connection):
    """An expiry in absolute Unix seconds: the item is there until that second begins, and not a moment
    longer."""
    connection = stayd_connection
    due = int(time.time()) + 2
    keys = [b"set", b"add", b"replace", b"cas", b"touch", b"gat", b"append", b"ms", b"mg", b"ma"]
    for key in (b"replace", b"cas", b"touch", b"gat", b"mg"):
        connection.set(key, b"1")
    number = connection.ask(b"mg cas c\r\n")[4:]
    connection.ask(b"set set 0 %d 1\r\n1\r\n" % due, b"STORED\r\n")
    connection.ask(b"add add 0 %d 1\r\n1\r\n" % due, b"STORED\r\n")
    connection.ask(b"replace replace 0 %d 1\r\n1\r\n" % due, b"STORED\r\n")
    connection.ask(b"cas cas 0 %d 1 %b\r\n1\r\n" % (due, number), b"STORED\r\n")
    connection.ask(b"touch touch %d\r\n" % due, b"TOUCHED\r\n")
    connection.ask(b"gat %d gat\r\n" % due, b"VALUE gat 0 1\r\n1\r\nEND\r\n")
    connection.ask(b"set append 0 %d 0\r\n\r\n" % due, b"STORED\r\n")
    connection.ask(b"append append 0 0 1\r\n1\r\n", b"STORED\r\n")
    connection.ask(b"ms ms 1 T%d\r\n1\r\n" % due, b"HD\r\n")
    connection.ask(b"mg mg T%d\r\n" % due, b"HD\r\n")
    connection.ask(b"ma ma N%d J1 v\r\n" % due, b"VA 1\r\n1\r\n")
    request = b"get " + b" ".join(keys) + b"\r\n"
    everything = b"".join(b"VALUE %b 0 1\r\n1\r\n" % key for key in keys) + b"END\r\n"
    polls = 0
    while True:
        connection.send(request)
        reply = connection.read_until(b"END\r\n")
        read = time.time()
        if read >= due:
            break
        assert reply == everything, f"{due - read:.3f} s before the second"
        polls += 1
    if polls == 0:
        pytest.skip("the machine was too slow to look before the second")
    wait_until(lambda: time.time() >= due + CLOCK_S)
    connection.ask(request, b"END\r\n")


def test_a_relative_expiry_counts_from_the_second_of_the_request(stayd_target):
    """In the second S, an expiry of 1 means S + 1: the item is there until that second begins, and then
    gone."""
    together(*(lambda at=fraction: relative_expiry(stayd_target.connect(), b"k%d" % (at * 100), at)
               for fraction in (0.05, 0.5, 0.9)))


def relative_expiry(connection, key, fraction):
    """Stores `key` at the moment when this fraction of a second has passed on the clock."""
    start = int(time.time()) + 1 + fraction
    wait_until(lambda: time.time() >= start, 5, interval=0.001)
    sent = time.time()
    connection.set(key, b"v", expiry=1)
    if int(time.time()) != int(sent):
        pytest.skip("the machine was too slow to store within one second of the clock")
    due = int(sent) + 1
    while True:
        value, read = connection.get(key), time.time()
        if read >= due:
            break
        assert value == b"v", f"{due - read:.3f} s before the second"
    wait_until(lambda: time.time() >= due + CLOCK_S)
    assert connection.get(key) is None


def test_thirty_days_is_relative_and_a_second_more_is_a_date_long_gone(connection):
    month = 60 * 60 * 24 * 30
    connection.set(b"k", b"v", expiry=month)
    assert connection.ask(b"mg k t\r\n") in (b"HD t%d" % month, b"HD t%d" % (month - 1))
    connection.set(b"k", b"v", expiry=month + 1)
    connection.ask(b"mg k t\r\n", b"EN\r\n")


def test_an_absolute_date_is_understood(connection):
    connection.set(b"k", b"v", expiry=int(time.time()) + 10_000_000)
    line = connection.ask(b"mg k t\r\n")
    assert abs(int(line[4:]) - 10_000_000) <= 2


def test_the_latest_date_that_fits_does_not_wrap(connection):
    connection.set(b"k", b"v", expiry=2**31 - 1)
    assert connection.get(b"k") == b"v"


def test_touch_puts_off_the_expiry(stayd_connection):
    connection = stayd_connection
    connection.set(b"short", b"v", expiry=1)
    connection.set(b"k", b"v", expiry=1)
    connection.ask(b"touch k 100\r\n", b"TOUCHED\r\n")
    wait_until(lambda: connection.get(b"short") is None, 5)
    assert connection.get(b"k") == b"v"
