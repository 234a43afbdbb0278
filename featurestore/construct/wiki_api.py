"""A client of the MediaWiki API: one request at a time, as polite as the server asks.

Every request has ``maxlag``, ``format=json&formatversion=2`` and the User-Agent. A refusal for now (429,
503, lag, rate limit) is waited for as long as ``Retry-After`` says; without it, and after a broken
connection, longer and longer. Answers that are no JSON are tried again too: proxies send error pages with
status 200.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import stamina

from featurestore.construct.wiki_errors import RESUME, ApiError, Transient, WikiError
from featurestore.construct.wiki_line import Line, UnknownHost
from featurestore.construct.wiki_manners import MAXLAG, Host, Patience, retry_after

#: Bytes of one answer. Chosen here: 50 pages with their intros and 500 file names are below 1 MB.
MOST_ANSWER = 64 << 20

#: Answers of one query. Chosen here: 50 pages with 500 pictures each take 50.
MOST_ANSWERS = 1000

#: Errors of the API that pass.
_PASSING = ("maxlag", "ratelimited", "readonly", "internal_api_error", "db-error")

#: Status codes that pass.
PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)

# a retry is no news; what the server asks for is told by Host
stamina.instrumentation.set_on_retry_hooks(())

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_url(url: str, *, insecure: bool, where: str) -> None:
    """Refuse an address that is not https, unless that is allowed.

    Raises:
        WikiError: not https, or no address at all.
    """
    parts = urlsplit(url)
    allowed = ("https", "http") if insecure else ("https",)
    if parts.scheme not in allowed or not parts.hostname:
        raise WikiError(
            f"{url!r} is not an https address",
            where=where,
            hint="use https, or --insecure-http for a server of your own",
        )


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    return (urlsplit(url).hostname or "") in _LOOPBACK


def open_client(agent: str, *, insecure: bool, patience: Patience) -> httpx2.Client:
    """A client of one connection, with the User-Agent, time limits, and https alone after redirects, too.

    Args:
        insecure: allow http.
    """

    allowed = ("https", "http") if insecure else ("https",)

    def check(request: httpx2.Request) -> None:
        if request.url.scheme not in allowed:
            raise httpx2.UnsupportedProtocol(f"{request.url.scheme} is not allowed")

    return httpx2.Client(
        headers={"User-Agent": agent},
        timeout=httpx2.Timeout(patience.answer, pool=None),
        limits=httpx2.Limits(max_connections=1, max_keepalive_connections=1),
        max_redirects=5,
        event_hooks={"request": [check]},
    )


def check_status(response: httpx2.Response, *, patience: Patience) -> None:
    """Raise what a status other than 200 means.

    Raises:
        Transient: it may be another one later.
        WikiError: the server asks for a longer wait than ``patience`` has.
    """
    if response.status_code not in PASSING_STATUS:
        return
    after = retry_after(response.headers.get("Retry-After"))
    check_wait(after, patience, str(response.url))
    raise Transient(f"http {response.status_code}", after=after)


def check_wait(after: float | None, patience: Patience, where: str) -> None:
    """End the run where the server asks for a longer wait than anybody sits through.

    Raises:
        WikiError: it does.
    """
    if after is not None and after > patience.most:
        raise WikiError(
            f"the server asks to come back in {after:,.0f} seconds", where=where, hint=RESUME
        )


def again(patience: Patience) -> Callable[[Exception], bool | float]:
    """For stamina: whether to try again, and where the server said so, after how many seconds."""

    def decide(error: Exception) -> bool | float:
        if not isinstance(error, Transient):
            return False
        return True if error.after is None else error.after

    return decide


def attempts(patience: Patience) -> Iterator[stamina.Attempt]:
    """The attempts of one request."""
    return iter(
        stamina.retry_context(
            on=again(patience),
            attempts=patience.attempts,
            timeout=None,
            wait_initial=patience.first,
            wait_max=patience.longest,
            wait_jitter=patience.jitter,
        )
    )


class WikiApi:
    """One API; requests never overlap.

    ``calls``: requests that were sent, tries included.

    Args:
        url: of its ``api.php``.
    """

    def __init__(self, url: str, *, line: Line, host: Host, patience: Patience) -> None:
        self.url = url
        self.calls = 0
        self._line, self._host, self._patience = line, host, patience
        self._has_answered = False
        self._one_at_a_time = threading.Lock()

    def query(self, parameters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """The ``query`` objects of all answers to ``action=query``, continuations followed.

        Raises:
            ApiError, WikiError: as :meth:`call`.
        """
        asked = {"action": "query", **parameters}
        more: dict[str, str] = {}
        for _ in range(MOST_ANSWERS):
            answer = self.call({**asked, **more})
            if isinstance(found := answer.get("query"), dict):
                yield found
            going_on = answer.get("continue")
            if not isinstance(going_on, dict) or not going_on:
                return
            following = {str(key): str(value) for key, value in going_on.items()}
            if following == more:
                raise ApiError("continue", "the API continues where it was")
            more = following
        raise ApiError("continue", f"more than {MOST_ANSWERS} continuations")

    def call(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """One answer of the API.

        Raises:
            ApiError: it says that it cannot do this.
            WikiError: it cannot be reached, refuses us, or asks for too long a wait.
        """
        full = {**parameters, "format": "json", "formatversion": "2", "maxlag": str(MAXLAG)}
        try:
            for attempt in attempts(self._patience):
                with attempt:
                    return self._once(full, attempt.num)
        except Transient as error:
            raise WikiError(
                f"the API gave no answer in {self._patience.attempts} attempts ({error.reason})",
                where=self.url,
                hint=RESUME,
            ) from error
        raise AssertionError("stamina returns or raises")

    def _once(self, parameters: dict[str, str], attempt: int) -> dict[str, Any]:
        with self._one_at_a_time:
            self._host.wait()
            self.calls += 1
            try:
                answer = self._read(parameters)
            except UnknownHost as error:
                if not self._has_answered:  # later it is a name server that fails for a while
                    raise self._misspelt() from error
                self._host.failed(error.reason, attempt, self._patience)
                raise
            except Transient as error:
                if error.after:
                    self._host.pause(error.after)
                else:
                    self._host.failed(error.reason, attempt, self._patience)
                raise
            self._has_answered = True
            return answer

    def _read(self, parameters: dict[str, str]) -> dict[str, Any]:
        seconds = self._patience.whole
        try:
            with self._line.get(self.url, params=parameters, seconds=seconds) as response:
                check_status(response, patience=self._patience)
                if response.status_code != 200:
                    raise self._refused(response)
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > MOST_ANSWER:
                        raise ApiError("too large", f"the answer has more than {MOST_ANSWER} bytes")
                after = retry_after(response.headers.get("Retry-After"))
        except httpx2.HTTPError as error:
            raise Transient("connection") from error
        return self._checked(bytes(body), after)

    def _misspelt(self) -> WikiError:
        return WikiError(
            f"no server has the name {urlsplit(self.url).hostname!r}",
            where=self.url,
            hint="check --language, --api and --wikidata-api, or the network of this machine",
        )

    def _refused(self, response: httpx2.Response) -> WikiError:
        what = f"the API refuses with status {response.status_code}"
        hint = "check the address"
        if moved := response.headers.get("Location"):
            what, hint = "the API has moved", f"use --api {moved}"
        elif response.status_code in (401, 403):
            hint = "check that --contact is right, and that this machine is not blocked"
        return WikiError(what, where=self.url, hint=hint)

    def _checked(self, body: bytes, after: float | None) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Transient("not json") from error
        if not isinstance(answer, dict):
            raise Transient("not json")
        if isinstance(said := answer.get("error"), dict):
            code, info = str(said.get("code", "")), str(said.get("info", ""))
            if not code.startswith(_PASSING):
                raise ApiError(code, info)
            check_wait(after, self._patience, self.url)
            if code == "maxlag":
                after = max(after or 0.0, self._patience.lag)
            raise Transient(code, after=after)
        return answer
