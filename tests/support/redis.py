"""Debian's redis-server, as a server in the sense of support.servers."""

import shutil
import socket

from support.ports import free_port
from support.servers import ROOT, Server

REDIS = shutil.which("redis-server") or str(ROOT / "build/peers/usr/bin/redis-server")


class Redis(Server):
    """A Redis that keeps nothing on the disk."""

    def __init__(self):
        super().__init__()
        self._port = free_port()

    def command(self):
        return [REDIS, "--port", str(self._port), "--bind", "127.0.0.1", "--save", ""]

    def address(self, pool=None):
        return f"127.0.0.1:{self._port}"

    def _addresses(self):
        yield ("127.0.0.1", self._port)

    def _answers(self, address):
        try:
            with socket.create_connection(address, 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith(b"+PONG")
        except OSError:
            return False
