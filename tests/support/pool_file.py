"""A pool file with COUNT known items, to be damaged, and the places of its bytes
(tests/durability/conftest.py).

A record is found in the file by its key, which occurs once. A record without options has a header of 24
bytes, then the key and the value (src/store/layout.h).
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
