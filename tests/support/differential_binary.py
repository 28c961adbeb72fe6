"""Sequences of the binary protocol for the differential test. differential_text.py does the same for text;
`find_difference` and `shrink` of differential.py run these sequences too.

A step is the bytes of one request. If a step has `Step.cas_of`, the header gets the CAS number of that
key's item on the server that gets the request, plus an offset. Responses are compared byte for byte,
except for CAS numbers: the n-th that one server shows must be the n-th that the other shows.
"""

import base64
import random
import struct
from typing import NamedTuple

from support import binary
from support.binary import count, request, seconds, store
from support.differential import Executor
from support.differential_text import DAY_S, FUTURE_DATE_S, PAST_DATE_S, TOO_LARGE
from support.servers import Raw

KEYS = [b"a", b"b", b"c", b"with space\r\n", b"\x80\0\xff", b"k" * 250]
NUMBER_KEYS = [b"n", b"m", b"n\0"]
"""Arithmetic is done on these keys only, and only numbers are stored under them. test_arithmetic.py
tests arithmetic on other values."""

QUIET = {
    binary.GET: binary.GETQ, binary.GETK: binary.GETKQ, binary.GAT: binary.GATQ,
    binary.GATK: binary.GATKQ, binary.SET: binary.SETQ, binary.ADD: binary.ADDQ,
    binary.REPLACE: binary.REPLACEQ, binary.APPEND: binary.APPENDQ,
    binary.PREPEND: binary.PREPENDQ, binary.DELETE: binary.DELETEQ, binary.FLUSH: binary.FLUSHQ,
    binary.INCREMENT: binary.INCREMENTQ, binary.DECREMENT: binary.DECREMENTQ,
}

SYNC_OPAQUE = 0x53594E43
"""The opaque number of a noop that the executor sends by itself."""


class Step(NamedTuple):
    """One request."""

    data: bytes
    cas_of: bytes = None
    """The key whose CAS number goes into the header."""
    offset: int = 0
    sync: bool = False
    """True: all responses so far are read before this step is sent."""


class BinaryGenerator:
    """Makes sequences; the same seed makes the same ones."""

    def __init__(self, seed, too_large=True):
        self.seed = seed
        self.random = random.Random(seed)
        self.too_large = too_large
        self.unsent = False

    def __str__(self):
        return f"binary seed {self.seed}"

    def sequence(self):
        """A list of steps. Only the last step may end the connection."""
        self.unsent = False
        steps = [self.step() for _ in range(self.random.choice([1, 2, 3, 5, 8, 12, 20, 30]))]
        if self.random.random() < 0.3:
            # If a connection ends in a bad magic, memcached drops the responses that it has not sent.
            steps.append(Step(self.last_words(), sync=True))
        return steps

    def step(self):
        """One request that leaves the connection in step."""
        kind = self.random.choices(
            [self.retrieval, self.touch, self.storage, self.join, self.number, self.arithmetic,
             self.delete, self.small],
            [20, 10, 25, 10, 6, 18, 10, 6])[0]
        return kind()

    def make(self, opcode, key=b"", extras=b"", value=b"", with_cas=True):
        """A request, perhaps quiet, perhaps with a CAS number of some kind."""
        generator = self.random
        if opcode in QUIET and generator.random() < 0.4:
            opcode = QUIET[opcode]
        fields = dict(opaque=generator.randrange(1 << 32), datatype=generator.choice([0, 0, 1, 255]),
                      vbucket=generator.choice([0, 0, 1, 65535]))
        if fields["opaque"] == SYNC_OPAQUE:
            fields["opaque"] = 0
        data = request(opcode, key, extras, value, **fields)
        if with_cas and generator.random() < 0.25:
            if generator.random() < 0.2:
                number = generator.choice([1, 9_999_999_999_999, 2**63, 2**64 - 1])
                return Step(data[:16] + struct.pack(">Q", number) + data[24:])
            return Step(data, key, generator.choice([0, 0, 0, -1, 1_000_000_000]))
        return Step(data)

    def key(self):
        """A key, usually one of a few, so that several requests use the same item."""
        return self.random.choice(KEYS[:3] if self.random.random() < 0.8 else KEYS + NUMBER_KEYS)

    def text_key(self):
        """A key on which no arithmetic is done."""
        return self.random.choice(KEYS[:3] if self.random.random() < 0.8 else KEYS)

    def expiry(self):
        """An expiry that has passed at once, or that passes long after the test."""
        return self.random.choice([0, 0, 0, 0, 100, 30 * DAY_S, 30 * DAY_S + 1, PAST_DATE_S,
                                   FUTURE_DATE_S, 2**31 - 1, 2**32 - 1])

    def value(self):
        """Empty, small, large and too large values, and values that look like requests."""
        shape = self.random.random()
        if shape > 0.995 and self.too_large:
            return b"\x80" * TOO_LARGE
        if shape > 0.95:
            return b"L" * self.random.choice([500, 2500, 20_000])
        return self.random.choice([b"", b"x", b"value", b"\r\n", request(binary.NOOP), b"\x80" * 30,
                                   b"5x", b" ", b"get a\r\n"])

    def retrieval(self):
        """get and getk."""
        self.unsent = True
        return self.make(self.random.choice([binary.GET, binary.GETK]), self.key())

    def touch(self):
        """touch, gat and gatk."""
        self.unsent = True
        return self.make(self.random.choice([binary.TOUCH, binary.GAT, binary.GATK]), self.key(),
                         seconds(self.expiry()))

    def storage(self):
        """set, add and replace."""
        flags = self.random.choice([0, 0, 7, 2**31, 2**32 - 1])
        return self.make(self.random.choice([binary.SET, binary.SET, binary.ADD, binary.REPLACE]),
                         self.text_key(), store(flags, self.expiry()), self.value())

    def join(self):
        """append and prepend."""
        return self.make(self.random.choice([binary.APPEND, binary.PREPEND]), self.text_key(), b"",
                         self.value())

    def number(self):
        """A number under one of the keys that are counted."""
        value = b"%d" % self.random.choice([0, 1, 9, 10, 99, 12345, 2**32, 2**62])
        return self.make(binary.SET, self.random.choice(NUMBER_KEYS), store(0, self.expiry()), value)

    def arithmetic(self):
        """increment and decrement, now and then of a key that holds no number."""
        generator = self.random
        step = self.make(
            generator.choice([binary.INCREMENT, binary.DECREMENT]),
            generator.choice(NUMBER_KEYS),
            count(generator.choice([0, 1, 5, 10, 99, 2**32]), generator.choice([0, 13, 2**40]),
                  generator.choice([0, 0, 100, 2**32 - 1, PAST_DATE_S])))
        # While memcached still has to send a response with the item, it makes a new item for the
        # number, without the padding. To make this certain, all responses are read first.
        sync, self.unsent = self.unsent, False
        return step._replace(sync=sync)

    def delete(self):
        """delete."""
        return self.make(binary.DELETE, self.key())

    def small(self):
        """Commands without an item, and unknown opcodes."""
        make, generator = self.make, self.random
        return generator.choice([
            lambda: make(binary.NOOP), lambda: make(binary.FLUSH),
            lambda: make(binary.FLUSH, extras=seconds(0)), lambda: make(binary.STAT, b"foo"),
            lambda: make(binary.STAT, b"reset", with_cas=False),
            # memcached throws away the value here; with a key, also as many bytes as the key has
            lambda: make(generator.randrange(0x25, 0x100), value=self.value()),
            lambda: make(binary.SASL_LIST),
            lambda: make(generator.choice([binary.SASL_AUTH, binary.SASL_STEP]), b"PLAIN",
                         value=b"\0user\0password", with_cas=False),
        ])()

    def last_words(self):
        """A request that ends the connection: one of its header's fields is wrong, or its end is missing."""
        generator = self.random
        opcode = generator.randrange(0x25)
        while opcode in (binary.VERBOSITY, 0x1F, binary.STAT, binary.VERSION):
            opcode = generator.randrange(0x25)
        padding = b"\0" * 600
        return generator.choice([
            lambda: request(binary.QUIT) + request(binary.NOOP),
            lambda: request(binary.QUITQ) + request(binary.NOOP),
            lambda: request(binary.NOOP, magic=generator.choice([0, 0x67, 0x81, 0xFF])),
            lambda: request(opcode, key_size=generator.choice([1, 250, 251, 256]), body_size=0)
            + padding,
            lambda: request(opcode, b"k", extras_size=generator.choice([1, 8, 20, 255]), body_size=1)
            + padding,
            lambda: request(opcode, b"k" * 251) + padding,
            lambda: request(opcode, b"k", b"\0" * generator.choice([1, 3, 5, 7, 9, 19, 21, 255]))
            + padding,
            lambda: request(generator.choice([binary.GET, binary.GETKQ, binary.DELETE]), b"k",
                            value=b"v") + padding,
            lambda: request(generator.choice([binary.GET, binary.DELETEQ, binary.INCREMENT]), b"k",
                            body_size=2**32 - 1) + padding,
            lambda: request(generator.choice(
                [binary.GET, binary.SET, binary.DELETE, binary.APPEND, binary.GATK, binary.TOUCH]))
            + padding,
            lambda: request(generator.choice([binary.NOOP, binary.QUIT, binary.FLUSH]), b"k")
            + padding,
            lambda: request(binary.SET, b"a", store(), b"value")[:generator.randrange(1, 38)],
        ])()


class BinaryExecutor(Executor):
    """Runs sequences of the binary protocol against one server."""

    def run(self, steps, splits):
        """As for text: runs the steps on a new connection and a flushed pool; returns all responses."""
        self.control.ask(b"flush_all\r\n", b"OK\r\n")
        generator = random.Random(splits)
        reply = bytearray()
        with Raw(self.address) as connection:
            pending = bytearray()
            try:
                for step in steps:
                    data = step.data
                    if step.sync or step.cas_of is not None:
                        self._write(connection, bytes(pending), generator)
                        pending.clear()
                        reply += self._sync(connection)
                    if step.cas_of is not None:
                        number = self._cas_of(step.cas_of, step.offset)
                        data = data[:16] + struct.pack(">Q", number) + data[24:]
                    pending += data
                self._write(connection, bytes(pending), generator)
                connection.socket.shutdown(1)
            except OSError:
                pass  # the server has closed the connection: its responses show why
            reply += connection.read_to_end()
        return self.corrupt(bytes(reply))

    @staticmethod
    def _sync(connection):
        """All bytes before the response to a noop."""
        connection.send(request(binary.NOOP, opaque=SYNC_OPAQUE))
        said = bytearray()
        while True:
            header = connection.read_exact(binary.HEADER.size)
            fields = binary.HEADER.unpack(header)
            if fields[7] == SYNC_OPAQUE:
                return said
            said += header + connection.read_exact(fields[6])

    def _cas_of(self, key, offset):
        line = self.control.ask(b"mg %b c b\r\n" % base64.b64encode(key))
        return int(line.split(b" ")[1][1:]) + offset if line.startswith(b"HD c") else 1

    @staticmethod
    def difference(first, second):
        """None if two replies are equivalent, else a sentence that says where they differ."""
        one, two = normalise(first), normalise(second)
        for index in range(max(len(one), len(two))):
            left = one[index] if index < len(one) else None
            right = two[index] if index < len(two) else None
            if left != right:
                return f"response {index + 1}: {left!r} and {right!r}"
        return None


def normalise(reply):
    """The responses, with each CAS number replaced by the order of its first appearance."""
    order = {}
    return [one._replace(cas=one.cas and 1 + order.setdefault(one.cas, len(order)))
            for one in binary.responses(reply)]
