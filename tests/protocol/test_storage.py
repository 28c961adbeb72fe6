"""set, add, replace, append and prepend."""

import pytest


def test_set_stores_a_value_and_get_returns_it_with_its_flags(connection):
    connection.ask(b"set k 7 0 5\r\nhello\r\n", b"STORED\r\n")
    connection.ask(b"get k\r\n", b"VALUE k 7 5\r\nhello\r\nEND\r\n")


def test_set_replaces_value_flags_and_expiry(connection):
    connection.ask(b"set k 7 100 5\r\nhello\r\n", b"STORED\r\n")
    connection.ask(b"set k 8 0 2\r\nhi\r\n", b"STORED\r\n")
    connection.ask(b"mg k f s t v\r\n", b"VA 2 f8 s2 t-1\r\nhi\r\n")


def test_add_stores_only_when_the_key_is_absent(connection):
    connection.ask(b"add k 1 0 1\r\na\r\n", b"STORED\r\n")
    connection.ask(b"add k 2 0 1\r\nb\r\n", b"NOT_STORED\r\n")
    connection.ask(b"get k\r\n", b"VALUE k 1 1\r\na\r\nEND\r\n")


def test_add_stores_again_after_a_delete(connection):
    connection.ask(b"add k 0 0 1\r\na\r\n", b"STORED\r\n")
    connection.ask(b"delete k\r\n", b"DELETED\r\n")
    connection.ask(b"add k 0 0 1\r\nb\r\n", b"STORED\r\n")
    assert connection.get(b"k") == b"b"


def test_add_stores_over_an_expired_item(connection):
    connection.ask(b"set k 0 -1 1\r\na\r\n", b"STORED\r\n")
    connection.ask(b"add k 0 0 1\r\nb\r\n", b"STORED\r\n")
    assert connection.get(b"k") == b"b"


def test_replace_stores_only_when_the_key_is_present(connection):
    connection.ask(b"replace k 1 0 1\r\na\r\n", b"NOT_STORED\r\n")
    connection.ask(b"get k\r\n", b"END\r\n")
    connection.ask(b"set k 1 0 1\r\na\r\n", b"STORED\r\n")
    connection.ask(b"replace k 2 0 2\r\nbb\r\n", b"STORED\r\n")
    connection.ask(b"get k\r\n", b"VALUE k 2 2\r\nbb\r\nEND\r\n")


def test_replace_does_not_store_over_an_expired_item(connection):
    connection.ask(b"set k 0 -1 1\r\na\r\n", b"STORED\r\n")
    connection.ask(b"replace k 0 0 1\r\nb\r\n", b"NOT_STORED\r\n")


def test_append_and_prepend_need_an_existing_item(connection):
    connection.ask(b"append k 0 0 1\r\na\r\n", b"NOT_STORED\r\n")
    connection.ask(b"prepend k 0 0 1\r\na\r\n", b"NOT_STORED\r\n")
    connection.ask(b"get k\r\n", b"END\r\n")


def test_append_and_prepend_keep_flags_and_expiry(connection):
    connection.ask(b"set k 5 100 1\r\nb\r\n", b"STORED\r\n")
    connection.ask(b"append k 6 200 2\r\ncd\r\n", b"STORED\r\n")
    connection.ask(b"prepend k 7 300 1\r\na\r\n", b"STORED\r\n")
    connection.ask(b"get k\r\n", b"VALUE k 5 4\r\nabcd\r\nEND\r\n")
    connection.send(b"mg k t\r\n")
    assert connection.read_line() in (b"HD t100", b"HD t99")


def test_an_empty_value_can_be_stored_and_appended_to(connection):
    connection.ask(b"set k 0 0 0\r\n\r\n", b"STORED\r\n")
    connection.ask(b"get k\r\n", b"VALUE k 0 0\r\n\r\nEND\r\n")
    connection.ask(b"append k 0 0 0\r\n\r\n", b"STORED\r\n")
    connection.ask(b"append k 0 0 1\r\na\r\n", b"STORED\r\n")
    connection.ask(b"get k\r\n", b"VALUE k 0 1\r\na\r\nEND\r\n")


@pytest.mark.parametrize("value", [
    b"\r\n", b"\n", b"\r\nEND\r\n", b"get k\r\n", b"\x00", bytes(range(256)), b"\xff" * 3,
    "\u00fcber".encode(),
], ids=repr)
def test_a_value_holds_any_bytes(connection, value):
    assert connection.set(b"k", value) == b"STORED"
    assert connection.get(b"k") == value


@pytest.mark.parametrize("size", [
    1, 2, 55, 56, 63, 64, 65, 127, 128, 255, 256, 1000, 2047, 2048, 4095, 4096, 4097, 16383, 16384,
    16385, 65535, 65536, 100_000, 262_144, 500_000,
])
def test_a_value_of_any_size_comes_back_whole(connection, size):
    value = bytes((index * 7 + index // 251) & 255 for index in range(size))
    assert connection.set(b"k", value) == b"STORED"
    assert connection.get(b"k") == value


@pytest.mark.parametrize("flags", [0, 1, 255, 65535, 65536, 2147483647, 2147483648, 4294967295])
def test_flags_are_32_bits(connection, flags):
    assert connection.set(b"k", b"v", flags=flags) == b"STORED"
    connection.ask(b"get k\r\n", b"VALUE k %d 1\r\nv\r\nEND\r\n" % flags)


def test_a_negative_expiry_stores_an_item_that_is_expired_at_once(connection):
    connection.ask(b"set k 0 0 1\r\na\r\n", b"STORED\r\n")
    connection.ask(b"set k 0 -1 1\r\nb\r\n", b"STORED\r\n")
    connection.ask(b"get k\r\n", b"END\r\n")


def test_many_keys_are_all_there(connection):
    count = 5000
    request = b"".join(b"set key-%d %d 0 6 noreply\r\n%06d\r\n" % (n, n, n) for n in range(count))
    connection.send(request)
    connection.expect_in_step()
    for start in range(0, count, 100):
        numbers = range(start, start + 100)
        connection.ask(
            b"get " + b" ".join(b"key-%d" % n for n in numbers) + b"\r\n",
            b"".join(b"VALUE key-%d %d 6\r\n%06d\r\n" % (n, n, n) for n in numbers) + b"END\r\n",
        )


def test_a_key_holds_any_byte_but_space_and_control_characters(connection):
    key = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100))
    assert connection.set(key, b"v") == b"STORED"
    assert connection.get(key) == b"v"
    connection.ask(b"mg %b k\r\n" % key, b"HD k%b\r\n" % key)


def test_keys_are_told_apart_by_every_byte(connection):
    keys = [b"a", b"A", b"aa", b"b", b"a" * 249, b"a" * 250, b"a" * 249 + b"b", b"\xe4",
            b"\xc3\xa4"]
    for number, key in enumerate(keys):
        assert connection.set(key, b"%d" % number) == b"STORED"
    for number, key in enumerate(keys):
        assert connection.get(key) == b"%d" % number


def test_a_line_may_end_with_a_bare_newline(connection):
    connection.ask(b"set k 0 0 1\nv\r\n", b"STORED\r\n")
    connection.ask(b"get k\n", b"VALUE k 0 1\r\nv\r\nEND\r\n")


def test_spaces_between_words_may_be_many(connection):
    connection.ask(b"set  k   0 0  1 \r\nv\r\n", b"STORED\r\n")
    connection.ask(b"get   k  \r\n", b"VALUE k 0 1\r\nv\r\nEND\r\n")


@pytest.mark.parametrize("request_bytes", [
    b"set k 0 0 1\r\nv\r\n", b"add new 0 0 1\r\nv\r\n", b"append k 0 0 1\r\nv\r\n",
    b"get k\r\n", b"delete k\r\n",
], ids=repr)
def test_a_request_may_arrive_in_any_pieces(connection, request_bytes):
    """Every split into two writes gives the same reply as one write."""
    def reply(cut):
        connection.ask(b"flush_all\r\n", b"OK\r\n")
        connection.ask(b"set k 0 0 1\r\nx\r\n", b"STORED\r\n")
        connection.send(request_bytes[:cut])
        connection.send(request_bytes[cut:] + b"mn\r\n")
        return connection.read_until(b"MN\r\n")

    whole = reply(len(request_bytes))
    for cut in range(1, len(request_bytes)):
        assert reply(cut) == whole, f"cut after {cut} bytes"
