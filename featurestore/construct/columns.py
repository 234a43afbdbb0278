"""What the columns of a table of mentions are called, and which field each stands for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from featurestore.errors import ConfigError

#: Field → the names under which it is looked for; letters' case, blanks and "-" do not matter.
NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id", "mention_id"),
    "sentence": ("sentence", "text", "context"),
    "mention": ("mention", "mentions", "surface"),
    "start": ("start", "char_start", "mention_start", "begin"),
    "end": ("end", "char_end", "mention_end", "stop"),
    "picture": ("picture", "image", "img", "img_path", "imgpath", "image_path", "photo"),
    "gold": ("gold", "answer", "qid", "entity", "entity_id", "wikidata_id"),
    "document": ("document", "doc", "document_id", "doc_id", "docid"),
    "topic": ("topic", "category"),
    "split": ("split", "subset", "fold"),
}
FIELDS = tuple(NAMES)

_FIELD_OF = {name: each for each, names in NAMES.items() for name in names}

#: Columns without a use that are remembered; a table of objects may have any number.
_REMEMBERED = 50


@dataclass(kw_only=True)
class Columns:
    """Which column holds which field.

    ``chosen``: field → column, from the user; all other columns are known by their names.
    ``unused``: the columns met that stand for nothing.
    """

    chosen: Mapping[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    _met: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for name in self.chosen:
            if name not in NAMES:
                near = difflib.get_close_matches(name, NAMES, n=1)
                raise ConfigError(
                    f"no field {name!r}",
                    where="columns",
                    hint=f"did you mean {near[0]}?" if near else f"fields: {', '.join(NAMES)}",
                )

    def fields_of(self, column: str) -> tuple[str, ...]:
        """The fields a column stands for: those the user gave it, or the one of its name."""
        known = self._met.get(column)
        if known is None:
            known = tuple(name for name, given in self.chosen.items() if given == column)
            self._seen.update(known)
            usual = _FIELD_OF.get(re.sub(r"[\W_]+", "_", column.strip()).casefold(), "")
            if not known and usual and usual not in self.chosen:
                known = (usual,)
            if len(self._met) < 10 * _REMEMBERED:
                self._met[column] = known
            if not known and column not in self.unused and len(self.unused) < _REMEMBERED:
                self.unused.append(column)
        return known

    def check_header(self, header: Iterable[str], where: str) -> None:
        """Refuse a table whose header lacks a sentence, or two columns of which are one field.

        Raises:
            ConfigError: says which, and the option that settles it.
        """
        holder: dict[str, str] = {}
        names = list(header)
        for column in names:
            for each in self.fields_of(column):
                if each in holder:
                    raise two_columns(each, holder[each], column, where)
                holder[each] = column
        self.check_chosen(names, where)
        if "sentence" not in holder:
            raise ConfigError(
                f"no column holds the sentence; columns: {', '.join(names)}",
                where=where,
                hint="name it: --columns sentence=NAME",
            )

    def check_chosen(self, names: Iterable[str], where: str) -> None:
        """Refuse a chosen column that was never met.

        Raises:
            ConfigError: names the columns that are there.
        """
        for each, column in self.chosen.items():
            if each not in self._seen:
                raise ConfigError(
                    f"no column {column!r} for {each}; columns: {', '.join(names)}",
                    where=where,
                    hint=f"--columns {each}=NAME, NAME as the file has it",
                )


def two_columns(each: str, first: str, second: str, where: str) -> ConfigError:
    """Two columns stand for one field."""
    return ConfigError(
        f"columns {first!r} and {second!r} could both be the {each}",
        where=where,
        hint=f"choose one: --columns {each}={first}",
    )


def parse_columns(text: str) -> dict[str, str]:
    """``mention=Name,gold=Label`` as field → column.

    Raises:
        ConfigError: another form, or a field that stands twice.
    """
    chosen: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, column = part.partition("=")
        if not (equals and name.strip() and column.strip()) or name.strip() in chosen:
            raise ConfigError(
                f"{part!r} is not FIELD=NAME, each field once",
                where="columns",
                hint="--columns mention=Name,gold=Label",
            )
        chosen[name.strip()] = column.strip()
    return chosen
