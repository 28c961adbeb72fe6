"""A server that answers from a script, for behaviour that a real daemon does not show on demand."""

import socket
import threading


def take_request(connection):
    """Returns the bytes of one recv. Answers stayd_map as memcached does, and does not return it: the
    native client may ask for the pool's mappings before its first read."""
    while True:
        request = connection.recv(65536)
        if request != b"stayd_map\r\n":
            return request
        connection.sendall(b"ERROR\r\n")


class Scripted:
    """Listens on a loopback port. `script` has one list for each connection: the answers (bytes) to the
    requests on that connection, in order. After the last answer the server reads one more request and
    hangs up. `requests` has all that the server has read. The bytes of one recv count as one request,
    because the clients send small commands.
    """

    def __init__(self, *script):
        self.requests = []
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.port = self._listener.getsockname()[1]
        self.url = f"memcached://127.0.0.1:{self.port}/"
        self._connection = None
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        # shutdown wakes the thread out of accept and recv; close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._connection is not None:
            try:
                self._connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._thread.join(10)

    def _serve(self):
        for answers in self._script:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connection = connection
            with connection:
                connection.settimeout(10)
                for answer in [*answers, None]:
                    try:
                        request = take_request(connection)
                    except OSError:
                        break
                    if not request:
                        break
                    self.requests.append(request)
                    if answer is None:
                        break
                    connection.sendall(answer)
