"""Datasets to plan for, and the bytes of their rows."""

from __future__ import annotations

from dataclasses import dataclass

#: Widths of the release's encoders: BERT-base, ResNet-152, CLIP ViT-B/32. Features take two bytes.
TEXT, IMAGE, CLIP, FEATURE = 768, 2048, 512, 2

#: Objects kept of a picture, by table.
ENTITY_OBJECTS, MENTION_OBJECTS = 1, 3

#: Bytes of the texts of a row with their offsets: WikiMEL's, by drin-fs inspect (id, title, description
#: and encoded text; id, sentence and mention).
ENTITY_TEXTS, MENTION_TEXTS = 340, 96

#: Hash and row of an id; position, size and checksum of a record.
ID_INDEX, RECORD = 12, 24

#: The views of an entity that DRIN reads.
DRIN_VIEWS = FEATURE * (2 * TEXT + 2 * IMAGE)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """What is planned for. ``tested``: mentions that are ranked among all entities.

    ``pooled``: of an entity's text one vector is stored, as WikiDiverse has it, and no tokens.
    """

    name: str
    mentions: int
    entities: int
    candidates: int
    tested: int
    mention_pictures: int
    entity_pictures: int
    pooled: bool = False

    @property
    def pictures(self) -> int:
        return self.mention_pictures + self.entity_pictures

    @property
    def encoded_pictures(self) -> int:
        """What goes through ResNet: each picture, and what its boxes enclose."""
        return self.mention_pictures * (1 + MENTION_OBJECTS) + self.entity_pictures * (
            1 + ENTITY_OBJECTS
        )

    @property
    def view_bytes(self) -> int:
        """A store without records: ids, texts, columns and views."""
        texts = 1 if self.pooled else 3
        entity = ID_INDEX + ENTITY_TEXTS + 1 + 4 + 20 * ENTITY_OBJECTS
        entity += FEATURE * (texts * TEXT + (1 + ENTITY_OBJECTS) * IMAGE + 2 * CLIP)
        k = self.candidates
        mention = ID_INDEX + MENTION_TEXTS + 4 * k + 8 * (k + 1) + 26 + 20 * MENTION_OBJECTS
        mention += FEATURE * (2 * TEXT + (1 + MENTION_OBJECTS) * IMAGE + 2 * CLIP)
        return self.entities * entity + self.mentions * mention

    @property
    def exact_bytes(self) -> int:
        """CLIP's float32 embeddings, which wait beside the store until similarities are made."""
        return (self.entities + self.mentions) * 2 * CLIP * 4


def every_row_has_a_picture(
    name: str, *, mentions: int, entities: int, candidates: int, tested: int, pooled: bool = False
) -> Dataset:
    """An upper bound: rows without one share the default picture's features."""
    return Dataset(
        name=name,
        mentions=mentions,
        entities=entities,
        candidates=candidates,
        tested=tested,
        mention_pictures=mentions,
        entity_pictures=entities,
        pooled=pooled,
    )


#: A million mentions are assumed where a dataset is but a knowledge base, and 5,000 of them are
#: ranked among all entities.
DATASETS = (
    every_row_has_a_picture(
        "WikiMEL here", mentions=25_846, entities=18_880, candidates=100, tested=5_131
    ),
    every_row_has_a_picture(
        "WikiMEL", mentions=25_846, entities=109_976, candidates=100, tested=5_131
    ),
    Dataset(
        name="WikiMEL, 788k pictures",
        mentions=25_846,
        entities=109_976,
        candidates=100,
        tested=5_131,
        mention_pictures=25_846,
        entity_pictures=788_403,
    ),
    every_row_has_a_picture(
        "WikiDiverse, 7.4 M",
        mentions=16_327,
        entities=7_400_000,
        candidates=10,
        tested=1_570,
        pooled=True,
    ),
    every_row_has_a_picture(
        "Wikipedia, 16 M", mentions=1_000_000, entities=16_000_000, candidates=100, tested=5_000
    ),
    every_row_has_a_picture(
        "Wikidata, 100 M", mentions=1_000_000, entities=100_000_000, candidates=100, tested=5_000
    ),
)
