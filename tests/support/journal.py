"""Clients of a pool. Each notes what it has sent and what was answered."""

import contextlib
import random
import threading
import time


class Journal(threading.Thread):
    """One client that changes its own keys, one acknowledged command after another.

    `commands` is what it has sent, and `acknowledged` is how many of these were answered. Expiries are
    absolute, so that the effect of a command does not depend on when the command arrives. Some expiries
    are sooner than before, which writes a tombstone together with the new version.
    """

    def __init__(self, connection, name, seed):
        super().__init__(name=name)
        self.connection = connection
        self.random = random.Random(seed)
        self.keys = [b"%b-%d" % (name.encode(), n) for n in range(60)]
        self.now = int(time.time())
        self.commands = []
        self.acknowledged = 0
        self.stopping = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
        except Exception as failure:
            self.failure = failure

    def step(self):
        key = self.random.choice(self.keys)
        kind = self.random.choice(["set", "set", "set", "delete", "touch", "append"])
        number = len(self.commands)
        expiry = self.now + self.random.choice([200, 3000, 20_000, 80_000, 500_000, 2_000_000])
        if kind == "set":
            value = b"%d " % number + b"x" * self.random.randrange(600)
            line = b"set %b %d %d %d\r\n%b\r\n" % (key, number % 7, expiry, len(value), value)
            command = (kind, key, value, number % 7, expiry)
        elif kind == "append":
            line = b"append %b 0 0 1\r\n+\r\n" % key
            command = (kind, key)
        elif kind == "touch":
            line = b"touch %b %d\r\n" % (key, expiry)
            command = (kind, key, expiry)
        else:
            line = b"delete %b\r\n" % key
            command = (kind, key)
        self.commands.append(command)
        reply = self.connection.ask(line)
        assert reply in (b"STORED", b"DELETED", b"TOUCHED", b"NOT_FOUND", b"NOT_STORED"), reply
        self.acknowledged = len(self.commands)

    @staticmethod
    def apply(state, command):
        """Changes `state`, a dict of key to (value, flags, expiry), as the server does."""
        kind, key, *rest = command
        if kind == "set":
            state[key] = tuple(rest)
        elif kind == "delete":
            state.pop(key, None)
        elif key in state:
            value, flags, expiry = state[key]
            state[key] = (value + b"+", flags, expiry) if kind == "append" else (value, flags, *rest)

    def assert_is_one_state(self, items, begin, end):
        """Fails unless `items` (of `dump`) is the result of the first N commands, for some N from begin to
        end."""
        found = {key: (items[key]["value"], items[key]["flags"], items[key]["expiry"])
                 for key in self.keys if key in items}
        state = {}
        for command in self.commands[:begin]:
            self.apply(state, command)
        for number in range(begin, end + 1):
            if state == found:
                return
            if number < len(self.commands):
                self.apply(state, self.commands[number])
        raise AssertionError(f"{self.name}: no state between {begin} and {end} commands is this one")


class Relay(threading.Thread):
    """Two counters, raised in turn over two connections; `first` is never less than `second`.

    They lie far apart in the file, because one has a short expiry and the other has none.
    """

    def __init__(self, stayd):
        super().__init__(name="relay")
        self.connections = [stayd.connect("sessions"), stayd.connect("sessions")]
        assert self.connections[0].set(b"first", b"0", expiry=250) == b"STORED"
        assert self.connections[0].set(b"second", b"0") == b"STORED"
        self.count = 0
        self.stopping = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.stopping.is_set():
                next_count = self.count + 1
                for connection, name in zip(self.connections, (b"first", b"second")):
                    connection.ask(b"incr %b 1\r\n" % name, b"%d\r\n" % next_count)
                self.count = next_count
        except Exception as failure:
            self.failure = failure


class Churn(threading.Thread):
    """Writes large values to few keys, so that segments are compacted all the time.

    Now and then it writes again a value that stays, so that compaction has to move it.
    """

    def __init__(self, connection, kept=None):
        super().__init__(name="churn")
        self.connection = connection
        self.kept = list((kept or {b"kept": b"v"}).items())
        self.stopping = threading.Event()
        self.failure = None

    def run(self):
        try:
            number = 0
            while not self.stopping.is_set():
                batch = []
                for _ in range(8):
                    number += 1
                    expiry = 5000 + number % 3 * 100_000
                    batch.append((b"churn-%d" % (number * 7919 % 400), b"c" * 4000, expiry))
                batch.append((*self.kept[number // 8 * 7 % len(self.kept)], expiry))
                self.connection.send(b"".join(
                    b"set %b 0 %d %d\r\n%b\r\n" % (key, expiry, len(value), value)
                    for key, value, expiry in batch
                ))
                self.connection.expect(b"STORED\r\n" * len(batch))
        except Exception as failure:
            self.failure = failure


@contextlib.contextmanager
def at_work(threads):
    """Runs these threads during the `with`; raises what they raise."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stopping.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), f"{thread.name} hangs"
    for thread in threads:
        if thread.failure is not None:
            raise thread.failure
