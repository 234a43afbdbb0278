"""One table: which field of the store fills each field of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from featurestore import Store
from featurestore.errors import FieldMissing
from featurestore.schema import BY_PATH, SIMILARITIES, Table

#: Which stored vector is the entity text: ``auto`` = the pooled one where it is stored, otherwise
#: the mean ("entity text vector" of the reference definitions).
EntityPooling: TypeAlias = Literal["auto", "mean", "max", "pooled"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a batch field comes from: the first of ``choices`` that the store has."""

    table: Table
    choices: tuple[str, ...]

    def stored_in(self, store: Store) -> str | None:
        """The path ``table/field`` to read, or None where the store has none of the choices."""
        paths = (f"{self.table}/{name}" for name in self.choices)
        return next((path for path in paths if store.has(path)), None)


def _mention(*choices: str) -> Source:
    return Source("mentions", choices)


def _entity(*choices: str) -> Source:
    return Source("entities", choices)


SOURCES: Mapping[str, Source] = {
    "mention_text_span": _mention("text_span"),
    "mention_text_cls": _mention("text_cls"),
    "mention_text_tokens": _mention("text_tokens"),
    "mention_text_padded": _mention("text_tokens"),
    "mention_token_count": _mention("token_count"),
    "mention_token_start": _mention("token_start"),
    "mention_token_end": _mention("token_end"),
    "mention_image_mean": _mention("image_mean"),
    "mention_image_regions": _mention("image_regions"),
    "mention_objects": _mention("objects"),
    "mention_object_scores": _mention("object_scores"),
    "entity_text_cls": _entity("text_cls", "text_pooled"),
    "entity_image": _entity("image_pooled"),
    "entity_objects": _entity("objects"),
    "entity_object_scores": _entity("object_scores"),
    "sim_image_text": _mention("sim_image_text"),
    "sim_text_image": _mention("sim_text_image"),
}

ENTITY_TEXT: Mapping[EntityPooling, Source] = {
    "auto": _entity("text_pooled", "text_mean"),
    "mean": _entity("text_mean"),
    "max": _entity("text_max"),
    "pooled": _entity("text_pooled"),
}

#: Fields that an encoder inside training makes of the stored texts (``--text online``).
TEXT_MADE = frozenset(
    {
        *("mention_text_span", "mention_text_cls", "mention_text_tokens", "mention_text_padded"),
        *("mention_token_count", "mention_token_start", "mention_token_end"),
        *("entity_text", "entity_text_cls"),
    }
)

#: Fields with one value a candidate, the gold slot last: ``strict`` leaves the last one out.
PER_CANDIDATE = frozenset(SIMILARITIES)

#: Fields that are read up to the store's length of a record, with what it holds at padded positions.
WHOLE_RECORDS = frozenset({"mention_text_padded"})


def source_of(name: str, pooling: EntityPooling) -> Source:
    """The source of the batch field ``name``."""
    return ENTITY_TEXT[pooling] if name == "entity_text" else SOURCES[name]


def missing_from(store: Store, names: Iterable[str], pooling: EntityPooling) -> list[str]:
    """Those of the batch fields that the store cannot fill, sorted."""
    return sorted(n for n in names if source_of(n, pooling).stored_in(store) is None)


def stored_paths(
    store: Store, names: Iterable[str], *, pooling: EntityPooling, reader: str
) -> dict[str, str]:
    """For every batch field the path ``table/field`` that fills it.

    Args:
        reader: who asks, for the message: "model drin".

    Raises:
        FieldMissing: the store lacks one of them; names the model, the field and the ingest option.
    """
    paths: dict[str, str] = {}
    for name in sorted(names):
        path = source_of(name, pooling).stored_in(store)
        if path is None:
            raise missing_error(store, name, pooling=pooling, reader=reader)
        paths[name] = path
    return paths


def missing_error(
    store: Store, name: str, *, pooling: EntityPooling, reader: str, instead: str = ""
) -> FieldMissing:
    """The error for a batch field that the store cannot fill.

    Args:
        instead: what to do other than ingesting again, as a sentence without a full stop.
    """
    source = source_of(name, pooling)
    field = BY_PATH[f"{source.table}/{source.choices[0]}"]
    fields = " or ".join(f"{source.table}/{choice}" for choice in source.choices)
    meaning = f" ({field.doc})" if len(source.choices) == 1 else ""
    again = f"ingest again with {field.made_by}" if field.made_by else "ingest again"
    return FieldMissing(
        f"{reader} reads {name}, and this store has no {fields}{meaning}",
        where=f"{store.path}::/{field.path}",
        hint=f"{instead}, or {again}" if instead else again,
    )
