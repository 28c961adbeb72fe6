"""ma: the meta arithmetic command, its modes and flags."""

import pytest

BAD_FLAG = b"CLIENT_ERROR invalid or duplicate flag\r\n"


def test_ma_adds_one_and_v_returns_the_number(connection):
    connection.set(b"n", b"10")
    connection.ask(b"ma n\r\n", b"HD\r\n")
    connection.ask(b"ma n v\r\n", b"VA 2\r\n12\r\n")
    assert connection.get(b"n") == b"12"


def test_ma_of_a_missing_key_is_not_found(connection):
    connection.ask(b"ma n\r\n", b"NF\r\n")
    connection.ask(b"ma n v k O1\r\n", b"NF kn O1\r\n")


def test_d_is_the_delta(connection):
    connection.set(b"n", b"10")
    connection.ask(b"ma n D32 v\r\n", b"VA 2\r\n42\r\n")
    connection.ask(b"ma n D0 v\r\n", b"VA 2\r\n42\r\n")


@pytest.mark.parametrize("mode, number", [(b"MI", b"12"), (b"M+", b"12"), (b"MD", b"8"),
                                          (b"M-", b"8")])
def test_m_chooses_the_direction(connection, mode, number):
    connection.set(b"n", b"10")
    connection.ask(b"ma n D2 v %b\r\n" % mode, b"VA %d\r\n%b\r\n" % (len(number), number))


def test_decrement_stops_at_zero(connection):
    connection.set(b"n", b"3")
    connection.ask(b"ma n MD D4 v\r\n", b"VA 1\r\n0\r\n")


def test_n_makes_the_number_with_the_initial_value_of_j(connection):
    connection.ask(b"ma a N0 v t\r\n", b"VA 1 t-1\r\n0\r\n")
    connection.ask(b"ma a N0 v\r\n", b"VA 1\r\n1\r\n")
    assert connection.ask(b"ma b N100 J13 v t\r\n") in (b"VA 2 t100", b"VA 2 t99")
    connection.expect(b"13\r\n")
    connection.ask(b"ma b N100 J13 v\r\n", b"VA 2\r\n14\r\n")


def test_upper_t_sets_the_expiry(connection):
    connection.set(b"n", b"1")
    assert connection.ask(b"ma n T100 t\r\n") in (b"HD t100", b"HD t99")
    connection.ask(b"ma n T0\r\n", b"HD\r\n")
    connection.ask(b"ma n t\r\n", b"HD t-1\r\n")


def test_upper_t_holds_for_a_number_that_gets_longer_too(stayd_connection):
    stayd_connection.set(b"n", b"9")
    assert stayd_connection.ask(b"ma n T100\r\n") == b"HD"
    assert stayd_connection.ask(b"ma n t\r\n") in (b"HD t100", b"HD t99")


def test_c_returns_the_new_cas_number_and_upper_c_asks_for_the_old(connection):
    connection.set(b"n", b"1")
    old = int(connection.ask(b"mg n c\r\n")[4:])
    connection.ask(b"ma n C%d\r\n" % (old + 1000), b"EX\r\n")
    line = connection.ask(b"ma n C%d c\r\n" % old)
    assert line.startswith(b"HD c")
    assert connection.ask(b"mg n c\r\n") == line
    connection.ask(b"ma n C%d\r\n" % old, b"EX\r\n")
    assert connection.get(b"n") == b"2"


def test_q_hides_success_and_shows_all_else(connection):
    connection.set(b"n", b"1")
    connection.ask(b"ma n q\r\nma n q v\r\nmn\r\n", b"MN\r\n")
    connection.ask(b"ma none q k\r\nmn\r\n", b"NF knone\r\nMN\r\n")
    connection.ask(b"ma n q C99999999 k\r\nmn\r\n", b"EX kn\r\nMN\r\n")
    assert connection.get(b"n") == b"3"


def test_key_and_opaque_come_back_in_the_order_asked(connection):
    connection.set(b"n", b"1")
    connection.ask(b"ma n O1 k v\r\n", b"VA 1 O1 kn\r\n2\r\n")
    connection.ask(b"ma n k O1\r\n", b"HD kn O1\r\n")


def test_b_takes_the_key_as_base64(connection):
    connection.set(b"abc", b"1")
    connection.ask(b"ma YWJj b v k\r\n", b"VA 1 kYWJj b\r\n2\r\n")


def test_a_value_that_is_no_number_is_left_alone(connection):
    connection.set(b"n", b"x")
    refused = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
    connection.ask(b"ma n\r\n", refused)
    connection.ask(b"ma n q\r\n", refused)
    assert connection.get(b"n") == b"x"


@pytest.mark.parametrize("flags", [
    b"D", b"Dx", b"D-1", b"D18446744073709551616", b"J-1", b"Jx", b"N", b"Nx", b"Tx",
    b"z", b"k k", b"Cx",
], ids=repr)
def test_a_bad_flag_changes_nothing(connection, flags):
    connection.set(b"n", b"1")
    connection.ask(b"ma n " + flags + b"\r\n", BAD_FLAG)
    assert connection.get(b"n") == b"1"


def test_an_unknown_mode_is_refused(connection):
    connection.set(b"n", b"1")
    connection.ask(b"ma n Mx\r\n", b"CLIENT_ERROR invalid mode for ma M token\r\n")
    assert connection.get(b"n") == b"1"


def test_a_stale_item_stays_stale_however_long_the_number(stayd_connection):
    connection = stayd_connection
    connection.set(b"n", b"9")
    connection.ask(b"md n I\r\n", b"HD\r\n")
    connection.ask(b"ma n v\r\n", b"VA 2\r\n10\r\n")
    connection.ask(b"mg n v\r\n", b"VA 2 X W\r\n10\r\n")


def test_an_item_has_been_read_however_long_its_number_becomes(stayd_connection):
    """memcached forgets that the item was read when the number gets longer."""
    stayd_connection.set(b"n", b"9")
    stayd_connection.get(b"n")
    stayd_connection.ask(b"incr n 1\r\nmg n h\r\n", b"10\r\nHD h1\r\n")


def test_e_gives_the_new_number_that_cas_number(stayd_connection):
    """E is not in memcached 1.6.18; later ones have it: "use token as new CAS value"."""
    stayd_connection.set(b"n", b"1")
    stayd_connection.ask(b"ma n E1234567 v c\r\n", b"VA 1 c1234567\r\n2\r\n")
    stayd_connection.ask(b"ma m N0 J5 E7654321 v c\r\n", b"VA 1 c7654321\r\n5\r\n")
