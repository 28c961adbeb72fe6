"""A daemon whose listening sockets are held open by the test, as systemd does (LISTEN_FDS)."""

import os
import socket
import subprocess
import sys

from support.servers import Stayd

# Passes the descriptors as 3, 4 ... and becomes the command, so that PID and name of the process stay.
PASS = """
import fcntl, os, sys
count = int(sys.argv[1])
given, command = sys.argv[2:2 + count], sys.argv[2 + count:]
copies = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 500) for fd in given]
os.closerange(3, 500)
for target, fd in enumerate(copies, 3):
    os.dup2(fd, target)
    os.close(fd)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.execv(command[0], command)
"""


def listening(address, mode=0o660):
    """A socket that listens on (HOST, PORT), or on the path of a Unix socket."""
    if isinstance(address, tuple):
        made = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    else:
        made = socket.socket(socket.AF_UNIX)
        made.bind(address)
        os.chmod(address, mode)
    made.listen(128)
    return made


class Activated(Stayd):
    """Passes a socket for each address in the configuration.

    `passed` has the sockets (or files) with their names; a test may change it before the start.
    `variables` replaces variables, and removes those that are None.
    """

    def __init__(self, variables=None, **options):
        super().__init__(**options)
        self.variables = variables or {}
        self.passed = []
        for pool in self.pool_names():
            for listen in self._listens(pool):
                host, _, port = listen.rpartition(":")
                address = str(self.run_dir / port) if host == "unix" else (host, int(port))
                self.passed.append((listening(address), pool))

    def _spawn(self, log):
        descriptors = [item.fileno() for item, _ in self.passed]
        variables = {"LISTEN_FDS": str(len(self.passed)),
                     "LISTEN_FDNAMES": ":".join(name for _, name in self.passed),
                     **self.variables}
        environment = {**self.environment(), **variables}
        environment = {name: value for name, value in environment.items() if value is not None}
        return subprocess.Popen(
            [sys.executable, "-S", "-E", "-c", PASS, str(len(descriptors)),
             *map(str, descriptors), *self.command()],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, env=environment,
            pass_fds=descriptors)

    def _discard(self):
        for item, _ in self.passed:
            item.close()
        super()._discard()
