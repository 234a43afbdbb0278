"""The sample as preprocessed ``.npy`` features (DATASETS.md, "Preprocessed"), written as it is made.

Whatever the size, memory holds the plan (some dozen bytes an entity) and one row of features.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np

from featurestore.arrayfile import ArrayFile
from featurestore.progress import Progress
from featurestore.sources import sample_words as vocabulary
from featurestore.sources.sample_features import (
    ClipSimilarities,
    Floats,
    Picture,
    PictureFeatures,
    TextFeatures,
    Widths,
)
from featurestore.sources.sample_files import write_json
from featurestore.sources.sample_names import (
    gold_states,
    picture_digest,
    picture_url,
    qid,
    wiki_title,
)
from featurestore.sources.sample_plan import picture_states
from featurestore.sources.sample_world import NOBODY, SPLITS, Ints, Split, World, stream

#: In a gold slot: the mention has no entity (its URL reads "NIL").
_NIL = -2
_DEFAULT_PICTURE = "raw/default.jpg"
#: What a row of each kind of array is made of.
_Shapes = dict[str, tuple[tuple[int, ...], str]]


def write_preprocessed(
    root: Path,
    world: World,
    *,
    dataset: Literal["wikimel", "wikidiverse"],
    widths: Widths,
    progress: Progress,
) -> dict[str, int]:
    """Write the arrays of one dataset into ``root``; what troubles are planted, and how often."""
    root.mkdir(parents=True, exist_ok=True)
    writer = _Writer(root, world, dataset=dataset, widths=widths)
    for split in SPLITS:
        writer.write_mentions(split, progress)
        if dataset == "wikidiverse":
            writer.write_entity_slots(split, progress)
        else:
            writer.write_entity_names(split)
    if dataset == "wikimel":
        writer.write_entity_table(progress)
    return writer.troubles()


class _Writer:
    """Makes the rows of every file from the plan."""

    def __init__(
        self,
        root: Path,
        world: World,
        *,
        dataset: Literal["wikimel", "wikidiverse"],
        widths: Widths,
    ) -> None:
        self._root, self._world, self._widths, self._dataset = root, world, widths, dataset
        self._text = TextFeatures(seed=world.seed, width=widths.text)
        self._picture = PictureFeatures(seed=world.seed, width=widths.image)
        self._clip = ClipSimilarities(world)
        self._slots = np.column_stack([world.candidates, world.gold])
        if dataset == "wikidiverse":
            nil = np.array([state == "NIL" for state in gold_states(world)])
            self._slots[nil, -1] = _NIL
        self._answers = np.where(self._slots[:, -1] == _NIL, self._slots.shape[1] - 1, world.answer)
        self._entity_seen = _has_picture(world.entities, stream(world.seed, "entity pictures"))
        seen = _has_picture(len(world.pictures), stream(world.seed, "mention pictures"))
        self._mention_seen = np.zeros(world.mentions, bool)
        self._mention_seen[world.pictures] = seen
        self._mention_seen = self._mention_seen[world.picture]

    def troubles(self) -> dict[str, int]:
        slots = self._slots
        return {
            "golds not among the candidates": int((self._answers == slots.shape[1] - 1).sum()),
            "golds that are NIL": int((slots[:, -1] == _NIL).sum()),
            "short candidate lists": int((slots == NOBODY).any(1).sum()),
            "mentions without picture": int((~self._mention_seen).sum()),
            "entities without picture": int((~self._entity_seen).sum()),
        }

    def _open(self, stack: ExitStack, count: int, shapes: _Shapes) -> dict[str, ArrayFile]:
        """A file a name, each for ``count`` rows of its shape and dtype."""
        return {
            name: stack.enter_context(ArrayFile(self._root / f"{name}.npy", (count, *shape), dtype))
            for name, (shape, dtype) in shapes.items()
        }

    # mentions -----------------------------------------------------------------------------------

    def write_mentions(self, split: Split, progress: Progress) -> None:
        """Every file of a split's mentions, row by row."""
        w, rows = self._widths, self._world.rows_of(split)
        slots = self._slots.shape[1]
        shapes: _Shapes = {
            "mention-text-feature": ((w.mention_tokens, w.text), "<f4"),
            "mention-text-mask": ((w.mention_tokens,), "<i8"),
            "start-pos": ((), "<i8"),
            "end-pos": ((), "<i8"),
            "answer": ((), "<i8"),
            "mention-image-feature": ((w.regions, w.image), "<f4"),
            "mention-object-feature": ((w.mention_objects, w.image), "<f4"),
            "mention-object-score": ((w.mention_objects,), "<f4"),
            "similarity-miet": ((slots,), "<f4"),
            "similarity-eimt": ((slots,), "<f4"),
        }
        shapes = {f"{name}_{split}": shape for name, shape in shapes.items()}
        with (
            ExitStack() as stack,
            progress.stage(f"{split} mentions", len(rows), "mentions") as stage,
        ):
            files = self._open(stack, len(rows), shapes)
            for row in rows.tolist():
                for name, value in self._mention(row).items():
                    files[f"{name}_{split}"].append(np.asarray(value)[None])
                stage.advance(1)
        sentences = [self._world.sentence(row) for row in rows.tolist()]
        np.save(self._root / f"mention-text-raw_{split}.npy", np.array(sentences))
        if self._dataset == "wikidiverse":
            paths = [self._mention_path(row) for row in rows.tolist()]
            np.save(self._root / f"mention-image-path_{split}.npy", np.array(paths))

    def _mention(self, row: int) -> dict[str, Floats | Ints | int]:
        """One row of each file of a mention's features."""
        world, length = self._world, self._widths.mention_tokens
        sentence, name = world.sentence(row), world.name(int(world.gold[row]))
        start = len(vocabulary.tokenize(sentence[: sentence.index(name)]))
        rng = stream(world.seed, "mention text", row)
        text, tokens = self._text.tokens(vocabulary.tokenize(sentence), length, rng)
        picture = self._mention_picture(row)
        return {
            "mention-text-feature": text,
            "mention-text-mask": (np.arange(length) < tokens).astype(np.int64),
            "start-pos": start,
            "end-pos": start + len(vocabulary.tokenize(name)),
            "answer": int(self._answers[row]),
            "mention-image-feature": picture.regions,
            "mention-object-feature": picture.objects,
            "mention-object-score": picture.scores,
            "similarity-miet": self._similarities(row, "miet"),
            "similarity-eimt": self._similarities(row, "eimt"),
        }

    def _mention_picture(self, row: int) -> Picture:
        world, w = self._world, self._widths
        if not self._mention_seen[row]:
            return self._picture.of_default(regions=w.regions, objects=w.mention_objects)
        rng = stream(world.seed, "mention image", int(world.picture[row]))
        theme = world.theme[world.gold[row]]
        return self._picture.of_theme(theme, rng, regions=w.regions, objects=w.mention_objects)

    def _similarities(self, row: int, kind: Literal["miet", "eimt"]) -> Floats:
        """(K+1,) of every slot; 0 where a text is empty, or a picture missing."""
        slots = self._slots[row]
        known = slots >= 0
        if kind == "miet":
            known &= bool(self._mention_seen[row])
            found = self._clip.image_text(row, np.maximum(slots, 0))
        else:
            known &= self._entity_seen[np.maximum(slots, 0)]
            found = self._clip.text_image(row, np.maximum(slots, 0))
        return np.where(known, found, np.float32(0))

    def _mention_path(self, row: int) -> str:
        if not self._mention_seen[row]:
            return _DEFAULT_PICTURE
        name = self._world.name(int(self._world.gold[row]))
        return _picture_path(f"Photo_of_{name}_{self._world.picture[row]}")

    # entities -----------------------------------------------------------------------------------

    def write_entity_names(self, split: Split) -> None:
        """WikiMEL: the QID of every (mention, slot)."""
        slots = self._slots[self._world.rows_of(split)]
        width = len(qid(self._world.entities - 1))
        path = self._root / f"entity-name-raw_{split}.npy"
        with ArrayFile(path, (slots.size,), f"<U{width}") as file:
            for row in slots.tolist():
                file.append([qid(entity) for entity in row])

    def write_entity_table(self, progress: Progress) -> None:
        """WikiMEL: one row an entity, and which row is whose."""
        world, w = self._world, self._widths
        write_json(self._root / "qid2idx.json", {qid(row): row for row in range(world.entities)})
        shapes: _Shapes = {
            "entity-attr-feature": ((w.entity_tokens, w.text), "<f4"),
            "entity-attr-mask": ((w.entity_tokens,), "<i8"),
            "entity-image-feature_all": ((1, w.image), "<f4"),
            "entity-object-feature_all": ((w.entity_objects, w.image), "<f4"),
            "entity-object-score_all": ((w.entity_objects,), "<f4"),
        }
        with ExitStack() as stack, progress.stage("entities", world.entities, "entities") as stage:
            files = self._open(stack, world.entities, shapes)
            for row in range(world.entities):
                pieces = vocabulary.tokenize(f"{world.title(row)}. {world.description(row)}")
                rng = stream(world.seed, "entity text", row)
                text, tokens = self._text.tokens(pieces, w.entity_tokens, rng)
                picture = self._entity_picture(row)
                files["entity-attr-feature"].append(text[None])
                files["entity-attr-mask"].append((np.arange(w.entity_tokens) < tokens)[None])
                files["entity-image-feature_all"].append(picture.pooled[None, None])
                files["entity-object-feature_all"].append(picture.objects[None])
                files["entity-object-score_all"].append(picture.scores[None])
                stage.advance(1)

    def write_entity_slots(self, split: Split, progress: Progress) -> None:
        """WikiDiverse: the entity of every (mention, slot), repeated wherever it is a candidate."""
        w, slots = self._widths, self._slots[self._world.rows_of(split)].reshape(-1)
        distinct = np.unique(slots).tolist()
        longest = max(len(self._entity_text(entity)) for entity in distinct)
        longest_path = max(len(self._entity_path(entity)) for entity in distinct)
        shapes: _Shapes = {
            "entity-attr-raw": ((), f"<U{longest}"),
            "entity-image-path": ((), f"<U{longest_path}"),
            "entity-attr-feature": ((w.text,), "<f4"),
            "entity-image-feature": ((1, w.image), "<f4"),
            "entity-object-feature": ((w.entity_objects, w.image), "<f4"),
            "entity-object-score": ((w.entity_objects,), "<f4"),
        }
        shapes = {f"{name}_{split}": shape for name, shape in shapes.items()}
        with ExitStack() as stack, progress.stage(f"{split} slots", len(slots), "slots") as stage:
            files = self._open(stack, len(slots), shapes)
            for entity in slots.tolist():
                text, picture = self._entity_text(entity), self._entity_picture(entity)
                # Rows below 0 have a fixed text, and so a stream of their own behind the entities.
                rng = stream(self._world.seed, "entity text", entity % (self._world.entities + 2))
                pooled = self._text.pooled(vocabulary.tokenize(text), rng)
                files[f"entity-attr-raw_{split}"].append([text])
                files[f"entity-image-path_{split}"].append([self._entity_path(entity)])
                files[f"entity-attr-feature_{split}"].append(pooled[None])
                files[f"entity-image-feature_{split}"].append(picture.pooled[None, None])
                files[f"entity-object-feature_{split}"].append(picture.objects[None])
                files[f"entity-object-score_{split}"].append(picture.scores[None])
                stage.advance(1)

    def _entity_picture(self, entity: int) -> Picture:
        objects = self._widths.entity_objects
        if entity < 0 or not self._entity_seen[entity]:
            return self._picture.of_default(regions=0, objects=objects)
        rng = stream(self._world.seed, "entity image", entity)
        return self._picture.of_theme(self._world.theme[entity], rng, regions=0, objects=objects)

    def _entity_text(self, entity: int) -> str:
        """WikiDiverse: "title: brief" cut to 512 characters, or the title; "" pads a list."""
        if entity < 0:
            return "NIL" if entity == _NIL else ""
        title = wiki_title(self._world, entity)
        brief = self._world.description(entity)
        return f"{title}: {brief}"[:512] if brief else title

    def _entity_path(self, entity: int) -> str:
        if entity < 0 or not self._entity_seen[entity]:
            return _DEFAULT_PICTURE
        return _picture_path(f"{wiki_title(self._world, entity)}_0")


def _has_picture(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) bool: a picture that can be read stands there."""
    return np.isin(picture_states(count, rng), ["jpg", "png"])


def _picture_path(name: str) -> str:
    """Path of a picture as the release records it."""
    return f"raw/wikidiverse/images/{picture_digest(picture_url(name, 'jpg', 0))}.jpg"
