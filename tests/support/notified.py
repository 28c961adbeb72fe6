"""A socket like systemd's, to which the daemon reports its state (NOTIFY_SOCKET)."""

import contextlib
import socket


class Notified:
    """`name`: the path of a file, or an abstract name behind @."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(20)
        self.socket.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def receive(self):
        """The next message: its lines, as a dictionary."""
        lines = self.socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def wait_for(self, word):
        """The next message with this word."""
        while True:
            message = self.receive()
            if word in message:
                return message

    def take_all(self):
        """The messages that have arrived already."""
        messages = []
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self.receive())
        self.socket.settimeout(20)
        return messages
