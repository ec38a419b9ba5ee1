"""Compression of single values: PostgreSQL compresses only rows of more than 2 kB."""

from __future__ import annotations

import zlib

MARK = b"\0"
"""Begins compressed values. No protobuf message begins with it: there is no field 0."""
_WINDOW_BITS = -12
"""4 KiB, without a header: a wider window takes longer to set up than it saves."""
# A copy of a compressor that is set up takes less time than a new one.
_NEW = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, 4)


def compressed(content: bytes) -> bytes:
    """The content in fewer bytes, for `restored`."""
    compressor = _NEW.copy()
    return MARK + compressor.compress(content) + compressor.flush()


def restored(stored: bytes) -> bytes:
    """The content of a value that `compressed` made; any other value, such as one of earlier versions, as it is."""
    return zlib.decompress(memoryview(stored)[1:], _WINDOW_BITS) if stored.startswith(MARK) else stored
