"""A pool file with COUNT known items, and where its bytes are: to be damaged (tests/durability/conftest.py).

Where a record lies in a file is found by its key, which is unique there: without options a record
is 24 bytes of header, key and value (src/store/layout.h).
"""

import struct

PAGE = 4096
RECORD_HEADER = 24


def key_of(number):
    return b"victim-%04d" % number


def value_of(number):
    return b"value %d " % number * 20


COUNT = 1000


def record_at(data, number):
    """Offset of a record in a file's bytes."""
    return data.index(key_of(number)) - RECORD_HEADER


def segment_bytes(data):
    return struct.unpack_from("<I", data, 12)[0]


def segment_of(data, offset):
    return (offset - PAGE) // segment_bytes(data)


def flip(path, offset, bit=0):
    """Changes one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)
