"""Writers that know what a pool must contain, for tests that kill or stop the daemon meanwhile.

Each `Writer` is a thread with a connection and keys of its own. For every key, it keeps what the daemon
has acknowledged. If a command was sent and not answered when the daemon died, its key may be in one of
two states, and both are allowed. `Workload` runs several writers, and now and then flushes the pool
while all of them wait. Its `verify` compares every key.

Writers also predict each reply, and check it.
"""

import dataclasses
import random
import threading
import time

CLOCK_S = 0.05
"""How late the daemon's coarse clock, or this process, may notice that a second has begun."""


@dataclasses.dataclass(frozen=True)
class Item:
    """What a key holds. `earliest` and `latest` are the bounds of its expiry in Unix seconds; 0: no
    expiry."""

    value: bytes
    flags: int = 0
    earliest: int = 0
    latest: int = 0
    cas: int = 0

    def certainly_there(self, read_at):
        """Whether a reply that was complete at `read_at` must have the item."""
        return self.earliest == 0 or read_at < self.earliest

    def certainly_gone(self, asked_at):
        """Whether a request that was sent at `asked_at` must miss the item."""
        return self.latest != 0 and asked_at >= self.latest + CLOCK_S


class Died(Exception):
    """The daemon has ended, because the test ended it."""


class Writer(threading.Thread):
    """Writes and deletes its own keys until the daemon ends or `stop` is set."""

    def __init__(self, name, connect, seed, keys=120, largest=6000):
        """`connect` returns a new Raw connection; `largest` is the largest value in bytes."""
        super().__init__(name=name, daemon=True)
        self.prefix = name.encode()
        self.connect = connect
        self.random = random.Random(seed)
        self.keys = [b"%b-%d" % (self.prefix, number) for number in range(keys)]
        self.largest = largest
        self.allowed = {key: {None} for key in self.keys}
        """What each key may hold: one state if all commands are acknowledged, more after a crash."""
        self.pause = threading.Lock()
        """Held while commands are under way."""
        self.stop = threading.Event()
        self.failure = None
        self.acknowledged = 0

    def run(self):
        try:
            with self.connect() as connection:
                while not self.stop.is_set():
                    with self.pause:
                        if not self.stop.is_set():
                            self.batch(connection)
        except Died:
            pass
        except BaseException as failure:
            self.failure = failure

    def current(self, key):
        """The only state of the key. No command for the key may be under way."""
        states = self.allowed[key]
        assert len(states) == 1, f"{key!r} is in doubt"
        return next(iter(states))

    def batch(self, connection):
        """Sends commands for different keys in one write, and reads their replies."""
        count = self.random.choice([1, 1, 4, 16, 32])
        commands = []
        for key in self.random.sample(self.keys, min(count, len(self.keys))):
            request, settle = self.command(key)
            commands.append((key, request, settle))
        sent = int(time.time() - CLOCK_S)
        # From now on the key may have the state before or the state after. The CAS of the latter is not
        # known yet.
        for key, _, settle in commands:
            before = self.current(key)
            self.allowed[key] = {before, settle(b"", sent, sent + 60)}
        done = 0
        try:
            connection.send(b"".join(request for _, request, _ in commands))
            for key, _, settle in commands:
                line = connection.read_line()
                self.allowed[key] = {settle(line, sent, int(time.time()))}
                done += 1
        except (OSError, EOFError):
            raise Died from None
        finally:
            self.acknowledged += done

    def value(self):
        """A value of random length that no other writer stores."""
        generator = self.random
        size = generator.choice([8, 50, 220, 1000, generator.randrange(8, self.largest)])
        start = generator.randbytes(4).hex().encode()
        return start.ljust(size, b"%d" % generator.randrange(10))

    def expiry(self):
        """A relative expiry that is later than the end of the test, or none."""
        return self.random.choice([0, 0, 1000, 100_000])

    def command(self, key):
        """Returns a command for the key, and a function that says what the key holds after its reply.

        The function takes the reply (b"": there is none yet) and the seconds of the Unix clock between
        which the command was carried out.
        """
        before = self.current(key)
        generator = self.random
        if before is None:
            kind = generator.choice([self.store, self.store, self.add, self.delete, self.count])
        else:
            kind = generator.choice([self.store, self.store, self.append, self.touch, self.delete,
                                     self.compare, self.number, self.count, self.invalidate])
        return kind(key, before)

    def store(self, key, before, mode=b"", condition=True):
        """ms, in a mode whose condition holds or does not hold."""
        value, flags, expiry = self.value(), self.random.randrange(2**32), self.expiry()
        request = b"ms %b %d F%d T%d c%b\r\n%b\r\n" % (key, len(value), flags, expiry, mode, value)

        def settle(line, earliest, latest):
            if not condition:
                check(line, b"NS", b"EX", b"NF")
                return before
            return Item(value, flags, expiry and earliest + expiry, expiry and latest + expiry,
                        cas_in(line))

        return request, settle

    def add(self, key, before):
        """ms in add mode."""
        return self.store(key, before, b" ME", before is None)

    def compare(self, key, before):
        """ms with the right CAS number, or with a wrong one."""
        right = self.random.random() < 0.7 and before.cas
        number = before.cas if right else (before.cas or 1) + 10**12
        return self.store(key, before, b" C%d" % number, bool(right))

    def append(self, key, before):
        """append or prepend; the item keeps its flags and expiry."""
        piece = self.value()[:50]
        mode = self.random.choice([b"A", b"P"])
        request = b"ms %b %d M%b c\r\n%b\r\n" % (key, len(piece), mode, piece)
        value = before.value + piece if mode == b"A" else piece + before.value
        if len(value) > 2 * self.largest:
            return self.store(key, before)

        def settle(line, _earliest, _latest):
            return dataclasses.replace(before, value=value, cas=cas_in(line))

        return request, settle

    def touch(self, key, before):
        """mg T: changes the expiry, and keeps the item and its CAS number. Now and then the new expiry has
        passed."""
        if self.random.random() < 0.1:
            def gone(line, _earliest, _latest):
                check(line, b"TOUCHED")

            return b"touch %b -1\r\n" % key, gone
        expiry = self.expiry()

        def settle(line, earliest, latest):
            check(line, b"TOUCHED")
            return dataclasses.replace(before, earliest=expiry and earliest + expiry,
                                       latest=expiry and latest + expiry)

        return b"touch %b %d\r\n" % (key, expiry), settle

    def delete(self, key, before):
        """delete."""
        def settle(line, _earliest, _latest):
            check(line, b"NOT_FOUND" if before is None else b"DELETED")

        return b"delete %b\r\n" % key, settle

    def invalidate(self, key, before):
        """md I: the item stays, is stale, and has another CAS number."""
        def settle(line, _earliest, _latest):
            check(line, b"HD")
            return dataclasses.replace(before, cas=0)

        return b"md %b I\r\n" % key, settle

    def number(self, key, before):
        """Stores a number that `count` can count on."""
        number = b"%d" % self.random.randrange(1, 1000)

        def settle(line, _earliest, _latest):
            return Item(number, cas=cas_in(line))

        return b"ms %b %d c\r\n%b\r\n" % (key, len(number), number), settle

    def count(self, key, before):
        """ma: adds one, if the value is a number."""
        if before is None:
            def missing(line, _earliest, _latest):
                check(line, b"NF")

            return b"ma %b c\r\n" % key, missing
        if not before.value.strip().isdigit() or len(before.value) > 10:
            return self.delete(key, before)
        number = b"%d" % (int(before.value) + 1)  # without leading zeros, so the number is padded

        def settle(line, _earliest, _latest):
            return dataclasses.replace(before, value=number.ljust(len(before.value)),
                                       cas=cas_in(line))

        return b"ma %b c\r\n" % key, settle


def check(line, *expected):
    """Fails unless the reply begins with one of the words. b"" means no reply yet, and passes."""
    if line:
        assert line.split(b" ")[0] in expected, (line, expected)


def cas_in(line):
    """The CAS number in a meta reply of success; 0 for no reply yet."""
    if not line:
        return 0
    words = line.split(b" ")
    assert words[0] == b"HD" and words[1][:1] == b"c", line
    return int(words[1][1:])


class Workload:
    """Several writers on one pool, and a flush now and then."""

    def __init__(self, connect, seed, writers=4, largest=6000, flushes=True):
        self.connect = connect
        self.random = random.Random(seed)
        self.flushes = flushes
        self.writers = [self._writer(number, largest) for number in range(writers)]

    def _writer(self, number, largest):
        return Writer(f"w{number}", self.connect, self.random.random(), largest=largest)

    def run_until(self, end):
        """Starts all writers, calls `end()` (which kills or stops the daemon), and joins the writers."""
        for index, old in enumerate(self.writers):
            fresh = Writer(old.name, old.connect, self.random.random(), len(old.keys), old.largest)
            fresh.allowed = old.allowed
            self.writers[index] = fresh
        for writer in self.writers:
            writer.start()
        flusher = None
        if self.flushes and self.random.random() < 0.5:
            flusher = threading.Thread(target=self._flush, args=(self.random.uniform(0.02, 0.3),))
            flusher.start()
        end()
        for thread in (*self.writers, *filter(None, [flusher])):
            thread.join(30)
            assert not thread.is_alive(), "a writer hangs"
        for writer in self.writers:
            if writer.failure is not None:
                raise writer.failure

    def pause_all(self):
        """Stops every writer between two batches. `resume_all` lets them continue."""
        for writer in self.writers:
            writer.pause.acquire()

    def resume_all(self):
        """Ends `pause_all`."""
        for writer in self.writers:
            writer.pause.release()

    def _flush(self, after_s):
        time.sleep(after_s)  # sets when in the run the flush comes; waits for nothing
        self.pause_all()
        try:
            for writer in self.writers:
                for key in writer.keys:
                    writer.allowed[key] = writer.allowed[key] | {None}
            try:
                with self.connect() as connection:
                    connection.ask(b"flush_all\r\n", b"OK\r\n")
            except (OSError, EOFError, AssertionError):
                for writer in self.writers:
                    writer.stop.set()  # the daemon is gone, and every key has two possible states
                return
            for writer in self.writers:
                for key in writer.keys:
                    writer.allowed[key] = {None}
        finally:
            self.resume_all()

    @property
    def acknowledged(self):
        """How many commands were acknowledged in the last run."""
        return sum(writer.acknowledged for writer in self.writers)

    def items(self):
        """How many items certainly exist."""
        return sum(None not in states for w in self.writers for states in w.allowed.values())

    def verify(self, connection):
        """Compares every key with its possible states. Afterwards each key has one state."""
        for writer in self.writers:
            for start in range(0, len(writer.keys), 40):
                keys = writer.keys[start:start + 40]
                asked = time.time()
                connection.send(b"".join(b"mg %b f t c v u\r\n" % key for key in keys))
                for key in keys:
                    found = read_item(connection, asked)
                    match = next((state for state in writer.allowed[key]
                                  if is_same(found, state, asked)), False)
                    assert match is not False, (
                        f"{key!r}: found {short(found)}, allowed are "
                        f"{[short(state) for state in writer.allowed[key]]}"
                    )
                    writer.allowed[key] = {match and dataclasses.replace(match, cas=found.cas)}
        connection.expect_in_step()


def read_item(connection, asked):
    """The reply to `mg KEY f t c v u`, as an Item or None."""
    line = connection.read_line()
    if line == b"EN":
        return None
    words = line.split(b" ")
    assert words[0] == b"VA", line
    value = connection.read_exact(int(words[1]) + 2)[:-2]
    numbers = {word[:1]: int(word[1:]) for word in words[2:] if word[1:]}
    remaining = numbers[b"t"]
    earliest = 0 if remaining < 0 else int(asked - CLOCK_S) + remaining
    latest = 0 if remaining < 0 else int(time.time()) + remaining
    return Item(value, numbers[b"f"], earliest, latest, numbers[b"c"])


def is_same(found, state, asked):
    """Whether an item that was found agrees with the state. The expiries need only overlap, and an unknown
    CAS agrees with any."""
    if state is None or state.certainly_gone(asked):
        return found is None
    if found is None:
        return not state.certainly_there(time.time())
    return (
        found.value == state.value and found.flags == state.flags
        and bool(found.latest) == bool(state.latest)
        and found.earliest <= state.latest and state.earliest <= found.latest
        and state.cas in (0, found.cas)
    )


def short(state):
    """The state as text, for a message."""
    if state is None:
        return "nothing"
    return str(dataclasses.replace(state, value=state.value[:24] + b"... %d" % len(state.value)))
