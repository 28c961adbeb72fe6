"""Runs command sequences on two servers, and compares their replies.

A sequence is a list of steps. Each step is the bytes of one command, in which `cas(key)` stands for
that item's CAS number on the server that gets the command. Replies are compared byte for byte, except
for

- CAS numbers, which each server chooses: the n-th number that one server shows must be the n-th that the
  other shows, everywhere it appears (a bijection);
- remaining times (t of the meta commands; exp and la of me), which may differ by two seconds: the seconds
  of the two servers begin at different moments, and memcached counts dates from the second in which it
  started;
- the class and the size that me shows, which each server chooses; and memcached's minus in front of its
  time to live.

`shrink` removes steps from a sequence as long as the replies still differ.
"""

import random
import re

from support.differential_text import CAS_MARK, REFUSED_MARK, SYNC_MARK
from support.servers import Raw


class Executor:
    """Runs sequences against one server."""

    def __init__(self, address, corrupt=None, runs_refused=True):
        """`address` is what Raw takes. `corrupt` changes a reply, to test the comparison.

        `runs_refused`: the server runs the data of a storage line that it refuses as requests.
        """
        self.address = address
        self.runs_refused = runs_refused
        self.control = Raw(address)
        self.corrupt = corrupt or (lambda reply: reply)
        # No item may have a CAS number that the generator itself writes into a command.
        self.control.send(b"set warm-up 0 0 1 noreply\r\nx\r\n" * 100)
        self.control.expect_in_step()

    def run(self, steps, splits):
        """Runs the steps on a new connection and a flushed pool; returns all replies.

        `splits` is the seed for the places at which the stream is cut into writes.
        """
        self.control.ask(b"flush_all\r\n", b"OK\r\n")
        generator = random.Random(splits)
        reply = bytearray()
        with Raw(self.address) as connection:
            pending = bytearray()
            try:
                for step in steps:
                    mark = CAS_MARK.search(step)
                    if mark or step.startswith(SYNC_MARK):
                        self._write(connection, bytes(pending) + b"mg in-step k\r\n", generator)
                        pending.clear()
                        reply += connection.read_until(b"EN kin-step\r\n")
                        step = step.removeprefix(SYNC_MARK)
                    if mark:
                        number = self._cas_of(mark[1], int(mark[3]))
                        step = step.replace(mark[0], b"%d" % number)
                    pending += REFUSED_MARK.sub(self._refused_data, step)
                self._write(connection, bytes(pending), generator)
                connection.socket.shutdown(1)
            except OSError:
                pass  # the server has closed the connection: its replies show why
            reply += connection.read_to_end()
        return self.corrupt(bytes(reply))

    def _refused_data(self, mark):
        length = int(mark[1])
        requests = b"mn\r\nflush_all\r\nset a 0 0 2\r\nno\r\n"
        data = (requests * (length // len(requests) + 1))[:length] + b"\r\n"
        return b"" if self.runs_refused else data

    def _cas_of(self, key, offset):
        line = self.control.ask(b"mg %b c\r\n" % key)  # the mark's " b" is the flag for base64
        return int(line.split(b" ")[1][1:]) + offset if line.startswith(b"HD c") else 1

    @staticmethod
    def _write(connection, data, generator):
        count = generator.choice([0, 0, 1, 3])
        cuts = sorted(generator.randrange(len(data) + 1) for _ in range(count))
        for start, end in zip([0, *cuts], [*cuts, len(data)]):
            if start < end:
                connection.send(data[start:end])

    def close(self):
        """Closes the control connection."""
        self.control.close()


def parse(reply):
    """The reply as a list of lists of words; a data block is a list of one."""
    result, position = [], 0
    while position < len(reply):
        end = reply.find(b"\r\n", position)
        if end < 0:
            result.append([reply[position:]])
            break
        words = reply[position:end].split(b" ")
        result.append(words)
        position = end + 2
        length = words[3] if words[0] == b"VALUE" and len(words) >= 4 else (
            words[1] if words[0] == b"VA" and len(words) >= 2 else None)
        if length is not None and length.isdigit():
            result.append([reply[position:position + int(length) + 2]])
            position += int(length) + 2
    return result


FLAG_FAULTS = (b"invalid or duplicate flag", b"invalid flag", b"duplicate flag", b"error decoding key",
               b"bad token in command line format", b"invalid numeric delta value",
               b"invalid numeric initial value")
"""Errors in the flags of a meta command. stayd's md and memcached 1.6.45 name the fault; 1.6.18 does not."""


BAD_LINE = b"CLIENT_ERROR bad command line format"
"""What memcached 1.6.45 and stayd reply to a line with a missing word. memcached 1.6.18 replies ERROR.
test_later_memcached.py tests each case."""


def normalise(reply):
    """As `parse`, with each CAS number replaced by the order of its first appearance."""
    order = {}

    def name(number):
        return b"cas-%d" % order.setdefault(number, len(order)) if int(number) else b"cas-zero"

    result = parse(reply)
    for words in result:
        if b" ".join(words) == BAD_LINE:
            words[:] = [b"ERROR"]
        if words[0] == b"VALUE" and len(words) == 5 and words[4].isdigit():
            words[4] = name(words[4])
        elif words[0] in (b"HD", b"VA", b"NS", b"EX", b"NF", b"EN"):
            for index in range(1, len(words)):
                if words[index][:1] == b"c" and words[index][1:].isdigit():
                    words[index] = b"c" + name(words[index][1:])
        elif words[0] == b"CLIENT_ERROR" and b" ".join(words[1:]) in FLAG_FAULTS:
            words[1:] = [b"flag"]
        elif words[0] == b"ME":
            for index, word in enumerate(words):
                key, _, value = word.partition(b"=")
                if key == b"cas":
                    words[index] = b"cas=" + name(value)
                elif key == b"exp" and value != b"-1":
                    words[index] = b"exp=" + value.removeprefix(b"-")
                elif key in (b"cls", b"size"):
                    words[index] = key
    return result


def is_time(word):
    """Whether a word of a meta reply is a time, remaining or elapsed."""
    return re.fullmatch(rb"(t|exp=|la=)[0-9]+", word) is not None


def are_near(one, other):
    """Whether two times are of the same kind, and at most two seconds apart."""
    name = one.rstrip(b"0123456789")
    return (is_time(one) and is_time(other) and other.startswith(name)
            and abs(int(one[len(name):]) - int(other[len(name):])) <= 2)


def difference(first, second):
    """None if two replies are equivalent, else a sentence that says where they differ."""
    one, two = normalise(first), normalise(second)
    for index in range(max(len(one), len(two))):
        left = one[index] if index < len(one) else None
        right = two[index] if index < len(two) else None
        if left == right:
            continue
        if left and right and len(left) == len(right) and left[0] in (b"HD", b"VA", b"ME") and all(
            a == b or are_near(a, b) for a, b in zip(left, right)
        ):
            continue
        return f"line {index + 1} of the replies: {left!r} and {right!r}"
    return None


Executor.difference = staticmethod(difference)
"""Compares two replies. The executor of the binary protocol replaces this method."""


def compare(first, second, steps, splits):
    """Runs the steps on both servers. Returns None, or how the replies differ and what they were."""
    one, two = first.run(steps, splits), second.run(steps, splits)
    where = first.difference(one, two)
    return where and f"{where}\nfirst:  {_short(one)}\nsecond: {_short(two)}"


def shrink(first, second, steps, splits):
    """The shortest sequence that remains when steps are left out as long as the replies still differ."""
    steps = list(steps)
    size = max(1, len(steps) // 2)
    while True:
        index = 0
        while index < len(steps):
            shorter = steps[:index] + steps[index + size:]
            if shorter and compare(first, second, shorter, splits):
                steps = shorter
            else:
                index += size
        if size == 1:
            return steps
        size //= 2


def find_difference(first, second, generator, count):
    """Runs `count` sequences; None if all agree, else a message with a short reproducer."""
    for number in range(count):
        steps = generator.sequence()
        splits = generator.random.randrange(1 << 30)
        found = compare(first, second, steps, splits)
        if found:
            steps = shrink(first, second, steps, splits)
            again = compare(first, second, steps, splits)
            found = again or f"(not when it is repeated; at first:) {found}"
            shown = "\n".join(f"  {_short(step)}" for step in steps)
            return f"sequence {number} of {generator} differs, shortened to:\n{shown}\n{found}"
    return None


def _short(data):
    return repr(data) if len(data) <= 1500 else f"{data[:1500]!r}... ({len(data)} bytes)"
