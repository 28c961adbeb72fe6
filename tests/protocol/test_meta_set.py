"""ms: the meta set command, its modes and flags."""

import pytest


def cas_of(connection, key):
    """The item's CAS number as int."""
    line = connection.ask(b"mg %b c\r\n" % key)
    assert line.startswith(b"HD c"), line
    return int(line.split(b" ")[1][1:])


def test_ms_stores_a_value(connection):
    connection.ask(b"ms k 5\r\nhello\r\n", b"HD\r\n")
    connection.ask(b"get k\r\n", b"VALUE k 0 5\r\nhello\r\nEND\r\n")


def test_an_empty_value_is_a_value(connection):
    connection.ask(b"ms k 0\r\n\r\n", b"HD\r\n")
    connection.ask(b"mg k v s\r\n", b"VA 0 s0\r\n\r\n")


def test_upper_f_sets_the_client_flags_and_they_are_zero_without(connection):
    connection.ask(b"ms k 1 F4294967295\r\nv\r\n", b"HD\r\n")
    connection.ask(b"mg k f\r\n", b"HD f4294967295\r\n")
    connection.ask(b"ms k 1\r\nv\r\n", b"HD\r\n")
    connection.ask(b"mg k f\r\n", b"HD f0\r\n")


def test_upper_t_sets_the_expiry_and_there_is_none_without(connection):
    connection.ask(b"ms k 1 T100\r\nv\r\n", b"HD\r\n")
    assert connection.ask(b"mg k t\r\n") in (b"HD t100", b"HD t99")
    connection.ask(b"ms k 1\r\nv\r\n", b"HD\r\n")
    connection.ask(b"mg k t\r\n", b"HD t-1\r\n")
    connection.ask(b"ms k 1 T-1\r\nv\r\n", b"HD\r\n")
    connection.ask(b"mg k t\r\n", b"EN\r\n")


def test_c_returns_the_new_cas_number(connection):
    line = connection.ask(b"ms k 1 c\r\nv\r\n")
    assert line == b"HD c%d" % cas_of(connection, b"k")


def test_key_opaque_and_cas_come_back_in_the_order_asked(connection):
    line = connection.ask(b"ms k 1 k O9 c\r\nv\r\n")
    assert line == b"HD kk O9 c%d" % cas_of(connection, b"k")
    line = connection.ask(b"ms k 1 c O9 k\r\nv\r\n")
    assert line == b"HD c%d O9 kk" % cas_of(connection, b"k")


def test_q_hides_success_and_shows_all_else(connection):
    connection.ask(b"ms k 1 q\r\nv\r\nmn\r\n", b"MN\r\n")
    connection.ask(b"ms k 1 q k O1\r\nv\r\nmn\r\n", b"MN\r\n")
    connection.ask(b"ms k 1 q ME k O1\r\nv\r\nmn\r\n", b"NS kk O1\r\nMN\r\n")
    connection.ask(b"ms none 1 q MR\r\nv\r\nmn\r\n", b"NS\r\nMN\r\n")
    assert connection.get(b"k") == b"v"


def test_mode_e_adds(connection):
    connection.ask(b"ms k 1 ME\r\na\r\n", b"HD\r\n")
    connection.ask(b"ms k 1 ME\r\nb\r\n", b"NS\r\n")
    assert connection.get(b"k") == b"a"


def test_mode_r_replaces(connection):
    connection.ask(b"ms k 1 MR\r\na\r\n", b"NS\r\n")
    connection.set(b"k", b"a")
    connection.ask(b"ms k 1 MR\r\nb\r\n", b"HD\r\n")
    assert connection.get(b"k") == b"b"


def test_modes_a_and_p_append_and_prepend(connection):
    connection.ask(b"ms k 1 MA\r\na\r\n", b"NS\r\n")
    connection.ask(b"ms k 1 MP\r\na\r\n", b"NS\r\n")
    connection.set(b"k", b"b", flags=4)
    connection.ask(b"ms k 1 MA F9\r\nc\r\n", b"HD\r\n")
    connection.ask(b"ms k 1 MP F9\r\na\r\n", b"HD\r\n")
    connection.ask(b"mg k v f\r\n", b"VA 3 f4\r\nabc\r\n")


def test_mode_s_is_the_default(connection):
    connection.ask(b"ms k 1 MS\r\na\r\n", b"HD\r\n")
    connection.ask(b"ms k 1 MS\r\nb\r\n", b"HD\r\n")
    assert connection.get(b"k") == b"b"


@pytest.mark.parametrize("mode, reply", [
    (b"MX", b"CLIENT_ERROR invalid mode for ms M token\r\n"),
    (b"Ms", b"CLIENT_ERROR invalid mode for ms M token\r\n"),
], ids=repr)
def test_an_unknown_mode_is_refused_and_its_value_thrown_away(connection, mode, reply):
    connection.ask(b"ms k 4 " + mode + b"\r\nmn\r\n\r\n", reply)
    connection.expect_in_step()
    connection.ask(b"mg k\r\n", b"EN\r\n")


def test_upper_c_stores_only_over_that_cas_number(connection):
    connection.set(b"k", b"a")
    number = cas_of(connection, b"k")
    connection.ask(b"ms k 1 C%d\r\nb\r\n" % (number + 1000), b"EX\r\n")
    assert connection.get(b"k") == b"a"
    connection.ask(b"ms k 1 C%d\r\nb\r\n" % number, b"HD\r\n")
    assert connection.get(b"k") == b"b"
    connection.ask(b"ms k 1 C%d\r\nc\r\n" % number, b"EX\r\n")
    connection.ask(b"ms none 1 C1\r\nc\r\n", b"NF\r\n")


def test_upper_c_holds_for_append_and_replace_too(connection):
    connection.set(b"k", b"a")
    number = cas_of(connection, b"k")
    connection.ask(b"ms k 1 MA C%d\r\nb\r\n" % (number + 1000), b"EX\r\n")
    connection.ask(b"ms k 1 MA C%d\r\nb\r\n" % number, b"HD\r\n")
    assert connection.get(b"k") == b"ab"
    connection.ask(b"ms k 1 MR C%d\r\nb\r\n" % number, b"EX\r\n")


def test_i_with_an_older_cas_number_stores_and_marks_stale(connection):
    """The next reader learns that it should refresh the item (W). All readers learn that it is stale (X)."""
    connection.set(b"k", b"a")
    number = cas_of(connection, b"k")
    connection.ask(b"ms k 1 C%d I\r\nb\r\n" % (number - 1), b"HD\r\n")
    connection.ask(b"mg k v\r\n", b"VA 1 X W\r\nb\r\n")
    connection.ask(b"mg k v\r\n", b"VA 1 Z X\r\nb\r\n")
    connection.ask(b"ms k 1\r\nc\r\n", b"HD\r\n")
    connection.ask(b"mg k v\r\n", b"VA 1\r\nc\r\n")


def test_i_with_a_newer_cas_number_is_refused(connection):
    connection.set(b"k", b"a")
    number = cas_of(connection, b"k")
    connection.ask(b"ms k 1 C%d I\r\nb\r\n" % (number + 1000), b"EX\r\n")
    connection.ask(b"mg k v\r\n", b"VA 1\r\na\r\n")


def test_b_takes_the_key_as_base64_and_returns_it_so(connection):
    connection.ask(b"ms YWJj 1 b k O5\r\nv\r\n", b"HD kYWJj b O5\r\n")
    assert connection.get(b"abc") == b"v"
    connection.ask(b"ms Y 4 b\r\nmn\r\n\r\n", b"CLIENT_ERROR error decoding key\r\n")


@pytest.mark.parametrize("flags, reply", [
    (b"z", b"CLIENT_ERROR invalid flag\r\n"),
    (b"q z", b"CLIENT_ERROR invalid flag\r\n"),
    (b"F1 F1", b"CLIENT_ERROR duplicate flag\r\n"),
    (b"Fx", b"CLIENT_ERROR bad command line format\r\n"),
    (b"F-1", b"CLIENT_ERROR bad command line format\r\n"),
    (b"F", b"CLIENT_ERROR bad command line format\r\n"),
    (b"Tx", b"CLIENT_ERROR bad token in command line format\r\n"),
    (b"T", b"CLIENT_ERROR bad token in command line format\r\n"),
    (b"Cx", b"CLIENT_ERROR bad token in command line format\r\n"),
    (b"C", b"CLIENT_ERROR bad token in command line format\r\n"),
], ids=repr)
def test_a_bad_flag_is_refused_and_its_value_thrown_away(connection, flags, reply):
    """The value has the form of a request. It must not be run."""
    connection.ask(b"ms k 4 " + flags + b"\r\nmn\r\n\r\n", reply)
    connection.expect_in_step()
    connection.ask(b"mg k\r\n", b"EN\r\n")


@pytest.mark.parametrize("length", [b"", b" x", b" -1", b" 1x", b" S1", b" 9223372036854775808"],
                         ids=repr)
def test_a_length_that_is_none_is_refused(target, connection, length):
    reply = b"CLIENT_ERROR bad command line format\r\n"
    target.expect_refused_without_length(b"ms k" + length, reply)
    connection.ask(b"mg k\r\n", b"EN\r\n")


def test_ms_without_a_key_is_an_error(target):
    target.expect_refused_without_length(b"ms", b"CLIENT_ERROR bad command line format\r\n",
                                         earlier=b"ERROR\r\n")


def test_e_stores_with_that_cas_number(stayd_connection):
    """E is not in memcached 1.6.18; later ones have it: "use token as new CAS value"."""
    connection = stayd_connection
    connection.ask(b"ms k 1 E1234567 c\r\nv\r\n", b"HD c1234567\r\n")
    connection.ask(b"mg k c\r\n", b"HD c1234567\r\n")
    connection.ask(b"cas k 0 0 1 1234567\r\nw\r\n", b"STORED\r\n")
    assert cas_of(connection, b"k") != 1234567


def test_n_makes_the_item_when_append_misses(stayd_connection):
    """memcached 1.6.18 ignores N here; later ones store, as their protocol.txt says."""
    stayd_connection.ask(b"ms k 1 MA N100\r\nv\r\n", b"HD\r\n")
    assert stayd_connection.ask(b"mg k t v\r\n") in (b"VA 1 t100", b"VA 1 t99")
    stayd_connection.expect(b"v\r\n")
