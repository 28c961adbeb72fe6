"""A client that shows every byte, and how tests wait for what a server does."""

import socket
import threading
import time

REPLY_TIMEOUT = 10.0


def wait_until(condition, timeout=REPLY_TIMEOUT, what="the condition", interval=0.01):
    """Calls `condition` until it returns something true, and returns that. Fails after `timeout`."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(interval)


def together(*tests):
    """Calls all `tests` at once, each in a thread, and raises the first failure.

    For tests that wait until seconds of the clock have passed: side by side they take no longer than
    one.
    """
    failures = []

    def run(test):
        try:
            test()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(test,)) for test in tests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Raw:
    """One connection. Sends bytes as given, and reads replies; each read has a deadline."""

    def __init__(self, address, timeout=REPLY_TIMEOUT):
        """Connects. `address` is (host, port) for TCP or a path for a Unix socket."""
        self.address = address
        self.timeout = timeout
        self.buffer = bytearray()
        if isinstance(address, tuple):
            self.socket = socket.create_connection(address, timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout)
            self.socket.connect(str(address))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        """Sends all of `data`. Raises TimeoutError when the server takes nothing for `timeout` seconds."""
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def _fill(self, deadline):
        """Reads once into the buffer. Raises EOFError at the end, and TimeoutError after the deadline."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise self._too_late()
        self.socket.settimeout(left)
        try:
            piece = self.socket.recv(1 << 18)
        except TimeoutError:
            raise self._too_late() from None
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise EOFError(f"the server closed; unread before that: {bytes(self.buffer[-500:])!r}")
        self.buffer += piece

    def _too_late(self):
        return TimeoutError(
            f"no reply in {self.timeout} s; so far: {bytes(self.buffer[-500:])!r}"
        )

    def _take(self, count):
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def read_exact(self, count, timeout=None):
        """Reads exactly `count` bytes."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while len(self.buffer) < count:
            self._fill(deadline)
        return self._take(count)

    def read_until(self, end, timeout=None):
        """Reads up to the first `end`, and returns it as well."""
        deadline = time.monotonic() + (timeout or self.timeout)
        searched = 0
        while True:
            found = self.buffer.find(end, searched)
            if found >= 0:
                return self._take(found + len(end))
            searched = max(0, len(self.buffer) - len(end) + 1)
            self._fill(deadline)

    def read_line(self, timeout=None):
        """Reads one line and returns it without its CR LF."""
        return self.read_until(b"\r\n", timeout)[:-2]

    def read_to_end(self, timeout=None):
        """Reads until the server closes the connection; returns everything that came before."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            try:
                self._fill(deadline)
            except EOFError:
                return self._take(len(self.buffer))

    def receive_once(self, timeout=None):
        """Returns the bytes of one recv: those that the server put into one write. The buffer must be
        empty."""
        assert not self.buffer, f"unread: {bytes(self.buffer)!r}"
        self.socket.settimeout(timeout or self.timeout)
        return self.socket.recv(1 << 20)

    def expect(self, expected, timeout=None):
        """Reads as many bytes as `expected` has, and fails if they differ.

        The comparison stops at the first line that differs. So a short error reply instead of a long
        reply fails at once, and not after the deadline.
        """
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            count = min(len(self.buffer), len(expected))
            if self.buffer[:count] != expected[:count] or count == len(expected):
                break
            try:
                self._fill(deadline)
            except (EOFError, TimeoutError) as error:
                raise AssertionError(f"expected {_short(expected)}, but {error}") from None
        got = bytes(self.buffer[:count])
        assert got == expected, f"expected {_short(expected)}, got {_short(bytes(self.buffer))}"
        del self.buffer[:count]

    def ask(self, request, expected=None, timeout=None):
        """Sends `request`. If `expected` is given, reads and compares that; otherwise reads one line."""
        self.send(request)
        if expected is None:
            return self.read_line(timeout)
        return self.expect(expected, timeout)

    def expect_in_step(self):
        """Fails unless the next reply on this connection answers the next request."""
        self.send(b"mn\r\n")
        self.expect(b"MN\r\n")

    def expect_closed(self, timeout=None):
        """Fails unless the server closes the connection without another reply."""
        rest = self.read_to_end(timeout)
        assert rest == b"", f"expected the end of the connection, got {_short(rest)}"

    def get(self, key):
        """The value under `key` (bytes), or None."""
        self.send(b"get %b\r\n" % key)
        line = self.read_line()
        if line == b"END":
            return None
        assert line.startswith(b"VALUE "), f"get {key!r}: {line!r}"
        value = self.read_exact(int(line.split(b" ")[3]) + 2)[:-2]
        self.expect(b"END\r\n")
        return value

    def set(self, key, value, flags=0, expiry=0):
        """Stores `value`; returns the reply line."""
        self.send(b"set %b %d %d %d\r\n%b\r\n" % (key, flags, expiry, len(value), value))
        return self.read_line()

    def stats(self, group=b""):
        """The general statistics (or a named group) as a dict of str to str."""
        self.send(b"stats %b\r\n" % group if group else b"stats\r\n")
        result = {}
        while (line := self.read_line()) != b"END":
            word, name, value = line.decode().split(" ", 2)
            assert word == "STAT", line
            result[name] = value
        return result

    def finish(self, timeout=None):
        """Ends the connection. Waits until the server has closed it as well, and everything is read.

        stayd then no longer counts the connection: it decrements the count before it closes.
        """
        self.socket.shutdown(socket.SHUT_WR)
        self.read_to_end(timeout)
        self.close()

    def reset(self):
        """Closes with a TCP reset, which a machine also sends if it gets a packet after it has restarted."""
        linger_at_once = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_at_once)
        self.socket.close()

    def close(self):
        """Closes this end; may be called twice."""
        self.socket.close()


def _short(data):
    return repr(data) if len(data) <= 400 else f"{data[:400]!r}... ({len(data)} bytes)"


def answers(address):
    """Whether a server answers a text request there."""
    try:
        with Raw(address) as connection:
            return connection.ask(b"mn\r\n") == b"MN"
    except OSError:
        return False
