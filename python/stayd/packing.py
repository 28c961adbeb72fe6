"""Packs sessions with zstd and a dictionary that was trained on sessions.

    first byte     what follows
    0              the value as it is, which begins with a byte below 32 itself
    1              a zstd frame, made with dictionaries/sessions-1.zdict, without its four magic bytes
    2 to 30        nothing yet: for later versions of this package
    31             never packed: stayd.django.session_items stores it while a session moves
    32 and above   (the first byte belongs to the value) the value as it is: JSON begins with "{"

`pack` makes form 1 if that is shorter than the value as it is. Every form stays readable in all
later versions: a released dictionary never changes, and a better one gets the next number. A frame
must contain the value's length, or it is not read; so nothing unpacks to more than UNPACKED_MAX.

The extension (stayd._client) contains zstd. Without the extension, Python 3.14 and later use
Python's own zstd, and earlier versions use the package `zstandard`. Without any zstd, values are
not packed, and reading a packed value raises UnreadableValue: the value is not damaged, and the
message says what to install.
"""

import collections
import functools
import importlib
import pathlib
from typing import Any

from stayd.errors import UnreadableValue

UNPACKED_MAX = 1 << 20
"""Bytes. Longer values are not packed: the dictionary is made for small sessions."""

LEVEL = 3
"""On 230-byte sessions, levels from 5 on take five times as long and save only 5 % more."""

PLAIN, SESSIONS_1, RESERVED, TEXT = 0, 1, 31, 32
"""First bytes, as above."""

_MAGIC = b"\x28\xb5\x2f\xfd"
_DICTIONARY = pathlib.Path(__file__).parent / "dictionaries" / "sessions-1.zdict"


class _PackageFrames:
    """zstd frames by the package `zstandard`. One thread at a time may use an object of zstandard,
    so each call takes one out of a deque. A deque needs no lock, also in the child of a fork."""

    def __init__(self, dictionary, library):
        self._library = library
        self._dictionary = None
        if dictionary:
            self._dictionary = library.ZstdCompressionDict(dictionary)
            self._dictionary.precompute_compress(level=LEVEL)
        self._compressors: collections.deque[Any] = collections.deque()
        self._decompressors: collections.deque[Any] = collections.deque()

    def compress(self, data):
        try:
            compressor = self._compressors.pop()
        except IndexError:
            compressor = self._library.ZstdCompressor(
                level=LEVEL, dict_data=self._dictionary, write_content_size=True,
                write_checksum=False, write_dict_id=False,
            )
        frame = compressor.compress(data)
        self._compressors.append(compressor)
        return frame

    def decompress(self, frame, size):
        try:
            decompressor = self._decompressors.pop()
        except IndexError:
            decompressor = self._library.ZstdDecompressor(dict_data=self._dictionary)
        try:
            data = decompressor.decompress(frame)  # at most the size that the frame names
            # `decompress` ignores bytes behind the frame. zstandard 0.18 shows them only with
            # decompressobj.
            whole = decompressor.decompressobj()
            whole.decompress(frame)
        except self._library.ZstdError as error:
            raise ValueError(str(error)) from None
        finally:
            self._decompressors.append(decompressor)
        if whole.unused_data:
            raise ValueError("the frame is not one whole frame")
        return data


class _PythonFrames:
    """zstd frames by Python's own module `compression.zstd`."""

    def __init__(self, dictionary, library):
        self._library = library
        self._dictionary = library.ZstdDict(dictionary) if dictionary else None
        parameter = library.CompressionParameter
        self._options = {
            parameter.compression_level: LEVEL, parameter.content_size_flag: 1,
            parameter.checksum_flag: 0, parameter.dict_id_flag: 0,
        }
        self._compressors: collections.deque[Any] = collections.deque()

    def compress(self, data):
        try:
            compressor = self._compressors.pop()
        except IndexError:
            compressor = self._library.ZstdCompressor(
                options=self._options, zstd_dict=self._dictionary
            )
        frame = compressor.compress(data, compressor.FLUSH_FRAME)
        self._compressors.append(compressor)
        return frame

    def decompress(self, frame, size):
        decompressor = self._library.ZstdDecompressor(self._dictionary)
        try:
            data = decompressor.decompress(frame, max_length=size + 1)
        except self._library.ZstdError as error:
            raise ValueError(str(error)) from None
        if not decompressor.eof or decompressor.unused_data:
            raise ValueError("the frame is not one whole frame")
        return data


def _find_frames():
    """(one of the two classes above, its library), for the library that is installed; (None, None)
    if none is installed."""
    try:
        from compression import zstd

        return _PythonFrames, zstd
    except ImportError:
        pass
    try:
        import zstandard

        return _PackageFrames, zstandard
    except ImportError:
        return None, None


_frames_class, _library = _find_frames()

_extension: Any = None
try:
    _extension = importlib.import_module("stayd._client")
except ImportError:
    pass

can_pack = _extension is not None or _frames_class is not None
"""False if no zstd is installed."""

REMEDY = "Install Debian's python3-zstandard, or with pip: zstandard (Python 3.14 has its own)."


def new_frames(dictionary=None):
    """An object with compress(data) and decompress(frame, size), for this dictionary (bytes) or
    none."""
    return _frames_class(dictionary, _library)


def content_size(frame_head):
    """The content size in the header of a frame without its magic number (RFC 8878, 3.1.1.1), or
    ValueError."""
    form = frame_head[0] if frame_head else 0
    is_whole = form & 0x20  # then the header has no window byte
    length = (1 if is_whole else 0, 2, 4, 8)[form >> 6]
    at = (1 if is_whole else 2) + (0, 1, 2, 4)[form & 3]
    field = frame_head[at : at + length]
    if not length or len(field) < length:
        raise ValueError("the frame does not name its size")
    return int.from_bytes(field, "little") + (256 if length == 2 else 0)


HEAD = 14
"""`content_size` needs at most this many bytes after the magic number."""


def new_packing(dictionary=None, limit=UNPACKED_MAX):
    """A Packing, or the extension's, which is faster. UnreadableValue if there is no zstd."""
    if not can_pack:
        raise UnreadableValue(f"the value is packed with zstd, which is not installed. {REMEDY}")
    if _extension is not None:
        return _extension.Packing(dictionary, limit, LEVEL)
    return Packing(dictionary, limit)


class Packing:
    """Packs bytes into zstd frames without the magic number."""

    def __init__(self, dictionary=None, limit=UNPACKED_MAX):
        """`limit`: the largest size of unpacked data, in bytes."""
        self._frames = new_frames(dictionary)
        self._limit = limit

    def pack(self, data):
        """The packed form of `data`, which has at most `limit` bytes."""
        return self._frames.compress(data)[len(_MAGIC) :]

    def unpack(self, packed):
        """The data; ValueError if `packed` is damaged, or its content size is above the limit."""
        size = content_size(packed[:HEAD])
        if size > self._limit:
            raise ValueError(f"the value unpacks to {size} bytes, more than {self._limit}")
        data = self._frames.decompress(_MAGIC + packed, size)
        if len(data) != size:
            raise ValueError("the value has another size than it names")
        return data


@functools.cache
def sessions_1():
    """The Packing for the form SESSIONS_1."""
    return new_packing(_DICTIONARY.read_bytes())


def pack(data):
    """The shortest form of `data` (bytes)."""
    if can_pack and len(data) <= UNPACKED_MAX:
        packed = sessions_1().pack(data)
        if 1 + len(packed) < len(data):
            return b"\x01" + packed
    return wrap(data)


def wrap(data):
    """The form of `data` that needs no zstd."""
    return b"\x00" + data if data and data[0] < TEXT else data


def unpack(value):
    """The data. ValueError if the form is damaged, UnreadableValue if reading it needs another
    version of this package, or zstd."""
    first = value[0] if value else TEXT
    if first >= TEXT:
        return value
    if first == SESSIONS_1:
        return sessions_1().unpack(value[1:])
    if first == PLAIN:
        return value[1:]
    raise UnreadableValue(
        f"the value is packed in form {first}, which this version of the package does not know. "
        f"Update it to the version that the other processes have."
    )
