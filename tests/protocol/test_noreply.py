"""noreply: the command is carried out, and there is no reply."""

import pytest


@pytest.mark.parametrize("command, after", [
    (b"set k 0 0 1 noreply\r\nx\r\n", b"x"),
    (b"add k 0 0 1 noreply\r\nx\r\n", b"10"),
    (b"add new 0 0 1 noreply\r\nx\r\n", b"10"),
    (b"replace k 0 0 1 noreply\r\nx\r\n", b"x"),
    (b"replace none 0 0 1 noreply\r\nx\r\n", b"10"),
    (b"append k 0 0 1 noreply\r\nx\r\n", b"10x"),
    (b"prepend k 0 0 1 noreply\r\nx\r\n", b"x10"),
    (b"append none 0 0 1 noreply\r\nx\r\n", b"10"),
    (b"cas k 0 0 1 99999999 noreply\r\nx\r\n", b"10"),
    (b"cas none 0 0 1 1 noreply\r\nx\r\n", b"10"),
    (b"incr k 5 noreply\r\n", b"15"),
    (b"incr none 5 noreply\r\n", b"10"),
    (b"decr k 5 noreply\r\n", b"5"),
    (b"touch k 100 noreply\r\n", b"10"),
    (b"touch k -1 noreply\r\n", None),
    (b"touch none 100 noreply\r\n", b"10"),
    (b"delete k noreply\r\n", None),
    (b"delete none noreply\r\n", b"10"),
    (b"flush_all noreply\r\n", None),
    (b"flush_all 0 noreply\r\n", None),
    (b"flush_all 1000 noreply\r\n", b"10"),
    (b"verbosity 0 noreply\r\n", b"10"),
], ids=repr)
def test_noreply_does_the_work_and_says_nothing(own_connection, command, after):
    connection = own_connection
    connection.set(b"k", b"10")
    connection.send(command)
    connection.expect_in_step()
    value = connection.get(b"k")
    assert (value.rstrip(b" ") if value else value) == after


def test_a_noreply_cas_stores_with_the_right_number(connection):
    connection.set(b"k", b"1")
    number = connection.ask(b"mg k c\r\n")[4:]
    connection.send(b"cas k 0 0 1 %b noreply\r\n2\r\n" % number)
    assert connection.get(b"k") == b"2"


def test_noreply_stays_silent_about_a_value_of_the_wrong_length(connection):
    """The line is valid, so the server obeys noreply. The three bytes after it are no value of one byte
    with a line end."""
    connection.ask(b"set k 0 0 1 noreply\r\nabcde\r\nget k\r\n", b"ERROR\r\nEND\r\n")


def test_noreply_in_capitals_is_no_noreply(connection):
    connection.ask(b"set k 0 0 1 NOREPLY\r\nx\r\n", b"STORED\r\n")


def test_thousands_of_noreply_commands_leave_one_answer(connection):
    connection.set(b"n", b"0")
    connection.send(b"incr n 1 noreply\r\n" * 5000 + b"get n\r\n")
    connection.expect(b"VALUE n 0 4\r\n5000\r\nEND\r\n")
