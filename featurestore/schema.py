"""The one table of fields: every other module, the verifier and the docs derive from it.

Axes (a row of the table is always the first axis and is not listed):

=====  ==================================================================
K      retrieved candidates of a mention
C      K + 1: the candidates, then the gold slot
T      tokens of the mention's sentence      S   tokens of the entity text
R      regions of a picture (49 = 7×7)       O   detected objects kept
D      text width    V   visual width        P   CLIP embedding width
J      bytes kept of a thumbnail
=====  ==================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

FORMAT = "drin-fs"
FORMAT_VERSION = 1

Layout = Literal["record", "view", "column", "text"]
Table = Literal["entities", "mentions"]
TABLES: tuple[Table, ...] = ("entities", "mentions")

#: The splits of both datasets, in the order of their rows.
SPLITS = ("train", "valid", "test")

#: dtype "feature" follows ``ingest --dtype`` (float16, or float32 where float16 cannot hold it).
FEATURE = "feature"

#: What a store says of the error that rounding a feature to float16 made.
ERROR = "float16_error"

#: Values of ``image_status``: why a row has, or has not, a picture of its own.
IMAGE_STATUS = ("ok", "missing", "broken", "too small", "unknown")

#: The codes of ``image_status`` under which the default picture stands for the row's own.
NO_PICTURE = tuple(map(IMAGE_STATUS.index, ("missing", "broken", "too small")))

#: The ids of ``mentions/candidates`` and ``mentions/gold`` that stand for "no entity row".
NO_ROW = -1

#: The id of the row that fills short candidate lists: no text, the default picture, no entity.
PADDING = "__nil__"

#: The id of the row that WikiDiverse's mentions without an entity have for a gold.
NIL = "NIL"

#: Ids of rows that are no entities, though other rows refer to them.
NO_ENTITIES = (PADDING, NIL)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the format.

    ``layout``: ``record`` (one compressed chunk a row), ``view`` (fixed-size feature row, contiguous),
    ``column`` (fixed-size plain row, contiguous), ``text`` (UTF-8 bytes + offsets).
    ``ragged``: the int32 column that counts the real rows of the record's first axis.
    ``made_by``: the ingest option without which the field is absent; empty = always there.
    """

    table: Table
    name: str
    layout: Layout
    axes: tuple[str, ...]
    dtype: str
    unit: str
    doc: str
    made_by: str = ""
    ragged: str = ""

    @property
    def path(self) -> str:
        return f"{self.table}/{self.name}"


_TEXT, _IMG, _DET, _CLIP = "--text-encoder", "--image-encoder", "--detector", "--clip"
_THUMBS = "--thumbnails, raw source"


def _text(table: Table, name: str, doc: str, made_by: str = "") -> Field:
    return Field(table, name, "text", (), "utf8", "text", doc, made_by)


def _column(
    table: Table,
    name: str,
    axes: tuple[str, ...],
    dtype: str,
    unit: str,
    doc: str,
    made_by: str = "",
) -> Field:
    return Field(table, name, "column", axes, dtype, unit, doc, made_by)


def _view(table: Table, name: str, axes: tuple[str, ...], doc: str, made_by: str) -> Field:
    return Field(table, name, "view", axes, FEATURE, "feature", doc, made_by)


def _picture_fields(table: Table) -> tuple[Field, ...]:
    """The fields that mentions and entities share: where the picture came from, its objects, CLIP."""
    return (
        _text(table, "image_path", "picture file below the source folder; empty = none known",
              "raw source, or recorded paths"),
        _column(
            table, "image_status", (), "uint8", "enum",
            "0 ok; 1 missing, 2 broken, 3 too small (<50×50): default picture used; 4 unknown",
        ),
        _column(
            table, "thumbnail_size", (), "int32", "byte",
            "bytes of the thumbnail; 0 = no picture of its own", _THUMBS,
        ),
        Field(
            table, "thumbnail", "record", ("J",), "uint8", "JPEG",
            "the picture, at most 160 pixels a side", _THUMBS, "thumbnail_size",
        ),
        _view(table, "objects", ("O", "V"), "pooled feature of each detected box", _DET),
        _column(
            table, "object_scores", ("O",), "float32", "probability",
            "detector score of each box; 0 = no such box", _DET,
        ),
        _column(
            table, "object_boxes", ("O", "4"), "float32", "pixel",
            "x0 y0 x1 y1 of each box in the 224×224 frame", _DET,
        ),
        _view(table, "clip_text", ("P",), "CLIP text embedding, unit length", _CLIP),
        _view(table, "clip_image", ("P",), "CLIP image embedding, unit length", _CLIP),
    )  # fmt: skip


FIELDS: tuple[Field, ...] = (
    # entities -------------------------------------------------------------------------------
    _text("entities", "id", "QID, title, or an id made at ingest; unique"),
    _text("entities", "title", "Wikipedia title", "raw source"),
    _text("entities", "description", "description as given in the source", "raw source"),
    _text("entities", "text", "the text that was encoded", "raw source or entity-attr-raw"),
    _column("entities", "token_count", (), "int32", "token",
            "real tokens of the encoded text, [CLS] and [SEP] included, at most S", _TEXT),
    Field("entities", "text_tokens", "record", ("S", "D"), FEATURE, "feature",
          "last hidden state of every token", _TEXT, "token_count"),
    _view("entities", "text_cls", ("D",), "token 0 of text_tokens", _TEXT),
    _view("entities", "text_mean", ("D",), "mean of tokens 1 … n-2 of text_tokens", _TEXT),
    _view("entities", "text_max", ("D",), "maximum of tokens 1 … n-2 of text_tokens", _TEXT),
    _view("entities", "text_pooled", ("D",), "the text encoder's pooled output (WikiDiverse)", _TEXT),
    _view("entities", "image_pooled", ("V",), "the image encoder's pooled output", _IMG),
    *_picture_fields("entities"),
    # mentions -------------------------------------------------------------------------------
    _text("mentions", "id", "mention id of the source, or split-number; unique"),
    _text("mentions", "sentence", "the sentence"),
    _text("mentions", "mention", "the mention as it stands in the sentence", "raw source"),
    _text("mentions", "topic", "topic of the sentence (WikiDiverse)", "raw WikiDiverse"),
    _text("mentions", "entity_type", "type of the gold entity (WikiDiverse)", "raw WikiDiverse"),
    _column("mentions", "char_start", (), "int32", "character", "start in the sentence", "raw source"),
    _column("mentions", "char_end", (), "int32", "character", "end, exclusive", "raw source"),
    _column("mentions", "token_start", (), "int32", "token",
            "word pieces before the mention, [CLS] not counted", _TEXT),
    _column("mentions", "token_end", (), "int32", "token",
            "token_start + word pieces of the mention: its tokens are [start+1, end+1)", _TEXT),
    _column("mentions", "token_count", (), "int32", "token",
            "real tokens of the sentence, [CLS] and [SEP] included, at most T", _TEXT),
    _column("mentions", "span_empty", (), "uint8", "flag",
            "1 = truncation left no token of the mention: text_span is [CLS]", _TEXT),
    Field("mentions", "text_tokens", "record", ("T", "D"), FEATURE, "feature",
          "last hidden state of every token", _TEXT, "token_count"),
    _view("mentions", "text_cls", ("D",), "token 0 of text_tokens", _TEXT),
    _view("mentions", "text_span", ("D",), "mean of the mention's tokens of text_tokens", _TEXT),
    Field("mentions", "image_regions", "record", ("R", "V"), FEATURE, "feature",
          "the image encoder's last hidden state, one row a region", _IMG),
    _view("mentions", "image_mean", ("V",), "mean over the regions", _IMG),
    *_picture_fields("mentions"),
    _column("mentions", "candidates", ("K",), "int32", "entity row", "retrieved candidates, best first"),
    _column("mentions", "gold", (), "int32", "entity row", "the gold entity; -1 = not in the table"),
    _column("mentions", "answer", (), "int32", "index",
            "place of the gold among the candidates; K = not retrieved"),
    _column("mentions", "sim_image_text", ("C",), "float32", "logit",
            "CLIP 100·cos of the mention's picture and each entity's text; gold slot last", _CLIP),
    _column("mentions", "sim_text_image", ("C",), "float32", "logit",
            "CLIP 100·cos of the mention's text and each entity's picture; gold slot last", _CLIP),
)  # fmt: skip

BY_PATH: dict[str, Field] = {field.path: field for field in FIELDS}

#: Similarity of a mention and an entity → the embedding of the mention and that of the entity whose
#: product it is.
SIMILARITIES: Mapping[str, tuple[str, str]] = {
    "sim_image_text": ("clip_image", "clip_text"),
    "sim_text_image": ("clip_text", "clip_image"),
}


def fields_of(table: Table) -> Iterator[Field]:
    """The fields of one table, in the order of the schema."""
    return (field for field in FIELDS if field.table == table)
