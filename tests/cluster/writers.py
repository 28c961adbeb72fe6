"""Clients that write to several hosts at once, each to keys of its own, and what the keys must be
afterwards. And short requests to one host."""

import random
import threading

GONE = None


class Writer(threading.Thread):
    """Sets and deletes its own keys on a host until it is told to stop.

    `may` has, for each key, every state that it may have now: one, after a reply that says what was
    done; and more after an error or a lost connection, because the write may have been made, or be
    made yet.
    """

    def __init__(self, host, name, keys=20):
        super().__init__(daemon=True)
        self.host = host
        self.random = random.Random(name)
        self.keys = [f"{name}-{i}" for i in range(keys)]
        self.may = {key: {GONE} for key in self.keys}
        self.stopping = threading.Event()
        self.done = 0
        self.failed = 0
        self.wrong = []

    def stop(self):
        self.stopping.set()
        self.join(30)
        assert not self.is_alive()

    def run(self):
        raw = None
        number = 0
        while not self.stopping.is_set():
            key = self.random.choice(self.keys)
            number += 1
            new = GONE if self.random.random() < 0.3 else f"v{number}"
            request = (
                f"delete {key}\r\n" if new is GONE else f"set {key} 0 0 {len(new)}\r\n{new}\r\n"
            )
            try:
                if raw is None:
                    raw = self.host.connect("sessions", timeout=20)
                raw.send(request.encode())
                reply = raw.read_line()
            except (OSError, EOFError):
                raw = None
                reply = b"lost"
            if reply in (b"STORED", b"DELETED", b"NOT_FOUND"):
                found = reply == b"DELETED"
                if new is GONE and found and self.may[key] == {GONE}:
                    self.wrong.append(f"{key} was there to be deleted")
                if new is GONE and not found and GONE not in self.may[key]:
                    self.wrong.append(f"{key} was not there: {self.may[key]}")
                self.may[key] = {new}
                self.done += 1
            else:
                self.may[key].add(new)
                self.failed += 1
                if reply == b"lost":
                    self.stopping.wait(0.05)
        if raw is not None:
            raw.close()


def read(host, key):
    with host.connect("sessions") as raw:
        found = raw.get(key.encode())
    return None if found is None else found.decode()


def store(host, items, expiry=0):
    """Stores {key: value} with the client flags 5, in one pipeline."""
    with host.connect("sessions") as raw:
        for key, value in items.items():
            raw.send(f"set {key} 5 {expiry} {len(value)}\r\n{value}\r\n".encode())
        assert [raw.read_line() for _ in items] == [b"STORED"] * len(items)


def ask(host, *requests):
    """The first line of each reply."""
    with host.connect("sessions", timeout=30) as raw:
        return [raw.ask(request) for request in requests]


def items_of(host, keys):
    """{key: value} of those of the keys that the host has."""
    with host.connect("sessions") as raw:
        return {key: found.decode() for key in keys if (found := raw.get(key.encode())) is not None}


def find_faults(host, writers):
    """What a host has that no writer has left."""
    faults = [fault for writer in writers for fault in writer.wrong]
    with host.connect("sessions") as raw:
        for writer in writers:
            for key, may in writer.may.items():
                found = raw.get(key.encode() if not isinstance(key, bytes) else key)
                found = None if found is None else found.decode()
                if found not in may:
                    faults.append(f"{key} is {found}, and may be {may}")
    return faults
