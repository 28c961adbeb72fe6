"""Conversion of values to bytes: objects with pymemcache's serde protocol.

    serialize(key, value)            -> (bytes, flags)
    deserialize(key, bytes, flags)   -> value

`flags` is the number that the memcached protocol keeps beside a value. Any serde of pymemcache
(`pymemcache.serde.pickle_serde`, `compressed_serde`) fits as well.
"""

import json
from typing import Any

from stayd import packing

FLAG_BYTES = 0
FLAG_INTEGER = 1 << 1
FLAG_TEXT = 1 << 4
FLAG_JSON = 1 << 5
"""pymemcache's numbers, so that both packages can read a cache; JSON has an additional bit."""

FLAG_ZSTD = 1 << 6
"""Set in addition to the other flags: the value is a zstd frame without its four magic bytes. The
other flags describe the contents of the frame."""

PACKED_MIN = 512
"""Bytes. For smaller values, a frame without a dictionary saves little and takes 10 to 20
microseconds."""

UNPACKED_MAX = 64 << 20
"""Bytes. Longer values are not packed, and no frame unpacks to more."""


class BytesSerde:
    """Bytes in, bytes out. Flags are ignored, so nothing in a pool can choose how it is read."""

    def serialize(self, key, value):
        """The value itself; TypeError for anything but bytes."""
        if not isinstance(value, bytes):
            raise TypeError(f"a value must be bytes, not {type(value).__name__}")
        return value, FLAG_BYTES

    def deserialize(self, key, value, flags):
        """The bytes as they are."""
        return value


class JSONSerde:
    """Bytes, text and whole numbers as they are, everything else as JSON; never a pickle.

    With this serde, an attacker who can write to the cache cannot run code in the web process.
    Values that JSON cannot express (a model, a query set) cannot be stored; a tuple becomes a list.
    """

    def serialize(self, key, value):
        """TypeError or ValueError for what JSON cannot express."""
        if type(value) is bytes:
            return value, FLAG_BYTES
        if type(value) is str:
            return value.encode(), FLAG_TEXT
        if type(value) is int:
            return b"%d" % value, FLAG_INTEGER
        return json.dumps(value, separators=(",", ":")).encode(), FLAG_JSON

    def deserialize(self, key, value, flags):
        """ValueError for bytes that this class did not write."""
        if flags == FLAG_BYTES:
            return value
        if flags == FLAG_TEXT:
            return value.decode()
        if flags == FLAG_INTEGER:
            return int(value)
        if flags == FLAG_JSON:
            return json.loads(value)
        raise ValueError(f"the value under {key!r} has flags {flags}: it is not of this cache")


class PackingSerde:
    """Packs another serde's bytes with zstd, if they are at least PACKED_MIN bytes and become
    shorter.

    Packed values are also read with `packs` False, so that both kinds of processes can share a
    cache.
    """

    def __init__(self, inner, packs=True):
        """Raises UnreadableValue if `packs` is True and zstd is not installed."""
        self._inner = inner
        self._packs = packs
        self._packing: Any = None
        if packs or packing.can_pack:
            self._packing = packing.new_packing(limit=UNPACKED_MAX)

    def serialize(self, key, value):
        """As the inner serde's serialize."""
        data, flags = self._inner.serialize(key, value)
        worth_it = self._packs and isinstance(data, bytes) and len(data) >= PACKED_MIN
        if worth_it and self._packing is not None and len(data) <= UNPACKED_MAX:
            packed = self._packing.pack(data)
            if len(packed) < len(data):
                return packed, flags | FLAG_ZSTD
        return data, flags

    def deserialize(self, key, value, flags):
        """As the inner serde's deserialize; ValueError for a damaged frame, UnreadableValue without
        zstd."""
        if flags & FLAG_ZSTD:
            reads = self._packing or packing.new_packing(limit=UNPACKED_MAX)
            value, flags = reads.unpack(value), flags & ~FLAG_ZSTD
        return self._inner.deserialize(key, value, flags)


bytes_serde = BytesSerde()
json_serde = JSONSerde()
