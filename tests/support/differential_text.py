"""Sequences of the text protocol, including the meta commands, for the differential test.

A sequence is a list of steps. Each step is the bytes of one command, in which `cas(key)` stands for
that item's CAS number on the server that gets the command (differential.py).
"""

import base64
import random
import re

SYNC_MARK = b"<SYNC>"
"""In front of a step: all replies so far are read before the step is sent."""
CAS_MARK = re.compile(rb"<CAS ([^ >]+( b)?) ([+-][0-9]+)>")

REFUSED_MARK = re.compile(rb"<REFUSED ([0-9]+)>")
"""Follows a refused storage line, and stands for its data of so many bytes: see `refused`."""

OWN_CAS = b"C?"
"""Stands for a C flag with a CAS number of the command's own key."""

KEYS = [b"a", b"b", b"c", b"a-longer-key-of-some-60-bytes-" + b"x" * 30, b"\xc3\xa4\xff",
        b"k" * 250]
BINARY_KEYS = [base64.b64encode(key) for key in (b"\x00\x01\x02", b"b n\r\n", b"\xff" * 20, b"z")]
BAD_KEYS = [b"k" * 251, b"k" * 500]
BAD_BINARY_KEYS = [b"A", b"YQ", b"YQ=", b"====", b"Y!==", b"A" * 336]

TOO_LARGE = 1_200_000
"""More than an item may hold. memcached's default limit is 1 MiB; with a lower limit (-I), 1.6.18
crashes."""
DAY_S = 86400
PAST_DATE_S = 1_000_000_000

FUTURE_DATE_S = 2_100_000_000
"""Dates in 2001 and 2036. They are constants, so that a seed makes the same sequences every day."""

WRONG_FLAGS = b"aABdegGHijKlmnopQrSUVwWXyYzZ!"
"""Flags that no meta command has."""

MISPLACED_FLAGS = {
    b"mg": [b"D5", b"J1", b"MS", b"I", b"F5"],
    b"ms": [b"v", b"f", b"t", b"h", b"u", b"D5", b"J1", b"R30"],
    b"md": [b"v", b"f", b"s", b"t", b"h", b"u", b"D5", b"J1", b"R30", b"MS", b"F5"],
    b"ma": [b"f", b"s", b"h", b"u", b"F5", b"R30"],
}
"""Flags that another meta command has. Left out are flags of later memcacheds, which
test_later_memcached.py tests (E, N and s of ms, C of mg, x), and T of ma, which memcached forgets if a
number gets longer."""

ADMINISTRATION = [
    b"slabs", b"slabs foo", b"slabs reassign", b"slabs reassign 1", b"slabs reassign 5 5",
    b"slabs reassign x 1", b"slabs reassign 0 64", b"slabs automove",
    b"slabs automove x", b"slabs automove 3", b"slabs automove 0",
    b"slabs automove 0 noreply", b"lru", b"lru foo", b"lru tune", b"lru tune 10 20 0.5",
    b"lru tune 10 20 x 1", b"lru tune 50 40 1 1", b"lru tune 10 20 0 1", b"lru tune 10 20 0.1 2",
    b"lru mode", b"lru mode foo", b"lru temp_ttl", b"lru temp_ttl x", b"lru noreply",
    b"lru_crawler", b"lru_crawler foo", b"lru_crawler sleep", b"lru_crawler sleep x",
    b"lru_crawler sleep 1000001", b"lru_crawler sleep 99999999999", b"lru_crawler sleep 100",
    b"lru_crawler tocrawl x", b"lru_crawler tocrawl 0", b"lru_crawler crawl",
    b"lru_crawler metadump", b"cache_memlimit", b"cache_memlimit x", b"cache_memlimit 7",
    b"cache_memlimit 64", b"cache_memlimit 1000000001",
    b"cache_memlimit 7 noreply", b"cache_memlimit -1", b"watch foo", b"watch fetchers foo",
    b"watch noreply", b"watch foo noreply", b"stats foo", b"stats detail",
    b"stats detail foo", b"stats cachedump", b"stats cachedump 1", b"stats cachedump x 1",
    b"stats sizes", b"me", b"mn foo", b"mn q", b"mn 1 2 3",
]
"""Commands of the operator that change nothing."""
STORAGE_VERBS = (b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"ms")


def cas(key, offset=0):
    """The mark that the executor replaces by the key's CAS number plus `offset`. Without an item, it
    writes 1."""
    return b"<CAS %b%b %+d>" % (key, b" b" if key in BINARY_KEYS else b"", offset)


def refused(length):
    """The mark for the data of a storage line that both servers refuse.

    memcached would run the data, so it gets none. A server that throws the data away, or closes the
    connection, gets data of that length that is made of requests: a reply to any of them is a
    difference. `Executor` knows which kind its server is.
    """
    return b"<REFUSED %d>" % length


class Generator:
    """Makes sequences; the same seed makes the same ones."""

    def __init__(self, seed, too_large=True, later=False):
        """`too_large`: whether there are values that are larger than an item may be. `later`: the
        memcached is later than 1.6.18, so the sequences leave out a command to which it replies
        differently."""
        self.seed = seed
        self.later = later
        self.random = random.Random(seed)
        self.too_large = too_large
        self.unfit = set()
        """Keys on which this sequence does no arithmetic, for one of three reasons. Their value may be
        blank: memcached then finds a number in the memory behind the item. They may be stale or won:
        memcached forgets that if the number gets longer. They may hold a number of 2^63 or more:
        memcached then looks for a minus in the memory behind it."""
        self.counted = set()
        """Keys on which arithmetic was done. memcached forgets that an item was read when its number gets
        longer, so the sequence does not ask for h on these keys."""
        self.unsent = False
        self.ended = False
        """True: stayd closes the connection after the last command, so no other command may follow."""

    def __str__(self):
        return f"seed {self.seed}"

    def sequence(self):
        """A list of steps. Only the last step may leave the connection out of step."""
        generator = self.random
        self.unfit.clear()
        self.counted.clear()
        self.unsent = False
        self.ended = False
        steps = []
        for _ in range(generator.choice([1, 2, 3, 5, 8, 12, 20, 30])):
            step = self.command()
            while self.ended and generator.random() < 0.9:
                step = self.command()  # otherwise few sequences would be long
            steps.append(step)
            if self.ended:
                return steps
        if generator.random() < 0.15:
            # If a connection ends in a value, memcached drops the replies that it has not sent.
            steps.append(SYNC_MARK + self.last_words())
        return steps

    def command(self):
        """One command of any kind."""
        kind = self.random.choices(
            [self.storage, self.retrieval, self.small, self.meta_get, self.meta_set,
             self.meta_delete, self.meta_arithmetic, self.meta_debug, self.administration, self.odd],
            [24, 14, 22, 20, 20, 8, 12, 4, 6, 6],
        )[0]
        step = kind()
        verb = step.split(b" ", 1)[0]
        if verb == b"watch":
            self.unsent = False
            return SYNC_MARK + step  # memcached accepts watch only as the first command of a pipeline
        if verb in (b"get", b"gets", b"gat", b"gats", b"mg"):
            self.unsent = True
        elif verb in (b"incr", b"decr", b"ma") and self.unsent:
            # While memcached still has to send a reply with the item, it makes a new item for the
            # number: without padding, and no longer stale. To make this certain, all replies are
            # read first.
            self.unsent = False
            return SYNC_MARK + step
        return step

    def key(self):
        """A key, usually one of a few valid keys, so that several commands use the same item."""
        generator = self.random
        if generator.random() < 0.02:
            return generator.choice(BAD_KEYS)
        return generator.choice(KEYS[:3] if generator.random() < 0.8 else KEYS)

    def number_key(self):
        """A key that has no item, or an item that is fit for arithmetic."""
        while True:
            key = self.key()
            if key not in self.unfit:
                return key
            if self.unfit >= set(KEYS):
                return b"always-fit"

    def value(self, leading=False):
        """Numbers, texts, and bytes that look like commands; empty, large and too large values.

        `leading`: the value is put in front of another value. The two together must not be a number
        with a leading zero.
        """
        generator = self.random
        shape = generator.random()
        if leading and shape < 0.5:
            return b"%d" % generator.choice([1, 9, 100, 12345])
        if shape < 0.5:
            return b"%d" % generator.choice(
                [0, 1, 9, 10, 99, 100, 12345, 2**32 - 1, 2**32, 2**62, 2**64]
            )
        if shape < 0.93:
            return generator.choice([
                b"", b"x", b"value", b"\r\n", b"\r\nEND\r\n", b"\xff\x00\x01", b"get a\r\n", b" 5",
                b"-5", b"5x", b"1.5", b"v" * 60, b"1" * 19, b"1" * 21,
                b"+5", b"-0", b"+", b"5\x00x", b"5 6", b"7" + b" " * 50, b"0" * 40 + b"8",
            ])
        if shape > 0.997 and self.too_large:
            return b"L" * TOO_LARGE
        return b"L" * generator.choice([500, 1500, 2500, 20_000])

    def expiry(self):
        """An expiry that has passed at once, or that passes long after the test."""
        return b"%d" % self.random.choice([
            0, 0, 0, 0, 100, 1000, 30 * DAY_S, -1, -100, 30 * DAY_S + 1, PAST_DATE_S,
            FUTURE_DATE_S, 2**31 - 1,
        ])

    def bad_number(self):
        """A text that is no number, or a number that needs more than 64 bits."""
        return self.random.choice([b"x", b"1x", b"", b"-", b"1.5", b"0x1", b"99999999999999999999"])

    def noreply(self):
        """Mostly nothing."""
        return self.random.choices(
            [b"", b" noreply", b" NOREPLY", b" foo", b" noreply foo"], [80, 14, 1, 2, 1]
        )[0]

    def data(self, value):
        """The data block. Now and then it is longer than announced, and still ends with a line end."""
        if self.random.random() < 0.02:
            return value + self.random.choice([b"y", b"yz", b"yzz", b"\r\nfoo"]) + b"\r\n"
        return value + b"\r\n"

    def storage(self):
        """set, add, replace, append, prepend, cas."""
        generator = self.random
        verb = generator.choice([b"set", b"set", b"set", b"add", b"replace", b"append", b"prepend",
                                 b"cas", b"cas"])
        key = self.key()
        value = self.value(leading=verb == b"prepend")
        if not value.strip() or verb in (b"append", b"prepend"):
            self.unfit.add(key)
        flags = b"%d" % generator.choice([0, 0, 1, 77, 65535, 2**31, 2**32 - 1])
        expiry, length = self.expiry(), b"%d" % len(value)
        fault = generator.random()
        if fault < 0.01:
            flags = generator.choice([b"x", b"-1", b"1x", b"1.5"])
        elif fault < 0.02:
            expiry = generator.choice([b"x", b"1x", b"1.5", b"-"])
        elif fault < 0.04:
            length = generator.choice([b"x", b"-1", b"1x", b"2147483648", b"9223372036854775808",
                                       b"18446744073709551616", b"-2147483648"])
        words = [verb, key, flags, expiry, length]
        if verb == b"cas":
            words.append(self.cas_number(key) if generator.random() < 0.95 else self.bad_number())
        if fault > 0.99:
            words.pop()
        line = b" ".join(words) + self.noreply()
        if self.is_good_storage(line.split(), key):
            return line + b"\r\n" + self.data(value)
        words = CAS_MARK.sub(b"0", line).split()
        count = 6 if verb == b"cas" else 5
        in_place = len(words) == count or (len(words) == count + 1 and words[-1] == b"noreply")
        self.ended = not (in_place and words[4] == b"%d" % len(value))
        return line + b"\r\n" + refused(len(value))

    @staticmethod
    def is_good_storage(words, key):
        """Whether a server will read a data block after this line, as memcached decides it."""
        expected = (6, 7) if words[0] == b"cas" else (5, 6)
        joined = len(CAS_MARK.sub(b"0", b" ".join(words)).split(b" "))
        numbers = CAS_MARK.sub(b"0", b" ".join(words)).split(b" ")[2:expected[0]]
        limits = [2**63, 2**63, 2**31 - 2, 2**64]
        return (joined in expected and len(key) <= 250
                and all(re.fullmatch(rb"-?[0-9]+", number) for number in numbers)
                and all(abs(int(number)) < limit for number, limit in zip(numbers, limits))
                and int(numbers[0]) >= 0 and int(numbers[2]) >= 0 and int(numbers[-1]) >= 0 - (
                    words[0] != b"cas"))

    def cas_number(self, key):
        """A CAS number: the current one, one more or one less, or a number that was never given out."""
        generator = self.random
        if key not in KEYS + BINARY_KEYS or generator.random() < 0.15:
            return generator.choice([b"0", b"1", b"9999999999999", b"9223372036854775807"])
        return cas(key, generator.choice([0, 0, 0, 0, -1, 1_000_000_000]))

    def retrieval(self):
        """get, gets, gat, gats of one key or of many."""
        generator = self.random
        verb = generator.choice([b"get", b"get", b"gets", b"gat", b"gats"])
        count = generator.choices([1, 2, 3, 7, 40, 0], [60, 14, 10, 8, 6, 2])[0]
        if verb.startswith(b"gat"):
            count = min(count, 3)  # unlike get, gat has no room for more than 2048 bytes
        words = [verb]
        if verb.startswith(b"gat") and generator.random() < 0.97:
            words.append(self.expiry() if generator.random() < 0.97 else generator.choice(
                [b"x", b"1x", b"1.5"]))
        # No key that is too long: memcached then drops all replies that it has not sent yet.
        keys = [key for key in (self.key() for _ in range(count)) if len(key) <= 250]
        if verb.startswith(b"gat"):
            keys = keys or KEYS[:1]  # 1.6.18 takes gat without a key
            if len(words) == 1 and len(keys) == 1:
                keys *= 2  # the first word counts as the time; if it is the only word, no key is left
        words += keys
        return b" ".join(words) + b"\r\n"

    def small(self):
        """Commands of one line: delete, touch, incr, decr, flush_all, version and the like."""
        generator = self.random
        verb = generator.choices(
            [b"delete", b"touch", b"incr", b"decr", b"flush_all", b"verbosity", b"mn"],
            [20, 20, 24, 20, 4, 2, 3],
        )[0]
        words = [verb]
        if verb == b"delete":
            words.append(self.key())
            words += generator.choices([[], [b"0"], [b"0", b"noreply"]], [90, 3, 2])[0]
        elif verb == b"touch":
            words += [self.key(), self.expiry()]
            if generator.random() < 0.03:
                words[2] = generator.choice([b"x", b"1x", b"1.5"])
        elif verb in (b"incr", b"decr"):
            words += [self.number_key(), b"%d" % generator.choice([0, 1, 5, 10, 99, 2**32])]
            self.counted.add(words[1])
            if generator.random() < 0.04:
                words[2] = generator.choice([b"x", b"-1", b"1x", b"18446744073709551616", b"1.5"])
        elif verb == b"flush_all":
            words += generator.choices([[], [b"0"], [b"-1"], [b"x"], [b"1x"]], [80, 8, 4, 4, 4])[0]
        elif verb == b"verbosity":
            words += generator.choices([[b"0"], [b"1"], [], [b"x"]], [60, 30, 5, 5])[0]
        if generator.random() < 0.02 and len(words) > 1:
            words.pop()
        line = b" ".join(words)
        if line != b"delete" and not line.endswith(b"noreply") and generator.random() < 0.15:
            line += b" noreply"  # no other word: 1.6.18 refuses other words, stayd ignores them
        return line + b"\r\n"

    def administration(self):
        """A command that has nothing to do with items."""
        line = self.random.choice(ADMINISTRATION)
        if self.later and line == b"slabs reassign 0 64":  # 1.6.38 knows a class 0
            line = b"slabs reassign"
        return line + b"\r\n"

    def flags(self, verb, choices):
        """Some of the flags in random order. Now and then a flag is there twice, or is invalid."""
        generator = self.random
        selected = [choice for choice in choices if generator.random() < 0.25]
        generator.shuffle(selected)
        fault = generator.random()
        if selected and fault < 0.02:
            selected.append(generator.choice(selected))
        elif fault < 0.04:
            wrong = bytes([generator.choice(WRONG_FLAGS)]) + generator.choice([b"", b"", b"1", b"x"])
            place = generator.randrange(len(selected) + 1)
            selected.insert(place, generator.choice([wrong, wrong, b"1"]))
        elif fault < 0.06:
            place = generator.randrange(len(selected) + 1)
            selected.insert(place, generator.choice(MISPLACED_FLAGS[verb]))
        return selected

    def meta_key(self, flags, plain, arithmetic):
        """A key. If it is a base64 key, the flag b is added.

        Base64 keys are different keys from the plain ones, because memcached returns a key in the
        encoding in which the item was stored.
        """
        generator = self.random
        if plain or generator.random() < 0.8:
            return self.number_key() if arithmetic else self.key()
        flags.insert(generator.randrange(len(flags) + 1), b"b")
        if generator.random() < 0.1:
            return generator.choice(BAD_BINARY_KEYS)
        good = [key for key in BINARY_KEYS if not (arithmetic and key in self.unfit)]
        return generator.choice(good or [base64.b64encode(b"always-fit")])

    def opaque(self):
        """An opaque flag of a valid length."""
        return b"O" + self.random.choice([b"", b"1", b"abc", b"o" * 31, b"\xc3\xa4"])

    def meta_line(self, verb, flags, value=None):
        """The line of a meta command, with its data if `value` is given."""
        # For items that these flags create, memcached returns a base64 key decoded.
        plain = any(flag[:1] == b"N" or flag in (b"MA", b"MP") for flag in flags)
        key = self.meta_key(flags, plain, arithmetic=verb == b"ma")
        flags = [b"C" + self.cas_number(key) if flag == OWN_CAS else flag for flag in flags]
        if verb == b"ma":
            self.counted.add(key)
        elif key in self.counted:
            flags = [flag for flag in flags if flag != b"h"]
        if any(flag[:1] in (b"I", b"N", b"R") for flag in flags) and verb != b"ma":
            self.unfit.add(key)
        if value is None:
            return b" ".join([verb, key, *flags]) + b"\r\n"
        if not value.strip() or plain:
            self.unfit.add(key)
        length = b"%d" % len(value)
        bad = len(key) > 250
        self.ended = any(flag[:1].isdigit() for flag in flags)  # may be the length
        if self.random.random() < 0.03:
            length = self.random.choice(
                [b"x", b"-1", b"1x", b"2147483648", b"9223372036854775808"])
            self.ended = bad = True
        line = b" ".join([verb, key, length, *flags]) + b"\r\n"
        if bad:
            return line + refused(len(value))
        return line + (value + b"\r\n" if self.ended else self.data(value))

    def meta_expiry(self, flag):
        """A flag with an expiry that has not passed; rarely with a text that is no number."""
        if self.random.random() < 0.02:
            return flag + self.bad_number()
        expiry = self.expiry()
        over = int(expiry) < 0 or 30 * DAY_S < int(expiry) <= PAST_DATE_S
        return flag + (b"0" if over else expiry)

    def number_flag(self, flag, numbers):
        """A flag with one of the numbers; rarely with a text that is no number."""
        if self.random.random() < 0.03:
            return flag + self.bad_number()
        return flag + b"%d" % self.random.choice(numbers)

    def meta_get(self):
        """mg with any of its flags."""
        flags = self.flags(b"mg", [
            b"v", b"v", b"k", b"f", b"s", b"t", b"c", b"h", b"h", b"q", b"u", self.opaque(), b"Pp", b"Lp",
            self.meta_expiry(b"N"), self.meta_expiry(b"T"),
            self.number_flag(b"R", [30, 500, 50000]),
        ])
        return self.meta_line(b"mg", unique(flags, self.random))

    def meta_set(self):
        """ms in any of its modes with any of its flags."""
        generator = self.random
        mode = b"M" + generator.choice([b"S", b"E", b"A", b"P", b"R"])
        if generator.random() < 0.03:
            mode = generator.choice([b"MX", b"Ms"])
        flags = self.flags(b"ms", [
            b"k", b"c", b"q", b"I", b"Pp", b"Lp", mode, mode, self.opaque(), self.meta_expiry(b"T"),
            self.number_flag(b"F", [0, 1, 77, 2**32 - 1]), OWN_CAS,
        ])
        return self.meta_line(b"ms", unique(flags, generator), self.value(leading=mode == b"MP"))

    def meta_delete(self):
        """md with any of its flags."""
        flags = self.flags(b"md", [
            b"k", b"q", b"I", b"I", b"Pp", b"Lp", self.opaque(), self.meta_expiry(b"T"),
            OWN_CAS,
        ])
        return self.meta_line(b"md", unique(flags, self.random))

    def meta_arithmetic(self):
        """ma in any of its modes with any of its flags."""
        generator = self.random
        mode = b"M" + generator.choice([b"I", b"D", b"+", b"-"])
        if generator.random() < 0.03:
            mode = generator.choice([b"MX", b"Md"])
        flags = self.flags(b"ma", [
            b"k", b"c", b"q", b"t", b"v", b"v", b"Pp", b"Lp", mode, mode, self.opaque(),
            self.meta_expiry(b"N"), self.number_flag(b"D", [0, 1, 10, 2**32]),
            self.number_flag(b"J", [0, 13, 2**62]), OWN_CAS,
        ])
        if any(flag[:1] == b"N" for flag in flags):  # 1.6.18 does not obey q for an item that it creates
            flags = [flag for flag in flags if flag != b"q"]
        return self.meta_line(b"ma", unique(flags, generator))

    def meta_debug(self):
        """me, on a key without arithmetic: memcached forgets that the other items were read."""
        while True:
            line = self.meta_line(b"me", [])
            if line.split()[1] not in self.counted:
                return line

    def odd(self):
        """Lines that no client should send. They leave the connection in step, or end it."""
        generator = self.random
        words = [b"get", b"set", b"cas", b"touch", b"incr", b"delete", b"mg", b"ms", b"md", b"ma",
                 b"foo", b"a", b"b", b"0", b"1", b"x", b"v", b"GET", b"mgg"]
        line = generator.choice([
            b"", b" ", b"foo", b"GET a", b"get", b"gets", b"gat", b"set", b"set a",
            b"set a 0", b"set a 0 0", b"add a", b"cas a 0 0 1", b"incr", b"incr a", b"decr a",
            b"touch", b"touch a", b"delete", b"mg", b"ms", b"ms a", b"md", b"ma", b"mx a", b"m",
            b"mnn", b"get  a", b"get a ", b"delete  a", b"mg  a  v", b"verbosity",
            b"stats foo", b"version1", b"get\ta", b"gets a b c a b c", b"get " + b"a " * 30 + b"b",
            b" ".join(generator.choice(words) for _ in range(generator.randrange(1, 3))),
        ])
        end = generator.choice([b"\r\n", b"\r\n", b"\n"])
        self.ended = line.lstrip().split(b" ")[0] in STORAGE_VERBS
        return line + end + (refused(20) if self.ended else b"")

    def last_words(self):
        """A command that ends the connection or leaves it out of step. Only the last step may be such a
        command."""
        generator = self.random
        return generator.choice([
            b"quit\r\n", b"quit\r\nget a\r\n", b"get a", b"set a 0 0 5", b"set a 0 0 5\r\nxy",
            b"set a 0 0 5\r\nvalue", b"set a 0 0 5\r\nvalue\r", b"set a 0 0 5\r\nval\r\nget a\r\n",
            b"set a 0 0 2\r\nvalue-of-more\r\nget a\r\n", b"ms a 5\r\nval\r\nmg a v\r\n",
            b"set a 0 0 x\r\n" + refused(20), b"set a 0 0 -1\r\n" + refused(20),
            b"set %b 0 0 20\r\n" % (b"k" * 251) + refused(20) + b"get a\r\n",
            b"ms a x\r\n" + refused(20), b"set a 0 0 0\r\nget a\r\nget a\r\n", b"mn", b"\r",
            b"set a 0 0 3\r\nxyz\rget a\r\nget a\r\n", b"set a 0 0 3\r\nxyz\nget a\r\nget a\r\n",
        ])


def unique(flags, generator):
    """Removes each flag that has the letter of an earlier flag. One time in fifty, removes nothing."""
    if generator.random() < 0.02:
        return flags
    seen = set()
    return [flag for flag in flags if not (flag[:1] in seen or seen.add(flag[:1]))]
