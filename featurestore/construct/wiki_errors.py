"""What can go wrong between here and a wiki."""

from __future__ import annotations

from featurestore.errors import DrinFsError

#: What to do after the run has ended early.
RESUME = "nothing is lost: run the same command again later, it goes on where it stopped"


class WikiError(DrinFsError):
    """The wiki cannot be asked, or refuses; what was fetched before is kept. Exit code 1."""


class Transient(Exception):
    """A request that may succeed if it is made again.

    ``reason``: in a word or two, as the manifest counts it. ``after``: seconds that the server asks to
    wait; None = it says nothing.
    """

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class ApiError(Exception):
    """The API answered that it cannot do this; asking again is of no use."""

    def __init__(self, code: str, info: str) -> None:
        super().__init__(f"{code}: {info}")
        self.code = code
        self.info = info
