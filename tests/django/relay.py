"""A relay between a client and a server, which cuts a connection at a chosen moment of a
request."""

import contextlib
import os
import socket
import struct
import tempfile
import threading

BEFORE, AFTER = "before", "after"


class Relay:
    """Listens on a loopback port, or on a Unix socket, and relays each request to `target`. The bytes that
    one recv returns count as one request, or as one reply.

    `cut(moment)` arms the relay for the next request: it cuts BEFORE it passes the request on, or AFTER
    the server has answered, and then keeps the reply back. It calls `meanwhile` between the server's
    answer and the cut.
    """

    def __init__(self, target, local=False):
        """`target`: (host, port), or the path of a Unix socket."""
        self._target = target
        self._directory = tempfile.TemporaryDirectory(prefix="stayd-relay-") if local else None
        if local:
            self.path = os.path.join(self._directory.name, "relay.sock")
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(self.path)
            self._listener.listen()
            self.url = f"unix://{self.path}"
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"memcached://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._moment, self._meanwhile, self._reset = None, None, False
        self._threads, self._sockets = [], []
        self.passed_on = []
        """The requests that the server got."""

    def cut(self, moment, meanwhile=lambda: None, reset=False):
        """Arms the relay. `reset`: the client gets a TCP reset instead of an end of the stream."""
        self._meanwhile, self._reset, self._moment = meanwhile, reset, moment

    @property
    def is_armed(self):
        """True until a request was cut."""
        return self._moment is not None

    def __enter__(self):
        self._start(self._accept)
        return self

    def __exit__(self, *_):
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in [self._listener, *self._sockets]:
            each.close()
        if self._directory is not None:
            self._directory.cleanup()

    def _start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            family = socket.AF_INET if isinstance(self._target, tuple) else socket.AF_UNIX
            server = socket.socket(family, socket.SOCK_STREAM)
            server.connect(self._target)
            self._sockets += [client, server]
            self._start(self._serve, client, server)

    def _serve(self, client, server):
        with contextlib.suppress(OSError), client, server:
            while request := client.recv(1 << 20):
                moment, self._moment = self._moment, None
                if moment != BEFORE:
                    self.passed_on.append(request)
                    server.sendall(request)
                    reply = server.recv(1 << 20)
                if moment is None:
                    client.sendall(reply)
                    continue
                self._meanwhile()
                if self._reset:
                    linger_at_once = struct.pack("ii", 1, 0)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_at_once)
                return
