"""What else of a Wikidata item is worth keeping: label, description, aliases, picture, kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """An item, as a line of the details file has it."""

    qid: str
    title: str
    label: str  # "" where the item has none in this language, as of description
    description: str
    aliases: tuple[str, ...]
    image: str  # the first of the best P18 statements: a file name on Commons; "" = none
    instance_of: tuple[str, ...]  # QIDs of the best P31 statements

    @classmethod
    def of(cls, entity: dict[str, Any], qid: str, title: str, language: str) -> Details:
        """Read an entity; what has not the form that Wikidata gives it counts as absent."""
        aliases = _object(entity, "aliases").get(language)
        images = (value for value in best_values(entity, "P18") if isinstance(value, str))
        kinds = (value.get("id") for value in best_values(entity, "P31") if isinstance(value, dict))
        return cls(
            qid=qid,
            title=title,
            label=_text(_object(entity, "labels").get(language)),
            description=_text(_object(entity, "descriptions").get(language)),
            aliases=tuple(filter(None, map(_text, aliases))) if isinstance(aliases, list) else (),
            image=next(images, ""),
            instance_of=tuple(dict.fromkeys(kind for kind in kinds if isinstance(kind, str))),
        )

    def as_json_line(self) -> bytes:
        """``{"qid": …}`` and a line feed, in UTF-8."""
        return orjson.dumps(asdict(self), option=orjson.OPT_APPEND_NEWLINE)


def _object(value: Any, key: str) -> dict[str, Any]:
    """A member that is an object; PHP writes an empty one as ``[]``."""
    member = value.get(key) if isinstance(value, Mapping) else None
    return member if isinstance(member, dict) else {}


def _text(term: Any) -> str:
    """The value of a label, description or alias."""
    value = term.get("value") if isinstance(term, dict) else None
    return value if isinstance(value, str) else ""


def best_values(entity: Mapping[str, Any], name: str) -> Iterator[Any]:
    """Values of a property's preferred statements, or of its normal ones where none is preferred."""
    statements = _object(entity, "claims").get(name)
    ranked: dict[str, list[Any]] = {"preferred": [], "normal": []}
    for statement in statements if isinstance(statements, list) else ():
        value = _object(_object(statement, "mainsnak"), "datavalue").get("value")
        rank = statement.get("rank") if isinstance(statement, dict) else None
        if value is not None and isinstance(rank, str) and rank in ranked:
            ranked[rank].append(value)
    yield from ranked["preferred"] or ranked["normal"]
