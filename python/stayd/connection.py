"""One connection to a pool: pymemcache's connection, with additions of this package.

It tries every address of a host, performs the TLS handshake, logs in, and reports how much of a
failed request had been sent.
"""

import _socket
import builtins
import contextlib
import errno
import importlib.util
import os
import socket
import ssl
import sys
import time
from typing import Any

from pymemcache import exceptions as library
from pymemcache.client.base import Client as LibraryClient
from pymemcache.client.base import _readline

from stayd.repetition import Sent

QUEUE_PAUSE_S = 0.005
"""The pause between two tries to connect to a Unix socket whose queue of connections is full."""

RECEIVE_BYTES = 4096
RECEIVE_MAX_BYTES = 1 << 20
"""The size of the first receive of an answer, and the largest size of the further ones."""

_VALUE_END = b"\r\nEND\r\n"
_STORED = {
    b"STORED\r\n": True, b"NOT_STORED\r\n": False, b"EXISTS\r\n": False, b"NOT_FOUND\r\n": None,
}

_TURNED_AWAY = b"ERROR Too many open connections"
_LOGIN_REFUSALS = (
    b"CLIENT_ERROR unauthenticated",
    b"CLIENT_ERROR authentication failure",
    b"CLIENT_ERROR bad authentication token format",
)
"""The last two are also replies to an ordinary `set` before the login, whose value the pool takes for a
login."""


class ConnectFailed(Exception):
    """There is no connection; nothing was sent. `refused`: nothing listens there, or the daemon
    closed the connection at once, as during a restart."""

    def __init__(self, reason, refused=False):
        super().__init__(reason)
        self.refused = refused


class NoDescriptor(Exception):
    """This process, or the machine, has reached its limit of open files. That says nothing about
    the server."""


class TurnedAway(Exception):
    """The server has replied that there are too many connections."""


class LoginFailed(Exception):
    """The pool requires a login, and the client has sent none or a wrong one."""


class Broken(Exception):
    """The connection ended before the answer. `sent` is a Sent."""

    def __init__(self, sent):
        super().__init__(sent)
        self.sent = sent


class TimedOut(Exception):
    """No answer came in time."""


class _NotSent(Exception):
    """The system did not accept the last part of a request."""


def _system_poll():
    """The system's select.poll. eventlet and gevent remove it or replace it with one that uses
    their loop. The calls here never wait, so the system's function is right with these libraries
    too."""
    spec = importlib.util.find_spec("select")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.poll, module.POLLIN


_poll, _POLLIN = _system_poll()
_write = os.write


class _Wire:
    """A socket with the interface that pymemcache expects. The socket itself waits, with its own
    timeout."""

    __slots__ = ("_send_all", "close", "recv")

    def __init__(self, sock):
        self.close, self.recv, self._send_all = sock.close, sock.recv, sock.sendall

    def sendall(self, data):
        """As the socket's method, but raises _NotSent if the connection has already ended."""
        try:
            self._send_all(data)
        except (builtins.ConnectionError, ssl.SSLError) as error:
            raise _NotSent from error


class _PlainWire(_Wire):
    """One of Python's own sockets. Python asks the system before each write whether there is room,
    and usually there is. So this class writes the request at once, and waits only for the rest."""

    __slots__ = ("_fileno",)

    def __init__(self, sock):
        super().__init__(sock)
        self._fileno = sock.fileno

    def sendall(self, data):
        """Like _Wire's method of this name."""
        try:
            sent = _write(self._fileno(), data)
        except BlockingIOError:
            sent = 0
        except builtins.ConnectionError as error:
            raise _NotSent from error
        if sent < len(data):
            super().sendall(memoryview(data)[sent:])


class _PairSerde:
    """Passes (bytes, flags) pairs unchanged in both directions. Client converts values outside the
    connection, so that a value that cannot be read does not count as a broken connection."""

    def serialize(self, key, value):
        return value

    def deserialize(self, key, value, flags):
        return value, flags


_pair_serde = _PairSerde()


class Connection(LibraryClient):
    """Opens its socket with the first request, and again after each error. Used by one thread at a
    time."""

    taken_s = idle_since_s = 0.0
    """When a request took the connection, and when the latest request ended. stayd.connections sets
    these."""

    _poll: Any = None
    _unread = b""
    """The unread bytes of the connection that was closed last."""

    def __init__(self, address, tls_context, login, connect_timeout_s, timeout_s):
        """`login`: a whole request to send first, or None. Times are seconds."""
        super().__init__(
            address.server,
            serde=_pair_serde,
            connect_timeout=connect_timeout_s,
            timeout=timeout_s,
            default_noreply=False,
        )
        self._tls_context = tls_context
        self._login = login
        self._is_local_socket = address.path is not None
        self.tells_unsent = self._is_local_socket and sys.platform == "linux"
        """True for a Unix socket. There, sending to a closed end fails, and a reset proves that the
        other end did not read the whole request: the kernel resets only a socket that is closed
        with unread bytes. Over TCP the first send after the end succeeds, and a reset may come from
        any machine on the way, at any time."""

    def close(self):
        """Closes the socket, if there is one."""
        # With TLS, nobody knows whether the unread bytes are a reply of the server.
        if self.sock is not None and self._tls_context is None:
            with contextlib.suppress(OSError):
                if self._poll.poll(0):
                    self._unread = self.sock.recv(len(_TURNED_AWAY))
        super().close()

    def abandon(self):
        """Closes this process's descriptor, and leaves the connection to the other process."""
        super().close()

    def close_if_dead(self):
        """Closes the socket if the other end has closed. Between requests there is nothing to read,
        so a readable socket means the end of the stream, an error, or an unexpected reply."""
        if self.sock is not None and self._poll.poll(0):
            self.close()

    def get(self, key):
        """(bytes, flags), or None."""
        found = self._fetch(b"get %b\r\n" % key, key)
        return found and found[0]

    def gets(self, key):
        """((bytes, flags), number), or (None, None)."""
        return self._fetch(b"gets %b\r\n" % key, key) or (None, None)

    def set(self, key, pair, expire):
        """True."""
        return self._put(b"set", key, pair, expire)

    def add(self, key, pair, expire):
        """True if it was stored."""
        return self._put(b"add", key, pair, expire)

    def replace(self, key, pair, expire):
        """True if it was stored."""
        return self._put(b"replace", key, pair, expire)

    def cas(self, key, pair, number, expire):
        """True if it was stored, False if the item has changed, None if there is no item."""
        return self._put(b"cas", key, pair, expire, b" %b" % self._check_cas(number))

    def _fetch(self, request, key):
        """((bytes, flags), number or None), or None. pymemcache's own method is made for many keys
        and takes twice as long."""
        if self.sock is None:
            self._connect()
        self.sock.sendall(request)
        data = self._receive()
        while b"\r\n" not in data:
            data += self._receive()
        if data == b"END\r\n":
            return None
        end = data.index(b"\r\n")
        words = data[:end].split(b" ")
        if words[0] != b"VALUE":
            self._raise_errors(data[:end], request.split(b" ", 1)[0])
        if words[:2] != [b"VALUE", key] or not 4 <= len(words) <= 5:
            raise library.MemcacheUnknownError(data[:32])
        begin = end + 2
        end = begin + int(words[3])
        missing = end + len(_VALUE_END) - len(data)
        if missing > 0:
            data = self._receive_rest(data, missing)
        if data[end:] != _VALUE_END:
            raise library.MemcacheUnknownError(data[end:][:32])
        return (data[begin:end], int(words[2])), words[4] if len(words) == 5 else None

    def _put(self, command, key, pair, expire, number=b""):
        data, flags = pair
        data = data if isinstance(data, bytes) else str(data).encode()
        if self.sock is None:
            self._connect()
        self.sock.sendall(
            b"%b %b %d %d %d%b\r\n%b\r\n" % (command, key, flags, expire, len(data), number, data)
        )
        line = self._receive()
        while not line.endswith(b"\r\n"):
            line += self._receive()
        if line not in _STORED:
            self._raise_errors(line[:-2], command)
            raise library.MemcacheUnknownError(line[:32])
        return _STORED[line]

    def _receive(self):
        data = self.sock.recv(RECEIVE_BYTES)
        if not data:
            raise library.MemcacheUnexpectedCloseError
        return data

    def _receive_rest(self, data, missing):
        """`data`, followed by this many more bytes."""
        pieces = [data]
        while missing > 0:
            piece = self.sock.recv(min(missing, RECEIVE_MAX_BYTES))
            if not piece:
                raise library.MemcacheUnexpectedCloseError
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def set_many(self, pairs, expire):
        """Sets each key of `pairs` to its (bytes, flags). Returns a dict of the keys that the
        server refused, with pymemcache's error for each. Every answer is read, so all other keys
        are stored."""
        commands = []
        for key, (data, flags) in pairs.items():
            data = data if isinstance(data, bytes) else str(data).encode()
            commands.append(b"set %b %d %d %d\r\n%b\r\n" % (key, flags, expire, len(data), data))
        if self.sock is None:
            self._connect()
        refused, rest = {}, b""
        try:
            self.sock.sendall(b"".join(commands))
            for key in pairs:
                rest, line = _readline(self.sock, rest)
                if line == b"STORED":
                    continue
                try:
                    self._raise_errors(line, b"set")
                except library.MemcacheServerError as error:
                    refused[key] = error
                    continue
                raise library.MemcacheUnknownError(line[:32])
        except Exception:
            self.close()
            raise
        return refused

    def why_failed(self, error):
        """Converts an error of a request on this connection: to ConnectFailed, TurnedAway,
        LoginFailed, Broken, TimedOut, or `error` itself."""
        if isinstance(error, (library.MemcacheUnexpectedCloseError, _NotSent, OSError)):
            if self._unread == _TURNED_AWAY:
                return TurnedAway()
        if isinstance(error, _NotSent):
            return Broken(Sent.NOT_ALL)
        if isinstance(error, (socket.timeout, BlockingIOError)):
            return TimedOut()
        if isinstance(error, builtins.ConnectionResetError) and self.tells_unsent:
            return Broken(Sent.NOT_ALL)
        if isinstance(error, (library.MemcacheUnexpectedCloseError, OSError)):
            return Broken(Sent.ALL)
        return error

    def _connect(self):
        self.close()
        self._unread = b""
        try:
            sock = self._connect_local() if self._is_local_socket else self._connect_tcp()
        except OSError as error:
            if _has_no_descriptor(error):
                raise NoDescriptor(os.strerror(errno.EMFILE)) from error
            raise ConnectFailed(error.strerror or str(error), self._is_refusal(error)) from error
        poll = _poll()
        poll.register(sock, _POLLIN)
        sock.settimeout(self.timeout)
        is_plain = self._tls_context is None and _is_plain(sock)
        self.sock = _PlainWire(sock) if is_plain else _Wire(sock)
        self._poll = poll
        if self._login is not None:
            self._log_in()

    def _connect_tcp(self):
        sock = socket.create_connection(self.server, self.connect_timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls_context is None:
                return sock
            return self._tls_context.wrap_socket(sock, server_hostname=self.server[0])
        except BaseException:
            sock.close()
            raise

    def _connect_local(self):
        deadline_s = time.monotonic() + self.connect_timeout
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(self.connect_timeout)
                sock.connect(self.server)
                return sock
            except BaseException as error:
                sock.close()
                queue_is_full = isinstance(error, BlockingIOError)
                if not queue_is_full or time.monotonic() >= deadline_s:
                    raise
            time.sleep(QUEUE_PAUSE_S)

    def _is_refusal(self, error):
        if isinstance(error, FileNotFoundError):
            return self._is_local_socket
        return isinstance(error, (builtins.ConnectionError, ssl.SSLEOFError))

    def _log_in(self):
        try:
            self.sock.sendall(self._login)
            answer = b""
            while not answer.endswith(b"\r\n"):
                piece = self.sock.recv(256)
                if not piece:
                    raise library.MemcacheUnexpectedCloseError
                answer += piece
            self._raise_errors(answer[:-2], b"login")
            if answer != b"STORED\r\n":
                raise library.MemcacheUnknownError(answer[:-2])
        except BaseException as error:
            self.close()
            failure = self.why_failed(error)
            if isinstance(failure, (Broken, TimedOut)):
                refused = isinstance(failure, Broken)
                raise ConnectFailed("it did not answer the login", refused) from error
            raise

    def _raise_errors(self, line, name):
        if line.startswith(_TURNED_AWAY):
            raise TurnedAway
        if line.startswith(_LOGIN_REFUSALS):
            raise LoginFailed
        super()._raise_errors(line, name)


def _has_no_descriptor(error):
    if isinstance(error, socket.gaierror):
        # getaddrinfo also reports this error if it could not open its files (hosts, resolv.conf).
        try:
            socket.socket().close()
            return False
        except OSError as found:
            error = found
    return error.errno in (errno.EMFILE, errno.ENFILE)


def _is_plain(sock):
    """True for Python's own sockets, False for those of gevent and similar libraries."""
    return type(sock).recv is _socket.socket.recv and os.name == "posix"
