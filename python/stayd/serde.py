"""How values become bytes: objects with pymemcache's serde protocol.

    serialize(key, value)            -> (bytes, flags)
    deserialize(key, bytes, flags)   -> value

`flags` is the number that the memcached protocol keeps beside a value. Any serde of pymemcache
(`pymemcache.serde.pickle_serde`, `compressed_serde`) fits as well.
"""

import json

FLAG_BYTES = 0
FLAG_INTEGER = 1 << 1
FLAG_TEXT = 1 << 4
FLAG_JSON = 1 << 5
"""pymemcache's numbers for what it has too, so that a cache can be read by either; JSON has a bit
of its own."""


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
    """Bytes, text and whole numbers as they are, all else as JSON; never a pickle.

    For a cache whose port is within reach of somebody who must not run code in the web process.
    What JSON has no form for (a model, a query set, a tuple as such) cannot be kept this way.
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


bytes_serde = BytesSerde()
json_serde = JSONSerde()
