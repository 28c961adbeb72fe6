"""A daemon whose admin server wants a login, over TLS if it has certificates."""

import base64
import contextlib
import http.client
import re
import shutil
import signal
import subprocess

from support import certificates
from support.servers import Stayd, stayd_binary, wait_until


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Guarded(Stayd):
    """A daemon whose admin server wants a login, and takes TLS if there are certificates (`made`)."""

    def __init__(self, users="web:secret\n", made=None, server=None, **more):
        server = {"admin_auth_file": "{dir}/admin.users", **(server or {})}
        if made is not None:
            server |= {"admin_tls_cert": "{dir}/cert.pem", "admin_tls_key": "{dir}/key.pem"}
        super().__init__(server=server, **more)
        self.users = self.directory / "admin.users"
        self.made = made
        self.write(users)
        if made is not None:
            self.put("server")

    def write(self, users, mode=0o600):
        self.users.write_text(users)
        self.users.chmod(mode)

    def put(self, certificate, key=None):
        """The files of TLS are now these of `made`."""
        shutil.copy(self.made[f"{certificate}.pem"], self.directory / "cert.pem")
        shutil.copy(self.made[f"{key or certificate}.key"], self.directory / "key.pem")

    def where(self):
        host, port = self.admin_url().rpartition("/")[2].split(":")
        return host, int(port)

    def reload(self):
        """SIGHUP; returns what was logged until the file of users has been read."""
        before = len(self.log)
        self.process.send_signal(signal.SIGHUP)
        said = "admin_auth_file .* (has been read again|has errors)"
        wait_until(lambda: re.search(said, self.log[before:]))
        return self.log[before:]

    def open(self, source=None):
        """A connection of an HTTP client."""
        options = {"timeout": 30, "source_address": source and (source, 0)}
        if self.made is None:
            return http.client.HTTPConnection(*self.where(), **options)
        return http.client.HTTPSConnection(*self.where(), context=certificates.context(self.made), **options)

    def ask(self, path="/metrics", user=None, password="secret", source=None, **headers):
        """The status, the headers and the text of a reply."""
        if user is not None:
            headers["Authorization"] = basic(user, password)
        with contextlib.closing(self.open(source)) as connection:
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read().decode()


def check(config):
    """What the daemon says of a configuration; it does not start."""
    command = [stayd_binary(), "--check", "-c", config]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)
