"""What can go wrong, one line of meaning each.

Every error drin-fs raises on purpose derives from :class:`DrinFsError` and says *what* was found,
*where* (``file``, ``file::/table/field[row]`` or an option), and what to do *next*. The command line
turns it into a message on stderr and the class's exit code in one place (``cli.main``).
"""

from __future__ import annotations

#: What to do about a damaged store.
AGAIN = "copy it again, or ingest again"


class DrinFsError(Exception):
    """Base class: an expected failure with a place and a next step. Exit code 1."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  next:  {self.hint}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:  # errors cross process borders in data loaders
        return _rebuild, (type(self), self.what, self.where, self.hint)


def _rebuild(cls: type[DrinFsError], what: str, where: str, hint: str) -> DrinFsError:
    return cls(what, where=where, hint=hint)


class ConfigError(DrinFsError):
    """An option or configuration value that cannot work. Exit code 2."""

    exit_code = 2


class DataError(DrinFsError):
    """Base class of problems in the data given to us. Exit code 3."""

    exit_code = 3


class SourceError(DataError):
    """A dataset to ingest is incomplete, damaged or inconsistent."""


class NotFinite(SourceError):
    """A feature holds NaN or infinite values; ``row`` is the row of the store it was meant for."""

    def __init__(self, what: str, *, where: str = "", hint: str = "", row: int = -1) -> None:
        super().__init__(what, where=where, hint=hint)
        self.row = row


class StoreError(DataError):
    """A file is not a readable drin-fs store."""


class StoreAbsent(StoreError):
    """A remote file is not there."""


class FieldMissing(DataError):
    """The store lacks a field that was asked for."""


class UnknownId(DataError):
    """An id or row that the table does not hold."""


class EncoderError(ConfigError):
    """An encoder cannot be loaded, or does not do what its place needs."""


class WriteError(DrinFsError):
    """The store cannot be written (disk full, no permission, target exists)."""


class InUse(WriteError):
    """Another process writes it."""
