"""Hostile clients, each a process of its own, which runs until it is killed:

    with Attack("touches", stayd.port("cache")):
        ...

As a program: hostile.py KIND HOST:PORT [CONNECTIONS]. It prints `ready` when the attack is under
way, connects again when it is refused or the daemon restarts, and prints `closed` each time that it
loses a connection.
"""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

KEY_UPDATES = 20_000
"""A worker that answered so many at once would need a large part of a second."""


class Attack:
    """Runs `kind` against 127.0.0.1:`port` from the beginning of the `with` to its end, on so many
    connections, or on as many as CONNECTIONS says."""

    def __init__(self, kind, port, connections=None):
        self._command = [sys.executable, "-E", __file__, kind, f"127.0.0.1:{port}"]
        self._command += [str(connections)] if connections is not None else []
        self._lines = []
        self._process = None
        self._reader = None

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        for line in self._process.stdout:
            if line == "ready\n":
                break
            self._lines.append(line.strip())
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def _read(self):
        for line in self._process.stdout:
            self._lines.append(line.strip())

    @property
    def closed(self):
        """How many of its connections the daemon has ended."""
        return self._lines.count("closed")

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._reader.join()  # before the close: two threads must not use the file at the same time
        self._process.stdout.close()


def connect(address):
    """A connection, made as soon as there is a daemon."""
    while True:
        try:
            return socket.create_connection(address, timeout=30)
        except OSError:
            time.sleep(0.02)


def read_end(connection, end):
    """Reads to `end`, and throws away what it reads."""
    tail = b""
    while not tail.endswith(end):
        piece = connection.recv(1 << 18)
        if not piece:
            raise EOFError
        tail = (tail + piece)[-len(end):]


def touches(connection, turn):
    """Each request makes the daemon search or rewrite a value of a megabyte."""
    size = 1_000_000
    while True:
        connection.sendall(b"set big 0 0 %d\r\n%b\r\n" % (size, b"b" * size))
        read_end(connection, b"\r\n")
        connection.sendall(b"touch big 1000 noreply\r\ntouch big 2000 noreply\r\n" * 20 + b"mn\r\n")
        read_end(connection, b"MN\r\n")
        turn()


def dumps(connection, turn):
    """Asks for a list of all items, again and again."""
    while True:
        connection.sendall(b"lru_crawler metadump all\r\n")
        line = b""
        while not line.endswith((b"END\r\n", b"BUSY currently processing crawler request\r\n")):
            piece = connection.recv(1 << 18)
            if not piece:
                raise EOFError
            line = (line + piece)[-60:]
            if b"ERROR" in line or b"BUSY" in line:
                break
        turn()


def certificates(connection, turn):
    """Asks for the certificates to be read again, again and again."""
    while True:
        connection.sendall(b"refresh_certs\r\n" * 500 + b"mn\r\n")
        connection.recv(1)
        turn()
        read_end(connection, b"MN\r\n")


def drip(connection, turn):
    """A large set that never ends. Its memory is not available to the others."""
    connection.sendall(b"set drip 0 0 1000000\r\n" + b"d" * 950_000)
    turn()
    while True:
        time.sleep(0.2)
        connection.sendall(b"d")
        connection.settimeout(0.001)
        with contextlib.suppress(TimeoutError):
            if not connection.recv(1000):
                raise EOFError
        connection.settimeout(30)


def hoard(connection, turn):
    """A connection that does nothing."""
    turn()
    while connection.recv(1000):
        pass
    raise EOFError


def errors(connection, turn):
    """A client without a login, which sends requests faster than it reads the refusals."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    while True:
        connection.settimeout(0.0)
        with contextlib.suppress(BlockingIOError):
            while True:
                connection.send(b"get key\r\n" * 100)
        connection.settimeout(30)
        if not connection.recv(1000):
            raise EOFError
        turn()
        time.sleep(0.05)


def http(connection, turn):
    """Half a request."""
    connection.sendall(b"GET /metrics HT")
    hoard(connection, turn)


def passwords(connection, turn):
    """Sends one wrong password after another."""
    number = 0
    while True:
        number += 1
        value = b"bob wrong%d" % number
        connection.sendall(b"set login 0 0 %d\r\n%b\r\n" % (len(value), value))
        read_end(connection, b"\r\n")
        turn()


def handshakes(connection, turn):
    """Makes one expensive TLS handshake after another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(connection):
        turn()


def key_updates(connection, turn):
    """Sends TLS records that contain only KeyUpdate messages. All are made first, and then sent at once."""
    from hostile_tls import HostileTls  # found only when this file runs as a program

    with HostileTls(connection) as client:
        records = client.key_updates(KEY_UPDATES)
        turn()
        connection.sendall(records)
        connection.settimeout(2)
        connection.recv(1 << 16)


CONNECTIONS = {
    touches: 4, dumps: 50, certificates: 2, drip: 67, hoard: 70, errors: 4, http: 40, passwords: 8,
    handshakes: 4, key_updates: 2,
}


def main(kind, address, connections=None):
    """Attacks until the process is killed."""
    attack = next(function for function in CONNECTIONS if function.__name__ == kind)
    count = int(connections or CONNECTIONS[attack])
    host, port = address.rsplit(":", 1)
    begun = threading.Barrier(count + 1)

    def run():
        waits = True

        def turn():
            nonlocal waits
            if waits:
                waits = False
                begun.wait()

        while True:
            try:
                with connect((host, int(port))) as connection:
                    attack(connection, turn)
            except (OSError, EOFError, ssl.SSLError):
                print("closed", flush=True)
                turn()
                time.sleep(0.02)

    for _ in range(count):
        threading.Thread(target=run, daemon=True).start()
    begun.wait()
    print("ready", flush=True)
    while os.getppid() != 1:
        time.sleep(0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
