"""A file elsewhere, as its server gives it: what it is, and ranges of its bytes.

HTTP is spoken through fsspec's session, because only the answer's own headers tell whether a server knows
ranges and whether it still is the same file. Every other protocol is what fsspec makes of it. All options
come from where fsspec takes them: ``FSSPEC_HTTPS``, ``FSSPEC_S3``, ``AWS_…`` (docs/remote.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from featurestore.errors import ConfigError, StoreAbsent, StoreError
from featurestore.place import StoreUrl

#: Seconds without a byte after which a connection is given up (chosen here: longer than a busy server is
#: silent, shorter than anybody waits).
_SILENT, _CONNECTING = 60, 30

#: Bytes that are handed on at once where a server sends only whole files.
_STREAMED = 1 << 20

#: Answers that may be another one in a moment.
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class Transient(Exception):
    """It did not work now; ``after``: seconds to wait, where the server says so."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class Changed(Exception):
    """The file is not the one it was."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a server says of a file, with its first bytes.

    ``size``: None where it does not say. ``version``: its name for this state of the file (ETag, else the
    time it was changed); empty where it has none. ``ranges``: whether it sends parts.
    """

    size: int | None
    version: str
    ranges: bool
    data: bytes


class Source(Protocol):
    """One file of one server. Its methods run in fsspec's event loop."""

    async def head(self, size: int) -> Head:
        """What the file is, and its first ``size`` bytes: one request, or two."""

    async def read(self, start: int, stop: int) -> tuple[bytes, str]:
        """``[start, stop)`` of the file, and the version it is of, if the answer says so."""

    def stream(self) -> AsyncIterator[bytes]:
        """The whole file from its start."""

    async def close(self) -> None:
        """End its connections."""


def source_of(url: StoreUrl) -> Source:
    """The source behind a URL; nothing is asked yet.

    Raises:
        ConfigError: no such protocol, or what speaks it is not installed.
    """
    import fsspec
    from fsspec.config import conf

    try:
        if url.scheme in ("http", "https"):
            given = conf.get(url.scheme, {}).get("client_kwargs", {})
            options = {"trust_env": True, **given}  # proxies of the environment
            system = fsspec.filesystem(url.scheme, client_kwargs=options, skip_instance_cache=True)
            return HttpSource(url, system)
        system, path = fsspec.url_to_fs(url.url)
        return FsspecSource(url, system, path)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{url.scheme}:// cannot be read here: {error}",
            where=str(url),
            hint='pip install "drin-fs[remote]" brings http, https and s3; others are in fsspec\'s list',
        ) from error


class HttpSource:
    """A file of a web server."""

    def __init__(self, url: StoreUrl, system: Any) -> None:
        self._url = url
        self._system = system
        self._session: Any = None

    async def head(self, size: int) -> Head:
        async with await self._get({"Range": f"bytes=0-{size - 1}"}) as answer:
            ranges = answer.status == 206
            self._refuse_status(answer, (200, 206))
            data = b""
            try:
                async for piece in answer.content.iter_chunked(size):
                    data += piece
                    if len(data) >= size:
                        break  # a server without ranges goes on with the whole file
            except Exception as error:
                self._refuse(error)
            whole = _total(answer.headers) if ranges else answer.content_length
            if not ranges:
                answer.close()
            return Head(whole, _version(answer.headers), ranges, data[:size])

    async def read(self, start: int, stop: int) -> tuple[bytes, str]:
        async with await self._get({"Range": f"bytes={start}-{stop - 1}"}) as answer:
            if answer.status in (412, 416):
                raise Changed
            if answer.status == 200:
                answer.close()
                raise Transient("the server sent the whole file instead of a part")
            self._refuse_status(answer, (206,))
            try:
                data = await answer.read()
            except Exception as error:
                self._refuse(error)
            if len(data) != stop - start:
                raise Transient(f"{len(data)} bytes came instead of {stop - start}")
            return data, _version(answer.headers)

    async def stream(self) -> AsyncIterator[bytes]:
        async with await self._get({}) as answer:
            self._refuse_status(answer, (200,))
            try:
                async for piece in answer.content.iter_chunked(_STREAMED):
                    yield piece
            except Exception as error:
                self._refuse(error)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _get(self, headers: Mapping[str, str]) -> Any:
        import aiohttp

        try:
            if self._session is None:
                self._session = await self._system.set_session()
            return await self._session.get(
                self._system.encode_url(self._url.url),
                headers={"Accept-Encoding": "identity", **headers},
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECTING, sock_read=_SILENT
                ),
            )
        except Exception as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> NoReturn:
        import aiohttp

        if isinstance(error, aiohttp.InvalidURL):
            raise ConfigError("this is no URL", where=str(self._url)) from error
        if isinstance(error, aiohttp.ClientSSLError):
            raise StoreError(
                f"the server's certificate is not accepted ({type(error).__name__})",
                where=str(self._url),
                hint="see that the address is right, and that this machine has current certificates",
            ) from error
        if isinstance(error, aiohttp.ClientError | TimeoutError | OSError):
            raise Transient(str(error) or type(error).__name__) from error
        raise error

    def _refuse_status(self, answer: Any, good: tuple[int, ...]) -> None:
        status = answer.status
        if status in good:
            return
        if status in _TRANSIENT:
            raise Transient(f"HTTP {status}", after=_seconds(answer.headers.get("Retry-After")))
        _refuse_absent(self._url, status in (404, 410), status in (401, 403), f"HTTP {status}")
        raise StoreError(f"the server answers HTTP {status}", where=str(self._url))


class FsspecSource:
    """A file of any other file system that fsspec knows.

    Its answers say nothing of versions: who reads compares the file's header.
    """

    def __init__(self, url: StoreUrl, system: Any, path: str) -> None:
        self._url = url
        self._system = system
        self._path = path

    async def head(self, size: int) -> Head:
        found = await self._call("info", self._path)
        if found.get("type") == "directory":
            raise StoreError("a folder, not a store", where=str(self._url))
        whole = int(found["size"])
        data, _ = await self.read(0, min(size, whole)) if whole else (b"", "")
        return Head(whole, "", True, data)

    async def read(self, start: int, stop: int) -> tuple[bytes, str]:
        data: bytes = await self._call("cat_file", self._path, start=start, end=stop)
        if len(data) != stop - start:
            raise Transient(f"{len(data)} bytes came instead of {stop - start}")
        return data, ""

    async def stream(self) -> AsyncIterator[bytes]:
        yield await self._call("cat_file", self._path)

    async def close(self) -> None:
        self._system.invalidate_cache()

    async def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        try:
            if self._system.async_impl:
                return await getattr(self._system, f"_{name}")(*arguments, **options)
            return await asyncio.to_thread(getattr(self._system, name), *arguments, **options)
        except (FileNotFoundError, PermissionError) as error:
            absent = isinstance(error, FileNotFoundError)
            _refuse_absent(self._url, absent, not absent, str(error))
        except (OSError, TimeoutError) as error:
            raise Transient(str(error) or type(error).__name__) from error
        except Exception as error:  # each protocol has its own
            raise StoreError(
                f"cannot be read ({type(error).__name__}: {error})",
                where=str(self._url),
                hint="keys and endpoints come from the environment: docs/remote.md",
            ) from error


def _refuse_absent(url: StoreUrl, absent: bool, refused: bool, why: str) -> None:
    if absent:
        raise StoreAbsent(
            f"no such store ({why})", where=str(url), hint="see that the URL is right"
        )
    if refused:
        raise StoreError(
            f"the server does not let us read it ({why})",
            where=str(url),
            hint="keys and passwords come from the environment: docs/remote.md",
        )


def _version(headers: Mapping[str, str]) -> str:
    return headers.get("ETag") or headers.get("Last-Modified") or ""


def _total(headers: Mapping[str, str]) -> int | None:
    """The size of the whole file: ``bytes 0-4095/996896471``."""
    said = headers.get("Content-Range", "").rpartition("/")[2]
    return int(said) if said.isascii() and said.isdigit() else None


def _seconds(said: str | None) -> float | None:
    return float(said) if said and said.isascii() and said.isdigit() else None
