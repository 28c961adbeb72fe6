"""Records what a client sends to a server, byte for byte, while both talk to each other."""

import contextlib
import select
import socket
import threading


class Relay:
    """A TCP port on loopback that forwards everything to another port; use as a context manager.

    It serves one connection after the other, each until the client closes it.
    """

    def __init__(self, port):
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._sent = bytearray()
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._wake.close()
        self._thread.join()
        self._listener.close()
        self._woken.close()

    def take(self):
        """The bytes that clients have sent since the last call, if the server has answered them."""
        sent = bytes(self._sent)
        self._sent.clear()
        return sent

    def _serve(self):
        while True:
            ready, _, _ = select.select([self._listener, self._woken], [], [])
            if self._woken in ready:
                return
            client, _ = self._listener.accept()
            with client, socket.create_connection(self._target) as server:
                with contextlib.suppress(ConnectionError):
                    self._pass_on(client, server)

    def _pass_on(self, client, server):
        for connection in (client, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            ready, _, _ = select.select([client, server, self._woken], [], [])
            if self._woken in ready:
                return
            for source in ready:
                received = source.recv(65536)
                if not received:
                    return
                if source is client:
                    self._sent += received
                    server.sendall(received)
                else:
                    client.sendall(received)
