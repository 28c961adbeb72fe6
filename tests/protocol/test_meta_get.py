"""mg: the meta get command and each of its flags."""

import pytest


def test_a_miss_is_en_and_a_hit_without_flags_is_hd(connection):
    connection.ask(b"mg k\r\n", b"EN\r\n")
    connection.set(b"k", b"v")
    connection.ask(b"mg k\r\n", b"HD\r\n")


def test_v_returns_the_value_and_its_length(connection):
    connection.set(b"k", b"value")
    connection.ask(b"mg k v\r\n", b"VA 5\r\nvalue\r\n")
    connection.set(b"k", b"")
    connection.ask(b"mg k v\r\n", b"VA 0\r\n\r\n")


def test_returned_flags_come_in_the_order_asked(connection):
    connection.set(b"k", b"abc", flags=7)
    connection.ask(b"mg k t f s k v\r\n", b"VA 3 t-1 f7 s3 kk\r\nabc\r\n")
    connection.ask(b"mg k v k s f t\r\n", b"VA 3 kk s3 f7 t-1\r\nabc\r\n")


def test_q_hides_a_miss_and_shows_a_hit(connection):
    connection.set(b"k", b"v")
    connection.ask(b"mg none q\r\nmg none v q\r\nmg k v q\r\nmn\r\n", b"VA 1\r\nv\r\nMN\r\n")


def test_opaque_and_key_come_back_with_a_hit_and_with_a_miss(connection):
    connection.set(b"k", b"v")
    connection.ask(b"mg k O123 k\r\n", b"HD O123 kk\r\n")
    connection.ask(b"mg none k Oabc\r\n", b"EN knone Oabc\r\n")


def test_an_opaque_of_31_bytes_is_taken_and_one_of_32_refused(connection):
    """protocol.txt allows 32 bytes; memcached 1.6.18 also counts the flag's own letter."""
    connection.ask(b"mg k O%b\r\n" % (b"o" * 31), b"EN O%b\r\n" % (b"o" * 31))
    connection.ask(b"mg k O%b\r\n" % (b"o" * 32), b"CLIENT_ERROR opaque token too long\r\n")


def test_a_command_with_an_opaque_too_long_is_not_carried_out(stayd_connection):
    """memcached answers with the same error, but creates the items nevertheless."""
    for command in (b"mg k N0", b"ma k N0"):
        stayd_connection.ask(
            command + b" O%b\r\n" % (b"o" * 32), b"CLIENT_ERROR opaque token too long\r\n"
        )
        stayd_connection.ask(b"mg k\r\n", b"EN\r\n")


def test_c_returns_the_same_number_as_gets(connection):
    connection.set(b"k", b"v")
    connection.send(b"gets k\r\n")
    number = connection.read_until(b"END\r\n").split(b"\r\n")[0].split(b" ")[4]
    connection.ask(b"mg k c\r\n", b"HD c%b\r\n" % number)


def test_t_is_the_remaining_time(connection):
    connection.set(b"k", b"v", expiry=100)
    assert connection.ask(b"mg k t\r\n") in (b"HD t100", b"HD t99")
    connection.set(b"k", b"v")
    connection.ask(b"mg k t\r\n", b"HD t-1\r\n")


def test_upper_t_sets_the_remaining_time(connection):
    connection.set(b"k", b"v")
    assert connection.ask(b"mg k T100 t\r\n") in (b"HD t100", b"HD t99")
    assert connection.ask(b"mg k t\r\n") in (b"HD t100", b"HD t99")
    connection.ask(b"mg k T0 t v\r\n", b"VA 1 t-1\r\nv\r\n")


def test_t_before_upper_t_is_the_time_that_remained_before(connection):
    connection.set(b"k", b"v", expiry=100)
    assert connection.ask(b"mg k t T200\r\n") in (b"HD t100", b"HD t99")
    assert connection.ask(b"mg k t\r\n") in (b"HD t200", b"HD t199")


def test_upper_t_does_not_make_a_missing_item(connection):
    connection.ask(b"mg k T100 t\r\n", b"EN\r\n")


def test_n_makes_an_empty_item_and_tells_only_the_first_that_it_won(connection):
    assert connection.ask(b"mg k N100 t v k\r\n") in (b"VA 0 t100 kk W", b"VA 0 t99 kk W")
    connection.expect(b"\r\n")
    connection.ask(b"mg k N100 v\r\n", b"VA 0 Z\r\n\r\n")
    connection.ask(b"mg k v\r\n", b"VA 0 Z\r\n\r\n")
    connection.ask(b"ms k 1\r\nv\r\n", b"HD\r\n")
    connection.ask(b"mg k N100 v\r\n", b"VA 1\r\nv\r\n")


def test_n_with_q_shows_the_item_that_it_made(connection):
    connection.ask(b"mg k N100 q v\r\nmn\r\n", b"VA 0 W\r\n\r\nMN\r\n")


def test_r_lets_one_client_win_when_the_time_left_is_less(connection):
    connection.set(b"k", b"v", expiry=100)
    connection.ask(b"mg k R30\r\n", b"HD\r\n")
    connection.ask(b"mg k R200\r\n", b"HD W\r\n")
    connection.ask(b"mg k R200\r\n", b"HD Z\r\n")
    connection.set(b"k", b"v", expiry=100)
    connection.ask(b"mg k R30\r\n", b"HD\r\n")


def test_r_looks_at_the_time_that_t_sets_if_t_comes_first(connection):
    connection.set(b"k", b"v", expiry=1000)
    connection.ask(b"mg k T100 R200\r\n", b"HD W\r\n")
    connection.set(b"k", b"v", expiry=100)
    connection.ask(b"mg k T1000 R200\r\n", b"HD\r\n")


def test_r_looks_at_the_time_before_t_if_t_comes_later(connection):
    connection.set(b"k", b"v", expiry=1000)
    connection.ask(b"mg k R200 T100\r\n", b"HD\r\n")
    connection.set(b"k", b"v", expiry=100)
    connection.ask(b"mg k R200 T1000\r\n", b"HD W\r\n")
    connection.set(b"k", b"v")
    connection.ask(b"mg k R200 T100\r\n", b"HD\r\n")


def test_r_does_not_apply_to_an_item_that_never_expires(connection):
    connection.set(b"k", b"v")
    connection.ask(b"mg k R1000000\r\n", b"HD\r\n")


def test_b_takes_the_key_as_base64(connection):
    connection.ask(b"ms YWJj 1 b\r\nv\r\n", b"HD\r\n")
    connection.ask(b"get abc\r\n", b"VALUE abc 0 1\r\nv\r\nEND\r\n")
    connection.ask(b"mg YWJj b v\r\n", b"VA 1\r\nv\r\n")
    connection.ask(b"mg YWJj v k b\r\n", b"VA 1 kYWJj b\r\nv\r\n")
    connection.ask(b"mg eHh4 k b\r\n", b"EN keHh4 b\r\n")


def test_b_reaches_keys_with_any_bytes(connection):
    connection.ask(b"ms AAECIA== 1 b\r\nv\r\n", b"HD\r\n")
    connection.ask(b"mg AAECIA== b v k\r\n", b"VA 1 kAAECIA== b\r\nv\r\n")
    connection.ask(b"md AAECIA== b\r\n", b"HD\r\n")
    connection.ask(b"mg AAECIA== b v\r\n", b"EN\r\n")


@pytest.mark.parametrize("key", [b"Y", b"YQ", b"YQ=", b"====", b"Y!==", b"a"], ids=repr)
def test_b_refuses_what_is_not_base64(connection, key):
    connection.ask(b"mg %b b v\r\n" % key, b"CLIENT_ERROR error decoding key\r\n")


def test_h_and_l_tell_of_earlier_reads(connection):
    connection.set(b"k", b"v")
    assert connection.ask(b"mg k h l\r\n") in (b"HD h0 l0", b"HD h0 l1")
    assert connection.ask(b"mg k h l\r\n") in (b"HD h1 l0", b"HD h1 l1")


@pytest.mark.parametrize("flags, shown", [
    (b"T50", b""), (b"R30", b""), (b"R200", b" W"), (b"N30", b""), (b"T-1", b""),
], ids=repr)
def test_h_does_not_tell_of_the_read_that_asks_although_it_changes_the_item(
        connection, flags, shown):
    connection.set(b"k", b"v", expiry=100)
    connection.ask(b"mg k h " + flags + b"\r\n", b"HD h0" + shown + b"\r\n")
    if flags != b"T-1":
        assert connection.ask(b"mg k h\r\n").startswith(b"HD h1")


@pytest.mark.parametrize("request_line", [b"touch k 0", b"gat 0 k", b"get k", b"gets k"], ids=repr)
def test_h_tells_of_reads_by_classic_commands(connection, request_line):
    connection.set(b"k", b"v")
    connection.send(request_line + b"\r\nmn\r\n")
    connection.read_until(b"MN\r\n")
    connection.ask(b"mg k h\r\n", b"HD h1\r\n")


def test_h_does_not_take_an_invalidation_or_a_count_for_a_read(connection):
    connection.set(b"k", b"1")
    connection.ask(b"incr k 1\r\nmd k I\r\n", b"2\r\nHD\r\n")
    connection.ask(b"mg k h\r\nmg k h\r\n", b"HD h0 X W\r\nHD h1 Z X\r\n")


def test_n_is_a_read_of_the_item_that_it_makes(connection):
    connection.ask(b"mg k N30 h\r\nmg k h\r\n", b"HD h0 W\r\nHD h1 Z\r\n")


def test_u_leaves_no_trace_of_the_read(connection):
    connection.set(b"k", b"v")
    connection.ask(b"mg k u v\r\n", b"VA 1\r\nv\r\n")
    connection.ask(b"mg k h\r\n", b"HD h0\r\n")


def test_p_and_l_tokens_for_proxies_are_ignored(connection):
    connection.set(b"k", b"v")
    connection.ask(b"mg k Psome Lpath/ v\r\n", b"VA 1\r\nv\r\n")


@pytest.mark.parametrize("flags", [b"v v", b"k k", b"O1 O2", b"T1 T1", b"q q"], ids=repr)
def test_a_flag_twice_is_refused(connection, flags):
    connection.set(b"k", b"v")
    connection.ask(b"mg k " + flags + b"\r\n", b"CLIENT_ERROR duplicate flag\r\n")


@pytest.mark.parametrize("flag", [b"z", b"!", b"1", b"Q"], ids=repr)
def test_an_unknown_flag_is_refused(connection, flag):
    connection.set(b"k", b"v")
    connection.ask(b"mg k " + flag + b"\r\n", b"CLIENT_ERROR invalid flag\r\n")


@pytest.mark.parametrize("flag", [b"T", b"Tx", b"N", b"Nx", b"R", b"Rx", b"T1x"], ids=repr)
def test_a_flag_whose_number_is_none_is_refused(connection, flag):
    connection.set(b"k", b"v")
    connection.ask(
        b"mg k " + flag + b"\r\n", b"CLIENT_ERROR bad token in command line format\r\n"
    )


def test_an_error_is_shown_in_spite_of_q(connection):
    connection.ask(b"mg k q z\r\n", b"CLIENT_ERROR invalid flag\r\n")


def test_many_quiet_gets_and_a_noop_give_the_hits_alone(connection):
    """How a modern client fetches many keys: quiet gets, which return the key, and mn as the end."""
    for number in range(0, 1000, 10):
        connection.send(b"set k%d 0 0 3 noreply\r\n%03d\r\n" % (number, number))
    request = b"".join(b"mg k%d k v q\r\n" % number for number in range(1000))
    expected = b"".join(b"VA 3 kk%d\r\n%03d\r\n" % (n, n) for n in range(0, 1000, 10))
    connection.ask(request + b"mn\r\n", expected + b"MN\r\n")


def test_n_with_e_makes_the_item_with_that_cas_number(stayd_connection):
    """E is not in memcached 1.6.18; later ones have it: "use token as new CAS value"."""
    stayd_connection.ask(b"mg k N100 E77 c\r\n", b"HD c77 W\r\n")
    stayd_connection.ask(b"mg k c\r\n", b"HD c77 Z\r\n")


def test_a_key_is_returned_in_the_encoding_of_the_request(stayd_connection):
    """memcached returns a key in the encoding of the request that stored the item, whoever asks."""
    stayd_connection.set(b"abc", b"v")
    stayd_connection.ask(b"mg YWJj b k\r\n", b"HD kYWJj b\r\n")
    stayd_connection.ask(b"ms YWJj 1 b\r\nv\r\n", b"HD\r\n")
    stayd_connection.ask(b"mg abc k\r\n", b"HD kabc\r\n")
