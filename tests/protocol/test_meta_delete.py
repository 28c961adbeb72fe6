"""md: the meta delete command, and marking items stale instead."""

import pytest


def test_md_deletes(connection):
    connection.set(b"k", b"v")
    connection.ask(b"md k\r\n", b"HD\r\n")
    connection.ask(b"get k\r\n", b"END\r\n")
    connection.ask(b"md k\r\n", b"NF\r\n")


def test_key_and_opaque_come_back_in_the_order_asked(connection):
    connection.set(b"k", b"v")
    connection.ask(b"md k O1 k\r\n", b"HD O1 kk\r\n")
    connection.ask(b"md k k O1\r\n", b"NF kk O1\r\n")


def test_q_hides_success_and_shows_all_else(connection):
    connection.set(b"k", b"v")
    connection.ask(b"md k q k\r\nmn\r\n", b"MN\r\n")
    connection.ask(b"md k q k\r\nmn\r\n", b"NF kk\r\nMN\r\n")


def test_upper_c_deletes_only_that_cas_number(connection):
    connection.set(b"k", b"v")
    number = int(connection.ask(b"mg k c\r\n")[4:])
    connection.ask(b"md k C%d\r\n" % (number + 1000), b"EX\r\n")
    connection.ask(b"md k q C%d\r\n" % (number + 1000), b"EX\r\n")
    assert connection.get(b"k") == b"v"
    connection.ask(b"md k C%d\r\n" % number, b"HD\r\n")
    connection.ask(b"md k C%d\r\n" % number, b"NF\r\n")


def test_i_keeps_the_item_and_marks_it_stale(connection):
    connection.set(b"k", b"v", flags=3)
    before = connection.ask(b"mg k c\r\n")
    connection.ask(b"md k I\r\n", b"HD\r\n")
    connection.ask(b"get k\r\n", b"VALUE k 3 1\r\nv\r\nEND\r\n")
    line = connection.ask(b"mg k c\r\n")
    assert line.endswith(b" X W") and line != before + b" X W"
    connection.ask(b"mg k v\r\n", b"VA 1 Z X\r\nv\r\n")


def test_i_again_lets_somebody_win_again(connection):
    connection.set(b"k", b"v")
    connection.ask(b"md k I\r\n", b"HD\r\n")
    connection.ask(b"mg k\r\n", b"HD X W\r\n")
    connection.ask(b"mg k\r\n", b"HD Z X\r\n")
    connection.ask(b"md k I\r\n", b"HD\r\n")
    connection.ask(b"mg k\r\n", b"HD X W\r\n")


def test_i_with_t_sets_the_expiry_too(connection):
    connection.set(b"k", b"v")
    connection.ask(b"md k I T100\r\n", b"HD\r\n")
    assert connection.ask(b"mg k t\r\n") in (b"HD t100 X W", b"HD t99 X W")


def test_t_without_i_deletes(connection):
    connection.set(b"k", b"v")
    connection.ask(b"md k T100\r\n", b"HD\r\n")
    connection.ask(b"mg k\r\n", b"EN\r\n")


def test_b_takes_the_key_as_base64(connection):
    connection.set(b"abc", b"v")
    connection.ask(b"md YWJj b k\r\n", b"HD kYWJj b\r\n")
    connection.ask(b"get abc\r\n", b"END\r\n")


@pytest.mark.parametrize("flags", [b"Cx", b"C", b"z", b"k k", b"Tx"], ids=repr)
def test_a_bad_flag_deletes_nothing(connection, flags):
    connection.set(b"k", b"v")
    assert connection.ask(b"md k " + flags + b"\r\n").startswith(b"CLIENT_ERROR ")
    assert connection.get(b"k") == b"v"


def test_i_with_e_marks_stale_with_that_cas_number(stayd_connection):
    """E is not in memcached 1.6.18; later ones have it: "use token as new CAS value"."""
    stayd_connection.set(b"k", b"v")
    stayd_connection.ask(b"md k I E1234567\r\n", b"HD\r\n")
    stayd_connection.ask(b"mg k c\r\n", b"HD c1234567 X W\r\n")
