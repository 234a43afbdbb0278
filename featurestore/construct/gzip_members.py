"""gzip members through ``isal`` where it is installed, which is faster than the standard library."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from featurestore.construct.bz2_blocks import Readable

#: Compressed bytes that are read at once.
_FED = 256 << 10

#: What zlib calls a gzip header and a checksum.
_GZIP = 31


def has_isal() -> bool:
    """Whether the faster library is installed."""
    return find_spec("isal") is not None


class GzipMembers:
    """The content of all members of a file, one after the other; zeros behind them are passed over."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._zlib = importlib.import_module("isal.isal_zlib" if has_isal() else "zlib")
        self._member: Any = None  # the open one
        self._left = b""  # compressed, not used yet

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only at the end.

        Raises:
            EOFError: the file ends within a member.
            ValueError: it is damaged.
        """
        parts: list[bytes] = []
        while size > 0 and (more := self._next(size)) is not None:
            parts.append(more)
            size -= len(more)
        return b"".join(parts)

    def _next(self, most: int) -> bytes | None:
        fed = self._left or self._file.read(_FED)
        if self._member is None:
            fed = fed.lstrip(b"\0") if fed else fed
            if not fed:
                self._left = b""
                return b"" if self._file_goes_on() else None
            self._member = self._zlib.decompressobj(wbits=_GZIP)
        elif not fed:
            raise EOFError("the file ends within a gzip member")
        try:
            data: bytes = self._member.decompress(fed, most)
        except self._zlib.error as error:
            raise ValueError(str(error)) from error
        self._left = self._member.unconsumed_tail
        if self._member.eof:
            self._left = self._member.unused_data
            self._member = None
        return data

    def _file_goes_on(self) -> bool:
        self._left = self._file.read(_FED)
        return bool(self._left)

    def close(self) -> None:
        """The file is its opener's."""
