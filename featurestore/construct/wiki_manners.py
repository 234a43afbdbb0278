"""What Wikimedia asks of programs that read its wikis: who asks, how often, and how to wait.

From API:Etiquette, Manual:Maxlag, the User-Agent policy, the robot policy and the list of standard
thumbnail sizes; ``docs/build-images.md`` quotes what each rule here follows.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from featurestore import __version__
from featurestore.errors import ConfigError

#: Widths of thumbnails that are made ahead or shared; Wikimedia refuses others.
THUMBNAIL_WIDTHS = (20, 40, 60, 120, 250, 330, 500, 960, 1280, 1920, 3840)

#: Pixels. Chosen here: the encoders read 224, and 330 is the least allowed width above with room to crop.
DEFAULT_WIDTH = 330

#: Most titles, ids or files of one API request (what accounts without special rights may ask).
BATCH = 50

#: Seconds that replicas may lag behind before a request is refused; the value that Wikimedia asks for.
MAXLAG = 5

#: Bytes a second of all pictures together: the robot policy's 25 Mbit/s, rounded down.
MOST_BYTES_A_SECOND = 3_000_000

#: Seconds between two lines on a server that does not answer (chosen here: as between lines of progress).
TELL_EVERY = 30.0

_MAIL = re.compile(
    r"[^@\s()<>\",;:\\]+@(?P<host>[^@\s()<>\",;:\\/]+\.[a-z0-9-]{2,})", re.IGNORECASE
)
_RESERVED = re.compile(r"(^|\.)(example(\.(com|net|org))?|invalid|test|localhost)$", re.IGNORECASE)
_NEXT = "give --contact you@your.domain (or a page about you), or set DRIN_FS_CONTACT"


def user_agent(contact: str, *, on_loopback: bool = False) -> str:
    """The User-Agent of every request: ``drin-fs/VERSION (CONTACT)``.

    Args:
        contact: a mail address, or the address of a page that says how to reach you.
        on_loopback: nobody outside is asked, so that reserved domains (example.org) will do.

    Raises:
        ConfigError: there is no contact, or it cannot be one.
    """
    contact = contact.strip()
    if not contact:
        raise ConfigError(
            "Wikimedia asks programs to say whom to reach, and no contact is given",
            where="--contact",
            hint=_NEXT,
        )
    host = _host_of(contact)
    if host is None or not contact.isascii() or not contact.isprintable():
        raise ConfigError(
            f"{contact!r} is neither a mail address nor a web address",
            where="--contact",
            hint=_NEXT,
        )
    if _RESERVED.search(host) and not on_loopback:
        raise ConfigError(
            f"nobody can be reached at {contact!r}: {host} is a domain for examples",
            where="--contact",
            hint=_NEXT,
        )
    return f"drin-fs/{__version__} ({contact})"


def _host_of(contact: str) -> str | None:
    """The domain of a mail or web address; None = it is neither."""
    if found := _MAIL.fullmatch(contact.removeprefix("mailto:")):
        return found["host"]
    if re.search(r"[\s()<>\"]", contact):
        return None
    try:
        parts = urlsplit(contact)
        host = parts.hostname or ""
    except ValueError:
        return None
    return host if parts.scheme in ("http", "https") and "." in host.strip(".") else None


def retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait, as a number or until a date; None = nothing.

    A date that is past is 0 seconds.
    """
    if value is None or not value.strip():
        return None
    value = value.strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How requests that did not succeed are tried again.

    All in seconds but ``attempts``. The waits double from ``first`` to ``longest``, each with up to
    ``jitter`` at random on top, unless the server says how long to wait.
    """

    attempts: int = 8  # chosen here: about four minutes in all, as long as a restart takes
    first: float = 2.0
    longest: float = 60.0
    jitter: float = 1.0
    lag: float = 5.0  # at least, where replicas lag (Manual:Maxlag)
    answer: float = 30.0  # nothing comes for so long (chosen here: answers take 0.1 to 3 s)
    whole: float = 120.0  # all of one answer, for servers that send a byte now and then
    picture: float = 120.0  # all of one picture, likewise
    most: float = 900.0  # a server that asks for a longer wait ends the run, which can go on later


class Host:
    """One server, and when it may be asked again; shared by the threads that ask it.

    Args:
        tell: is called with what a person would wonder about while nothing happens: the server asks to
            wait, or does not answer.
    """

    def __init__(
        self, *, bytes_a_second: float, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        self._rate = bytes_a_second
        self._tell = tell
        self._lock = threading.Lock()
        self._until = 0.0  # of the monotonic clock
        self._spent_until = 0.0
        self._told_until = 0.0

    def pause(self, seconds: float) -> None:
        """Nobody asks for so long."""
        until = time.monotonic() + seconds
        with self._lock:
            longer = until > self._until
            self._until = max(self._until, until)
        if longer and seconds >= 1:
            self._tell(f"asks to wait {seconds:,.0f} s")

    def failed(self, reason: str, attempt: int, patience: Patience) -> None:
        """An attempt at a request came to nothing. Told from the second one on, now and then.

        Args:
            attempt: its number, from 1.
        """
        now = time.monotonic()
        with self._lock:
            tells = attempt > 1 and now >= self._told_until
            if tells:
                self._told_until = now + TELL_EVERY
        if tells:
            self._tell(f"does not answer ({reason}): attempt {attempt} of {patience.attempts}")

    def wait(self) -> None:
        """Until the server may be asked."""
        while (left := self._left()) > 0:
            time.sleep(min(left, 1.0))

    def _left(self) -> float:
        with self._lock:
            return self._until - time.monotonic()

    def spend(self, amount: int) -> None:
        """So many bytes have come; sleep where that was faster than is asked for."""
        now = time.monotonic()
        with self._lock:
            # a second of credit: small pictures come in bursts
            self._spent_until = max(self._spent_until, now - 1.0) + amount / self._rate
            ahead = self._spent_until - now
        if ahead > 0:
            time.sleep(ahead)
