"""The binary protocol for tests: requests are made and responses taken apart here."""

import struct
from typing import NamedTuple

HEADER = struct.Struct(">BBHBBHIIQ")

GET, SET, ADD, REPLACE, DELETE, INCREMENT, DECREMENT, QUIT, FLUSH = range(0x09)
GETQ, NOOP, VERSION, GETK, GETKQ, APPEND, PREPEND, STAT = range(0x09, 0x11)
SETQ, ADDQ, REPLACEQ, DELETEQ, INCREMENTQ, DECREMENTQ, QUITQ, FLUSHQ = range(0x11, 0x19)
APPENDQ, PREPENDQ, VERBOSITY, TOUCH, GAT, GATQ = range(0x19, 0x1F)
SASL_LIST, SASL_AUTH, SASL_STEP, GATK, GATKQ = range(0x20, 0x25)

OK, NOT_FOUND, EXISTS, TOO_LARGE, INVALID, NOT_STORED, NON_NUMERIC = range(7)
AUTH_ERROR, UNKNOWN_COMMAND, NO_MEMORY = 0x20, 0x81, 0x82


class Response(NamedTuple):
    """One response, its body taken apart."""

    opcode: int
    status: int
    extras: bytes
    key: bytes
    value: bytes
    opaque: int
    cas: int


def request(opcode, key=b"", extras=b"", value=b"", opaque=0, cas=0, *, magic=0x80, key_size=None,
            extras_size=None, body_size=None, datatype=0, vbucket=0):
    """The bytes of a request. `magic` and the parameters after it replace the correct values in the
    header."""
    header = HEADER.pack(
        magic, opcode, len(key) if key_size is None else key_size,
        len(extras) if extras_size is None else extras_size, datatype, vbucket,
        len(extras) + len(key) + len(value) if body_size is None else body_size, opaque, cas)
    return header + extras + key + value


def store(flags=0, expiry=0):
    """The extras of set, add and replace."""
    return struct.pack(">II", flags, expiry)


def count(delta=1, initial=0, expiry=0):
    """The extras of increment and decrement."""
    return struct.pack(">QQI", delta, initial, expiry)


def seconds(expiry):
    """The extras of touch, gat and flush."""
    return struct.pack(">I", expiry)


def responses(data):
    """All responses in `data`, which must be whole."""
    result = []
    while data:
        magic, opcode, key_size, extras_size, datatype, status, body_size, opaque, cas = (
            HEADER.unpack_from(data))
        body = data[HEADER.size:HEADER.size + body_size]
        assert magic == 0x81 and datatype == 0 and len(body) == body_size, data[:200]
        extras, rest = body[:extras_size], body[extras_size:]
        result.append(Response(opcode, status, extras, rest[:key_size], rest[key_size:], opaque,
                               cas))
        data = data[HEADER.size + body_size:]
    return result


def read_response(connection):
    """The next response on a Raw connection."""
    header = connection.read_exact(HEADER.size)
    return responses(header + connection.read_exact(HEADER.unpack(header)[6]))[0]


def ask(connection, *arguments, **options):
    """Sends one request and returns its response."""
    connection.send(request(*arguments, **options))
    return read_response(connection)


def expect_in_step(connection):
    """Fails unless the very next response answers a noop."""
    response = ask(connection, NOOP, opaque=0xFEDCBA98)
    assert response == (NOOP, OK, b"", b"", b"", 0xFEDCBA98, 0), response
