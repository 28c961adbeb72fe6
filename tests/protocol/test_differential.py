"""stayd and Debian's memcached give the same answers to thousands of random command sequences.

STAYD_DIFF_SEQUENCES sets how many sequences each pool gets (default: as many as take some seconds).
STAYD_DIFF_SEED sets which ones. differential_text.py in support/ has the generator, differential.py the
comparison.

The generator leaves out the intended differences. Each has a test of its own, named here:

- A control character in a key: stayd refuses it, because protocol.txt forbids it (test_limits.py).
- The value after a refused storage line: stayd discards it, and closes the connection if the length is
  not known (test_limits.py). memcached runs the value as requests, so a client that sends a key that is
  too long sends commands. So the generator sends no value to memcached here. It sends stayd a value made
  of requests, none of which stayd may answer (`refused` in differential_text.py).
- A request line of more than 2048 bytes other than a multi-get: stayd refuses it (test_limits.py).
  memcached's limit depends on how the line arrived.
- Values near the limit: item_max counts key and value, memcached's -I also counts its own header and
  slab sizes (test_limits.py).
- A set of a value that is too large: in a pool with evict = no, the old value stays (test_limits.py).
- E (the explicit CAS number), and N of ms in append mode: only later memcacheds have them
  (test_meta_set.py).
- base64 keys: a key comes back in the encoding of the request (test_meta_get.py), so here the base64
  keys and the plain keys are different keys.
- An expiry in the past that T or N of mg and ma sets, shown by t in the same command: memcached shows
  2^32 less some seconds. Dates after 2038 or before 1970: memcached's 32 bits wrap.
- A key that is too long in get or gat: memcached also drops replies to earlier requests that it has not
  sent yet. It does the same with requests that the end of the connection cuts off (test_limits.py,
  test_bad_input.py).
- Arithmetic (test_arithmetic.py). On a value that is empty or white space, memcached reads on into the
  memory behind the item. A value with a minus and beyond 63 bits is a number to memcached and none to
  stayd. A value of 2^63 or more is no number to memcached if its memory behind the value has a minus
  anywhere. If the number of a stale or won item gets longer, memcached forgets that the item is stale
  or won (test_meta_arithmetic.py).
- An opaque token that is too long: memcached answers with an error, and carries out the command all the
  same (test_meta_get.py).
- h (whether an item was read before), and T of ma: memcached forgets both if a number gets longer
  (test_meta_arithmetic.py).
- Binary requests whose end memcached takes for the next request: a value behind touch, gat or stat, the
  key of an unknown opcode, a value of 2 GiB (test_binary.py). Also verbosity.
- A missing word (`normalise` makes one error of both), a word too many, a blank before the command, gat
  without a key, delete noreply, shutdown: stayd answers as memcached 1.6.45 (test_later_memcached.py).
- watch behind commands that are not answered yet: memcached refuses it (test_watch.py). exp of me, which
  memcached shows with a minus (test_general.py).
- flush_all with a delay: on memcached, a second one makes items visible again that the first one flushed
  (test_flush.py).
"""

import os

import pytest

from support import binary, differential_binary
from support.differential import Executor, compare, difference, find_difference, normalise, shrink
from support.differential_binary import BinaryExecutor, BinaryGenerator
from support.differential_text import ADMINISTRATION, REFUSED_MARK, SYNC_MARK, Generator
from support.servers import Memcached, Stayd

OPTIONS = ["-t", "1", "-o", "no_lru_maintainer,no_lru_crawler"]
"""memcached without its background threads. Now and then these hold an item for a moment. While they do,
memcached does not pad a decrement, and a stale item is no longer stale."""

SEED = int(os.environ.get("STAYD_DIFF_SEED", "1"))
SEQUENCES = int(os.environ.get("STAYD_DIFF_SEQUENCES", "2000"))


@pytest.fixture(scope="module")
def memcached():
    """Debian's memcached."""
    with Memcached(OPTIONS) as server:
        yield server


@pytest.fixture(scope="module")
def other_memcached():
    """A second memcached, to compare the first one with."""
    with Memcached(OPTIONS) as server:
        yield server


@pytest.fixture(scope="module")
def stayd():
    """The daemon, whose default limits are memcached's."""
    with Stayd() as server:
        yield server


def executor(server, pool=None, corrupt=None):
    """An executor that uses the server's pool over TCP."""
    return Executor(("127.0.0.1", server.port(pool)), corrupt,
                    runs_refused=isinstance(server, Memcached))


def is_later(memcached):
    """Whether this memcached is later than Debian 12's 1.6.18."""
    with memcached.connect() as connection:
        number = connection.ask(b"version\r\n").split()[1].decode()
    return tuple(map(int, number.split("."))) > (1, 6, 18)


@pytest.mark.parametrize("pool", ["cache", "sessions"])
def test_stayd_answers_as_memcached_does(memcached, stayd, pool):
    generator = Generator(f"{SEED}-{pool}", too_large=pool == "cache", later=is_later(memcached))
    found = find_difference(executor(memcached), executor(stayd, pool), generator, SEQUENCES)
    assert found is None, found


@pytest.mark.parametrize("pool", ["cache", "sessions"])
def test_stayd_answers_binary_requests_as_memcached_does(memcached, stayd, pool):
    generator = BinaryGenerator(f"{SEED}-{pool}", too_large=pool == "cache")
    first = BinaryExecutor(("127.0.0.1", memcached.port()))
    second = BinaryExecutor(("127.0.0.1", stayd.port(pool)))
    found = find_difference(first, second, generator, SEQUENCES // 2)
    assert found is None, found


@pytest.mark.parametrize("corrupt", [
    lambda reply: reply[:-1] + bytes([reply[-1] ^ 1]) if reply else reply,
    lambda reply: reply.replace(b"Not found", b"Not fount", 1),
    lambda reply: reply.replace(b"\x81\x01\0\0\0\0\0\0", b"\x81\x11\0\0\0\0\0\0", 1),
    lambda reply: reply + binary.HEADER.pack(0x81, 10, 0, 0, 0, 0, 0, 0, 0),
], ids=["cas or body", "words", "opcode", "one too many"])
def test_the_comparison_finds_a_corrupted_response(memcached, other_memcached, corrupt):
    first = BinaryExecutor(("127.0.0.1", memcached.port()))
    second = BinaryExecutor(("127.0.0.1", other_memcached.port()), corrupt)
    assert find_difference(first, second, BinaryGenerator(SEED), 200) is not None
    second = BinaryExecutor(("127.0.0.1", other_memcached.port()))
    assert find_difference(first, second, BinaryGenerator(SEED), 200) is None


def test_binary_cas_numbers_are_mapped_one_to_one():
    def said(*numbers):
        return b"".join(binary.HEADER.pack(0x81, 1, 0, 0, 0, 0, 0, 0, cas) for cas in numbers)

    difference_of = BinaryExecutor.difference
    assert difference_of(said(5, 6, 5), said(50, 70, 50)) is None
    assert difference_of(said(5, 6, 5), said(50, 70, 70)) is not None
    assert difference_of(said(5, 6), said(50, 50)) is not None
    assert difference_of(said(0), said(1)) is not None


def test_the_binary_generator_reaches_every_opcode():
    generator = BinaryGenerator(SEED)
    steps = [step.data for _ in range(1000) for step in generator.sequence()]
    opcodes = {data[1] for data in steps if len(data) >= binary.HEADER.size}
    assert opcodes >= set(range(0x25)) - {
        binary.VERSION,  # says another version
        binary.VERBOSITY, 0x1F,  # an opcode that memcached does not know is sent with a key: see `small`
    }
    assert set(differential_binary.QUIET.values()) <= opcodes


def test_memcached_answers_as_another_memcached_does(memcached, other_memcached):
    """Two memcacheds must not differ. This shows that the differences that the comparison finds are real."""
    first, second = executor(memcached), executor(other_memcached)
    found = find_difference(first, second, Generator(SEED), max(300, SEQUENCES // 5))
    assert found is None, found


def replace_first(old, new):
    """Makes a fault: the first `old` of a reply becomes `new`."""
    return lambda reply: reply.replace(old, new, 1)


@pytest.mark.parametrize("corrupt", [
    replace_first(b"STORED\r\n", b"STORED \r\n"),
    replace_first(b"STORED\r\n", b""),
    replace_first(b"END\r\n", b"END\r\nEND\r\n"),
    replace_first(b"NOT_FOUND", b"FOUND"),
    replace_first(b" W\r\n", b"\r\n"),
    replace_first(b" X", b""),
    replace_first(b"HD", b"EN"),
    replace_first(b"value\r\n", b"valux\r\n"),
    replace_first(b"t-1", b"t100"),
    replace_first(b"t1000", b"t1007"),
    replace_first(b"CLIENT_ERROR", b"SERVER_ERROR"),
    lambda reply: reply[:-1],
    lambda reply: reply + b"\r\n",
], ids=range(13))
def test_the_comparison_finds_a_corrupted_reply_and_a_short_sequence_that_shows_it(
        memcached, other_memcached, corrupt):
    first, second = executor(memcached), executor(other_memcached, corrupt=corrupt)
    found = find_difference(first, second, Generator(SEED), 1000)
    assert found is not None
    steps = found.split("shortened to:\n")[1].split("\nline ")[0].splitlines()
    assert len(steps) <= 6, found


def test_cas_numbers_are_mapped_one_to_one():
    first = b"HD c5\r\nHD c6\r\nVALUE a 0 1 5\r\nx\r\nEND\r\n"
    assert difference(first, b"HD c50\r\nHD c70\r\nVALUE a 0 1 50\r\nx\r\nEND\r\n") is None
    assert difference(first, b"HD c50\r\nHD c70\r\nVALUE a 0 1 70\r\nx\r\nEND\r\n") is not None
    assert difference(first, b"HD c50\r\nHD c50\r\nVALUE a 0 1 50\r\nx\r\nEND\r\n") is not None
    assert difference(b"NF c0\r\n", b"NF c1\r\n") is not None


def test_times_may_differ_by_two_seconds_and_no_more():
    assert difference(b"HD t100 s5\r\n", b"HD t98 s5\r\n") is None
    assert difference(b"HD t100 s5\r\n", b"HD t97 s5\r\n") is not None
    assert difference(b"HD t100 s5\r\n", b"HD t100 s6\r\n") is not None
    assert difference(b"HD t0\r\n", b"HD t-1\r\n") is not None
    assert difference(b"ME a exp=9 la=1 cls=1\r\n", b"ME a exp=8 la=3 cls=7\r\n") is None
    assert difference(b"ME a exp=9 la=1 cls=1\r\n", b"ME a exp=-1 la=1 cls=1\r\n") is not None
    assert difference(b"ME a exp=9 la=1 cls=1\r\n", b"ME a exp=9 la=4 cls=1\r\n") is not None


def test_values_are_compared_as_bytes_and_not_read_as_replies():
    one = b"VALUE a 0 7\r\nHD c5\r\n\r\nEND\r\n"
    two = b"VALUE a 0 7\r\nHD c6\r\n\r\nEND\r\n"
    assert difference(one, one) is None
    assert difference(one, two) is not None
    assert normalise(b"VA 3 c9\r\nc77\r\n") == [[b"VA", b"3", b"ccas-0"], [b"c77\r\n"]]


def test_the_generator_makes_the_same_sequences_of_the_same_seed():
    one, two, other = Generator(7), Generator(7), Generator(8)
    sequences = [one.sequence() for _ in range(50)]
    assert sequences == [two.sequence() for _ in range(50)]
    assert sequences != [other.sequence() for _ in range(50)]


def test_the_generator_reaches_every_command_and_flag():
    """The comparison would prove nothing about a command or flag that the generator never makes."""
    generator = Generator(SEED)
    commands = [step for _ in range(2500) for step in generator.sequence()]
    lines = [command.removeprefix(SYNC_MARK).split(b"\r\n")[0].split(b" ") for command in commands]
    verbs = {words[0] for words in lines}
    assert verbs >= {b"get", b"gets", b"gat", b"gats", b"set", b"add", b"replace", b"append",
                     b"prepend", b"cas", b"incr", b"decr", b"touch", b"delete", b"flush_all",
                     b"verbosity", b"quit", b"mn", b"mg", b"ms", b"md", b"ma", b"me"}
    for verb, flags in ((b"mg", b"bcfhkOqstvTNRuPLI"), (b"ms", b"bckOqTFICMPLv"),
                        (b"md", b"bkOqICTPLv"), (b"ma", b"bckOqtvNDJMCPLf")):
        seen = {word[:1] for words in lines if words[0] == verb for word in words[2:]}
        assert seen >= {bytes([flag]) for flag in flags}, verb
    assert set(map(b" ".join, lines)) >= set(ADMINISTRATION)
    assert any(words[-1] == b"noreply" for words in lines)
    refused = [command.split(b" ")[0] for command in commands if REFUSED_MARK.search(command)]
    assert {b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"ms"} <= set(refused)


def test_the_sequences_bring_every_kind_of_reply(memcached):
    generator, first = Generator(SEED), executor(memcached)
    seen = set()
    for _ in range(400):
        reply = first.run(generator.sequence(), 0)
        seen |= {b" ".join(words[:2]) if words[0].endswith(b"ERROR") else words[0]
                 for words in normalise(reply)}
    assert seen >= {b"STORED", b"NOT_STORED", b"EXISTS", b"NOT_FOUND", b"DELETED", b"TOUCHED",
                    b"VALUE", b"END", b"OK", b"HD", b"VA", b"EN", b"NF", b"NS", b"EX", b"MN",
                    b"ERROR", b"CLIENT_ERROR bad", b"CLIENT_ERROR invalid",
                    b"CLIENT_ERROR cannot", b"SERVER_ERROR object"}


def test_shrinking_keeps_what_is_needed(memcached, other_memcached):
    first = executor(memcached)
    second = executor(other_memcached, corrupt=replace_first(b"b 0 1\r\ny", b"b 0 1\r\nz"))
    steps = [b"get a\r\n"] * 9 + [b"set b 0 0 1\r\ny\r\n"] + [b"get c\r\n"] * 9 + [b"get b\r\n"]
    assert compare(first, second, steps, 0)
    assert shrink(first, second, steps, 0) == [b"set b 0 0 1\r\ny\r\n", b"get b\r\n"]
