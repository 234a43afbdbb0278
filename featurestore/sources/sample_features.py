"""Made-up features with the sample's evidence in them; NumPy only.

They imitate what encoders make of the sample's texts and pictures (``featurestore.encoders.tiny``
does the same with networks):

* a token's feature is its word piece's vector plus the mean of the sentence's telling pieces;
* a region's feature is what lies there, the theme's ground and pattern or its figure and shape;
* a CLIP similarity is the cosine of two sums of vectors, of a theme's colours and of a topic.

Each row is made from its own random numbers, so equal rows are equal wherever they are repeated and
no table of features is ever held.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featurestore.sources import sample_words as vocabulary
from featurestore.sources.sample_world import Ints, World, stream

Floats = npt.NDArray[np.float32]

# Chosen here: with them the nearest candidate is right about as often as in the raw sample.
_TOKEN_NOISE = 0.3
_CONTEXT = 1.5
_KINSHIP = 0.8  # length of what the vectors of a topic's words share, of a whole of 1
_REGION_NOISE = 0.5
_CLIP_NOISE = 0.8  # of a mention's side, where a colour or topic has 1
_CLIP_WIDTH = 32


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Sizes of the arrays: D, V, T, S, R and the objects of a mention's and an entity's picture."""

    text: int
    image: int
    mention_tokens: int
    entity_tokens: int
    regions: int
    mention_objects: int
    entity_objects: int


class TextFeatures:
    """Token features of texts, (tokens, D), and pooled ones, (D,)."""

    def __init__(self, *, seed: int, width: int) -> None:
        rng = stream(seed, "latents", 0)
        pieces = vocabulary.piece_ids()
        self._width = width
        self._vectors = rng.standard_normal((len(pieces), width), dtype=np.float32)
        for family in vocabulary.families():
            rows = [pieces[word] for word in sorted(family)]
            shared = rng.standard_normal(width, dtype=np.float32)
            self._vectors[rows] *= math.sqrt(1 - _KINSHIP**2)
            self._vectors[rows] += _KINSHIP * shared
        self._telling = np.ones(len(pieces), bool)
        self._telling[[pieces[p] for p in (*vocabulary.quiet_words(), *vocabulary.marks())]] = False
        self._vectors[~self._telling] *= 0.3

    def tokens(
        self, pieces: list[int], length: int, rng: np.random.Generator
    ) -> tuple[Floats, int]:
        """Features (length, D) of [CLS] pieces [SEP] and padding, and how many of them are real.

        Padding is not zero: an encoder leaves the sentence's mean there too.
        """
        kept = np.asarray(pieces[: length - 2], np.int64)
        features = rng.standard_normal((length, self._width), dtype=np.float32)
        features *= _TOKEN_NOISE
        features += self._context(np.asarray(pieces, np.int64))
        features[1 : len(kept) + 1] += self._vectors[kept]
        return features, len(kept) + 2

    def pooled(self, pieces: list[int], rng: np.random.Generator) -> Floats:
        """(D,) one vector of a whole text, within ±1."""
        noise = rng.standard_normal(self._width, dtype=np.float32)
        context = self._context(np.asarray(pieces, np.int64))
        return np.tanh(context + 0.5 * _TOKEN_NOISE * noise)

    def _context(self, pieces: Ints) -> Floats:
        telling = pieces[self._telling[pieces]]
        if not len(telling):
            return np.zeros(self._width, np.float32)
        return _CONTEXT * self._vectors[telling].mean(0)


@dataclass(frozen=True)
class Picture:
    """Features of one picture: regions (R, V), pooled (V,), objects (O, V) and their scores (O,)."""

    regions: Floats
    pooled: Floats
    objects: Floats
    scores: Floats


class PictureFeatures:
    """Features of pictures of themes; nothing is negative, as behind a ReLU."""

    def __init__(self, *, seed: int, width: int) -> None:
        rng = stream(seed, "latents", 1)
        colours, patterns, shapes = (
            len(each) for each in (vocabulary.COLOURS, vocabulary.PATTERNS, vocabulary.SHAPES)
        )
        self._width = width
        self._ground = rng.standard_normal((colours, width), dtype=np.float32)
        self._figure = rng.standard_normal((colours, width), dtype=np.float32)
        self._pattern = 0.5 * rng.standard_normal((patterns, width), dtype=np.float32)
        self._shape = 0.5 * rng.standard_normal((shapes, width), dtype=np.float32)
        self._default = np.maximum(rng.standard_normal(width, dtype=np.float32), 0)

    def of_theme(
        self, theme: Ints, rng: np.random.Generator, *, regions: int, objects: int
    ) -> Picture:
        """One picture of a theme (ground, figure, pattern, shape); figures take a quarter of it."""
        ground = self._ground[theme[0]] + self._pattern[theme[2]]
        figure = self._figure[theme[1]] + self._shape[theme[3]]
        share = rng.uniform(0.15, 0.35)
        covered = rng.random(regions) < share
        clean = np.where(covered[:, None], figure, ground)
        pooled = (1 - share) * ground + share * figure
        found = int(rng.integers(0, objects + 1))
        boxes = np.where(np.arange(objects)[:, None] < 1, figure, ground)
        scores = np.zeros(objects, np.float32)
        scores[:found] = np.sort(rng.uniform(0.3, 1, found))[::-1]
        return Picture(
            self._seen(clean, rng), self._seen(pooled, rng), self._seen(boxes, rng), scores
        )

    def of_default(self, *, regions: int, objects: int) -> Picture:
        """The picture that stands where an own one is missing: always the same, no objects."""
        return Picture(
            np.tile(self._default, (regions, 1)),
            self._default,
            np.tile(self._default, (objects, 1)),
            np.zeros(objects, np.float32),
        )

    def _seen(self, clean: Floats, rng: np.random.Generator) -> Floats:
        noise = rng.standard_normal(clean.shape, dtype=np.float32)
        return np.maximum(clean + _REGION_NOISE * noise, 0, dtype=np.float32)


class ClipSimilarities:
    """100·cos of pictures and texts, from vectors of colours and topics."""

    def __init__(self, world: World) -> None:
        rng = stream(world.seed, "latents", 2)
        self._world = world
        colours, kinds = len(vocabulary.COLOURS), len(vocabulary.KINDS)
        self._colour = rng.standard_normal((colours, _CLIP_WIDTH)) / math.sqrt(_CLIP_WIDTH)
        self._kind = rng.standard_normal((kinds, _CLIP_WIDTH)) / math.sqrt(_CLIP_WIDTH)

    def image_text(self, mention: int, entities: Ints) -> Floats:
        """(entities,) the mention's picture against each entity's text."""
        gold = int(self._world.gold[mention])
        own = self._pictures(np.array([gold])) + self._noise(mention, 0)
        return _cosines(own, self._texts(entities))

    def text_image(self, mention: int, entities: Ints) -> Floats:
        """(entities,) the mention's text against each entity's picture."""
        gold, telling = int(self._world.gold[mention]), bool(self._world.telling[mention])
        own = telling * self._kind[self._world.kind[[gold]]] + self._noise(mention, 1)
        return _cosines(own, self._pictures(entities))

    def _pictures(self, entities: Ints) -> npt.NDArray[np.float64]:
        theme = self._world.theme[entities]
        colours = self._colour[theme[:, 0]] + 0.6 * self._colour[theme[:, 1]]
        return colours + 0.3 * self._kind[self._world.kind[entities]]

    def _texts(self, entities: Ints) -> npt.NDArray[np.float64]:
        colours = self._colour[self._world.theme[entities, :2]].sum(1)
        return colours + self._kind[self._world.kind[entities]]

    def _noise(self, mention: int, side: int) -> npt.NDArray[np.float64]:
        rng = stream(self._world.seed, "similarities", 2 * mention + side)
        return rng.standard_normal((1, _CLIP_WIDTH)) * (_CLIP_NOISE / math.sqrt(_CLIP_WIDTH))


def _cosines(one: npt.NDArray[np.float64], many: npt.NDArray[np.float64]) -> Floats:
    """(n,) 100·cos of ``one`` (1, P) and each row of ``many`` (n, P)."""
    lengths = np.linalg.norm(one) * np.linalg.norm(many, axis=1)
    return (100 * (many @ one[0]) / lengths).astype(np.float32)
