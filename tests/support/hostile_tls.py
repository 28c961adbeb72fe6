"""A TLS client that can send what Python's `ssl` cannot: post-handshake messages and empty records.

It calls OpenSSL by ctypes. The socket, and the bytes on it, are in the test's hands.
"""

import contextlib
import ctypes
import ctypes.util
import socket

_ssl = ctypes.CDLL(ctypes.util.find_library("ssl") or "libssl.so.3")
_crypto = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")


def _function(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


_pointer, _int, _long = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
_client_method = _function(_ssl, "TLS_client_method", _pointer)
_context_new = _function(_ssl, "SSL_CTX_new", _pointer, _pointer)
_context_free = _function(_ssl, "SSL_CTX_free", None, _pointer)
_context_ctrl = _function(_ssl, "SSL_CTX_ctrl", _long, _pointer, _int, _long, _pointer)
_new = _function(_ssl, "SSL_new", _pointer, _pointer)
_free = _function(_ssl, "SSL_free", None, _pointer)
_set_bio = _function(_ssl, "SSL_set_bio", None, _pointer, _pointer, _pointer)
_connect = _function(_ssl, "SSL_connect", _int, _pointer)
_handshake = _function(_ssl, "SSL_do_handshake", _int, _pointer)
_key_update = _function(_ssl, "SSL_key_update", _int, _pointer, _int)
_write = _function(_ssl, "SSL_write", _int, _pointer, ctypes.c_char_p, _int)
_read = _function(_ssl, "SSL_read", _int, _pointer, ctypes.c_char_p, _int)
_memory = _function(_crypto, "BIO_s_mem", _pointer)
_bio_new = _function(_crypto, "BIO_new", _pointer, _pointer)
_bio_read = _function(_crypto, "BIO_read", _int, _pointer, ctypes.c_char_p, _int)
_bio_write = _function(_crypto, "BIO_write", _int, _pointer, ctypes.c_char_p, _int)

SET_MIN_VERSION, SET_MAX_VERSION = 123, 124
VERSIONS = {"TLSv1_2": 0x0303, "TLSv1_3": 0x0304}


class HostileTls:
    """A connection whose handshake has ended when the object exists. It checks no certificate."""

    def __init__(self, where, version="TLSv1_3"):
        """`where` is an address, or a socket that is connected to one."""
        self.socket = socket.create_connection(where, 10) if isinstance(where, tuple) else where
        self._context = _context_new(_client_method())
        for limit in (SET_MIN_VERSION, SET_MAX_VERSION):
            _context_ctrl(self._context, limit, VERSIONS[version], None)
        self._room = ctypes.create_string_buffer(1 << 14)
        self._incoming, self._outgoing = _bio_new(_memory()), _bio_new(_memory())
        self._ssl = _new(self._context)
        _set_bio(self._ssl, self._incoming, self._outgoing)
        while _connect(self._ssl) != 1:
            self.socket.sendall(self.made())
            self._receive()
        self.socket.sendall(self.made())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        _free(self._ssl)
        _context_free(self._context)

    def made(self):
        """The records that wait to be sent."""
        pieces = []
        while (size := _bio_read(self._outgoing, self._room, len(self._room))) > 0:
            pieces.append(self._room[:size])
        return b"".join(pieces)

    def _receive(self):
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise EOFError("the server closed")
        _bio_write(self._incoming, piece, len(piece))

    def key_updates(self, count, requested=False):
        """Returns records with so many KeyUpdate messages."""
        for _ in range(count):
            assert _key_update(self._ssl, 1 if requested else 0) == 1
            assert _handshake(self._ssl) == 1
        return self.made()

    def flood(self, records):
        """Sends all of them, unless the server closes before."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(records)

    def data(self, data):
        """Returns records with `data`."""
        assert _write(self._ssl, data, len(data)) == len(data)
        return self.made()

    def ask(self, request):
        """Sends the request; returns the first bytes that come back."""
        self.socket.sendall(self.data(request))
        room = ctypes.create_string_buffer(1 << 16)
        while (size := _read(self._ssl, room, len(room))) <= 0:
            self._receive()
        return room.raw[:size]

    def is_closed(self, timeout=20):
        """Reads to the end of the stream; False if the end does not come."""
        self.socket.settimeout(timeout)
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True
