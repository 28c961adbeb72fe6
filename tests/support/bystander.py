"""A client that is not involved in what a test does to the daemon; measures how long it waits.

    idle = bystander.longest_wait(stayd.socket("sessions"))
    with Bystander(stayd.socket("sessions")) as other:
        ...                                    # other clients attack
    other.expect_undisturbed(idle)

The bystander is a process of its own that sends one request at a time, so neither the test's work nor
its interpreter's lock adds to the measured times. Its waits are compared with its longest wait on an
idle daemon, measured on the same machine a moment before.

As a program: bystander.py ADDRESS ASKS. ADDRESS is the path of a Unix socket, or HOST:PORT. ASKS is:

    mn          nothing
    get KEY     a small value
    set BYTES   stores a value of this size. A bystander that is refused asks again, and still waits
    healthz     the admin server's health check, each time on a new connection
"""

import contextlib
import select
import socket
import subprocess
import sys
import time

MARGIN = 0.5
"""Seconds that a busy machine may add. The faults that these tests look for cause waits of several
seconds."""


def _slowness():
    """The factor by which other processes slow down this machine at present."""
    began, spent = time.monotonic(), time.thread_time()
    while time.thread_time() < spent + 0.03:
        pass
    return max(1.0, (time.monotonic() - began) / 0.03)


def most_wait(idle, margin=MARGIN):
    """The longest wait that an undisturbed client may have: a multiple of the wait on an idle daemon
    (`idle`), and the time that the machine may add."""
    return (5 * idle + margin) * _slowness()


class Bystander:
    """Sends requests from the beginning of the `with` to its end. Afterwards `longest` is the longest wait
    in seconds. `overslept` is the longest time by which a pause of the bystander itself was too long:
    for so long the machine ran something else, whatever the daemon did. `refused` counts the requests
    that were refused. A bystander can be used again."""

    def __init__(self, address, asks="mn"):
        """`address` and `asks`: those of the program."""
        self._arguments = [str(address), asks]
        self._process = None
        self.longest = self.overslept = None
        self.refused = 0

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, *self._arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, kind, *_):
        try:
            output, _ = self._process.communicate(timeout=120)
            if kind is None:
                assert self._process.returncode == 0, "the bystander was not served"
                longest, overslept, refused = output.split()
                self.longest, self.overslept = float(longest), float(overslept)
                self.refused = int(refused)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()

    def is_undisturbed(self, idle):
        """Whether no wait was longer than `idle` and the time that the machine may add."""
        return self.longest <= most_wait(idle) + 2 * self.overslept

    def expect_undisturbed(self, idle):
        """Fails if a wait was longer than `idle` and the time that the machine may add."""
        assert self.is_undisturbed(idle), (
            f"a bystander waited for {self.longest:.3f} s; while nobody did anything, {idle:.3f} s; "
            f"a pause of its own was {self.overslept:.3f} s too long"
        )


def readers(stayd, pools=("cache", "sessions")):
    """Bystanders that read a small value, one in each of the pools."""
    return [Bystander(stayd.socket(pool), "get k0") for pool in pools]


def longest_wait_while(work, bystanders):
    """Does the work; returns the longest wait of any of these bystanders meanwhile."""
    with contextlib.ExitStack() as stack:
        for bystander in bystanders:
            stack.enter_context(bystander)
        work()
    return max(bystander.longest for bystander in bystanders)


def longest_idle_wait(bystanders, seconds=0.3):
    """The longest wait of any of these bystanders while there are no other requests."""
    # how long they measure, not a wait for a condition
    return longest_wait_while(lambda: time.sleep(seconds), bystanders)


def longest_wait(path, seconds=0.3):
    """The longest wait of a bystander at this Unix socket while there are no other requests."""
    return longest_idle_wait([Bystander(path)], seconds)


def expect_undisturbed_by(work, path, times=3):
    """Fails if each of `times` calls of `work()` disturbs a bystander at this Unix socket. A single
    disturbance may come from another process of this machine."""
    found = []
    for _ in range(times):
        idle = longest_wait(path)
        with Bystander(path) as other:
            work()
        if other.is_undisturbed(idle):
            return
        found.append(f"{other.longest:.3f} s; idle: {idle:.3f} s")
    raise AssertionError(f"a bystander waited for {found}")


def _connect(address):
    if "/" not in address:
        host, port = address.rsplit(":", 1)
        return socket.create_connection((host, int(port)))
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(address)
    return connection


def _request(asks):
    """The bytes to send, and the end of the reply of a daemon that does what was asked."""
    word, _, argument = asks.partition(" ")
    if word == "get":
        return b"get %b\r\n" % argument.encode(), b"END\r\n"
    if word == "set":
        value = b"v" * int(argument)
        return b"set bystander 0 0 %d\r\n%b\r\n" % (len(value), value), b"STORED\r\n"
    if word == "healthz":
        return b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"ok\n"
    return b"mn\r\n", b"MN\r\n"


def _is_done(connection, request, end):
    """Sends the request; returns whether the daemon has done what was asked."""
    try:
        connection.sendall(request)
        reply = b""
        while not reply.endswith(end):
            piece = connection.recv(1000)
            reply += piece
            if not piece or reply.startswith((b"SERVER_ERROR ", b"CLIENT_ERROR ")):
                return False
    except ConnectionError:
        return False
    return True


def main(address, asks):
    """Measures until the standard input ends, and prints what `Bystander` reads."""
    request, end = _request(asks)
    asks_again, has_one_connection = asks.startswith("set "), asks != "healthz"
    pause = 0.001 if has_one_connection and not asks_again else 0.02
    longest = overslept = 0.0
    count = refused = 0
    connection = _connect(address)
    while True:
        began = time.monotonic()
        if select.select([sys.stdin], [], [], pause)[0]:
            break
        overslept = max(overslept, time.monotonic() - began - pause)
        began = time.monotonic()
        if not has_one_connection and count > 0:
            connection.close()
            connection = _connect(address)
        while not _is_done(connection, request, end):
            if not asks_again:
                sys.exit("the daemon has closed the bystander's connection, or refused its request")
            refused += 1
            connection.close()
            time.sleep(0.001)  # between two attempts of a client that was refused
            connection = _connect(address)
        longest = max(longest, time.monotonic() - began)
        count += 1
        if count == 1:
            print("ready", flush=True)
    print(longest, overslept, refused)


if __name__ == "__main__":
    main(*sys.argv[1:])
