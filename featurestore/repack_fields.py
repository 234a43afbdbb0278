"""Which fields of a store a repack leaves out, and which it must not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from featurestore.errors import ConfigError
from featurestore.schema import FIELDS, Field
from featurestore.store import Store

_LARGE = ("view", "record")


def dropped_fields(store: Store, *, drop: Sequence[str], keep: Sequence[str]) -> list[str]:
    """The paths of the fields of a store that are left out, in the order of the schema.

    Args:
        drop: paths ``TABLE/NAME``.
        keep: of views and records, only these; none = all. Texts and columns stay, they are small.

    Raises:
        ConfigError: the store has no such field, or another field or every reader needs it.
    """
    there = [field for field in FIELDS if store.has(field.path)]
    for path in (*drop, *keep):
        _check_known(path, there, store)
    both = sorted(set(drop) & set(keep))
    if both:
        raise ConfigError(f"--drop and --keep both name {both[0]}", where="--drop")
    left = set(drop)
    if keep:
        left |= {f.path for f in there if f.layout in _LARGE and f.path not in keep}
    for field in there:
        if field.path in left:
            _check_not_needed(field, there, left)
    return [field.path for field in there if field.path in left]


def _check_known(path: str, there: Sequence[Field], store: Store) -> None:
    known = [field.path for field in there]
    if path in known:
        return
    near = [name for name in known if name.partition("/")[2] == path]
    near = near or difflib.get_close_matches(path, known, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "drin-fs inspect shows the fields"
    raise ConfigError(f"the store has no field {path!r}", where=str(store.path), hint=hint)


def _check_not_needed(field: Field, there: Sequence[Field], left: set[str]) -> None:
    """Refuse to leave out what something that stays cannot do without.

    Raises:
        ConfigError: says what needs it.
    """
    if not field.made_by:
        raise ConfigError(
            f"{field.path} cannot be dropped: every store must have it ({field.doc})",
            where="--drop",
        )
    for other in there:
        counted = other.table == field.table and other.ragged == field.name
        if counted and other.path not in left:
            raise ConfigError(
                f"{field.path} cannot be dropped: it counts the rows of {other.path}",
                where="--drop",
                hint=f"drop both: --drop {field.path} --drop {other.path}",
            )
