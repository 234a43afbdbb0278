"""zstd frames through the ``zstandard`` package, which by itself takes a cut-off file for a whole one."""

from __future__ import annotations

import importlib
from typing import Any

from featurestore.construct.bz2_blocks import Readable

#: Compressed bytes that are decompressed at once: their content is in memory (chosen here: little).
_FED = 16 << 10

#: The largest window that is accepted: that of ``zstd --long=31``.
_WINDOW = 1 << 31


class ZstdFrames:
    """The content of all frames of a file, one after the other."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._decompressor = importlib.import_module("zstandard").ZstdDecompressor(
            max_window_size=_WINDOW
        )
        self._frame: Any = None  # the open one
        self._left = b""  # compressed, behind the frame that ended
        self._ready = b""  # decompressed, not handed out

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only at the end.

        Raises:
            EOFError: the file ends within a frame.
            ValueError: it is damaged.
        """
        parts = [self._ready]
        have = len(self._ready)
        while have < size and (more := self._next()) is not None:
            parts.append(more)
            have += len(more)
        data = b"".join(parts)
        self._ready = data[size:]
        return data[:size]

    def _next(self) -> bytes | None:
        fed = self._left or self._file.read(_FED)
        self._left = b""
        if not fed:
            if self._frame is not None:
                raise EOFError("the file ends within a zstd frame")
            return None
        if self._frame is None:
            self._frame = self._decompressor.decompressobj()
        try:
            data: bytes = self._frame.decompress(fed)
        except Exception as error:  # zstandard.ZstdError, which is loaded only with the package
            raise ValueError(str(error)) from error
        if self._frame.eof:
            self._left = self._frame.unused_data
            self._frame = None
        return data

    def close(self) -> None:
        """The file is its opener's."""
