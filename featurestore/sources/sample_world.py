"""What the sample says: its entities, its mentions, and what text and pictures give away.

Entities stand in groups of three or four that share one name ("Kaloren (river)", "Kaloren (ship)",
…). The candidates of a mention are the gold's namesakes and fillers of other names, so the name
alone leaves three or four. Two things tell namesakes apart:

* **text**: their kinds differ. Somewhat more than half of the sentences use words of the gold's
  topic; the others are built from the same clauses with neutral words and tell nothing.
* **pictures**: their themes (ground colour, figure colour, pattern, shape) share no colour. The
  mention's picture is another drawing of the gold's theme. An entity's description names its
  theme too, a sentence never does, so a model may compare picture with picture or with text.

Themes and kinds are drawn independently of each other and of the name. Eight colours and 24 topics
serve all entities, so what is learnt must be how to compare, not which entity is which.

Everything follows from the arguments and a seed. Arrays hold small integers, a few dozen bytes an
entity; texts are made when asked for, each from its own seed, so any size streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from featurestore.sources import sample_words as vocabulary

Ints = npt.NDArray[np.int64]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

#: ``candidates`` value of a place without a candidate, and of no gold.
NOBODY = -1

Stream = Literal[
    "plan", "sentence", "description",
    "odd sentences", "odd golds", "mention pictures", "entity pictures",
    "mention picture", "entity picture", "mention boxes", "entity boxes",
    "latents", "mention text", "mention image", "entity text", "entity image", "similarities",
]  # fmt: skip


def stream(seed: int, purpose: Stream, row: int = 0) -> np.random.Generator:
    """The random numbers of one purpose and row: the same whatever else is drawn, in any order."""
    return np.random.default_rng((seed, get_args(Stream).index(purpose), row))


@dataclass(frozen=True, kw_only=True)
class Theme:
    """What all pictures of an entity have in common: two colours, a pattern and a shape."""

    ground: str
    figure: str
    pattern: str
    shape: str


@dataclass(frozen=True, kw_only=True)
class World:
    """The plan of one sample: N entities, M mentions, K candidates a mention.

    Text lengths (``mention_tokens``, ``entity_tokens``) are in word pieces and bound what the
    texts hold; descriptions run over theirs now and then, as real ones do.
    """

    seed: int
    mention_tokens: int
    entity_tokens: int
    group: Ints  # (N,) which name; namesakes stand next to each other
    kind: Ints  # (N,) index into KINDS
    theme: Ints  # (N, 4) indices: ground, figure, pattern, shape
    gold: Ints  # (M,) entity row
    telling: npt.NDArray[np.bool_]  # (M,) the sentence uses words of the gold's topic
    candidates: Ints  # (M, K) entity rows, NOBODY where the list is short
    answer: Ints  # (M,) place of the gold among the candidates, K = not retrieved
    split: Ints  # (M,) index into SPLITS
    picture: Ints  # (M,) the mention whose picture it stands under; mostly its own

    @property
    def entities(self) -> int:
        return len(self.group)

    @property
    def mentions(self) -> int:
        return len(self.gold)

    def rows_of(self, split: Split) -> Ints:
        """The mention rows of a split, in order."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    @property
    def pictures(self) -> Ints:
        """The mention rows that have a picture of their own, one a distinct picture."""
        return np.unique(self.picture)

    def name(self, entity: int) -> str:
        """The name that the entity shares with its group."""
        return vocabulary.name(int(self.group[entity]), int(self.group[-1]) + 1)

    def kind_of(self, entity: int) -> str:
        """What the entity is, such as "river"; the topic of the texts about it."""
        return vocabulary.KINDS[self.kind[entity]]

    def title(self, entity: int) -> str:
        """Name and kind, such as "Kaloren (river)"; unique."""
        return f"{self.name(entity)} ({self.kind_of(entity)})"

    def theme_of(self, entity: int) -> Theme:
        """The theme of the entity's pictures, in words."""
        ground, figure, pattern, shape = (int(part) for part in self.theme[entity])
        colours = tuple(vocabulary.COLOURS)
        return Theme(
            ground=colours[ground],
            figure=colours[figure],
            pattern=vocabulary.PATTERNS[pattern],
            shape=vocabulary.SHAPES[shape],
        )

    def description(self, entity: int) -> str:
        """Sentences about the entity: its kind, its emblem (the theme in words), its topic.

        The last entity has no description: an empty string.
        """
        if entity == self.entities - 1:
            return ""
        rng = stream(self.seed, "description", entity)
        theme, kind = self.theme_of(entity), self.kind_of(entity)
        topic = _pairs(rng, vocabulary.TOPICS[kind])
        a, b = next(topic)
        sentences = [
            vocabulary.OPENING.format(name=self.name(entity), kind=kind, a=a, b=b),
            vocabulary.EMBLEM.format(
                figure=theme.figure, shape=theme.shape, pattern=theme.pattern, ground=theme.ground
            ),
        ]
        # Some descriptions run over S, whatever it is.
        length = 20 + rng.exponential(self.entity_tokens / 3)
        while sum(len(s.split()) for s in sentences) + 6 < length:
            sentences.append(_clause(rng, vocabulary.FOLLOWS, next(topic)))
        return ". ".join(_capitalised(sentence) for sentence in sentences) + "."

    def sentence(self, mention: int) -> str:
        """The mention's sentence; it holds the gold's name once and at most T − 2 word pieces."""
        rng = stream(self.seed, "sentence", mention)
        gold = int(self.gold[mention])
        known = vocabulary.TOPICS[self.kind_of(gold)] if self.telling[mention] else None
        slots = _pairs(rng, known or vocabulary.NEUTRAL)
        main = _clause(rng, vocabulary.MAINS, next(slots), name=self.name(gold))
        clauses = [main]
        room = self.mention_tokens - 2 - 8  # [CLS], [SEP], and the name's pieces and marks
        length = min(room, 8 + rng.exponential(self.mention_tokens / 6))
        while sum(len(c.split()) + 1 for c in clauses) + 9 <= length:
            before = clauses[0] is main and rng.random() < 0.5
            more = _clause(rng, vocabulary.LEADS if before else vocabulary.FOLLOWS, next(slots))
            clauses.insert(0 if before else len(clauses), more)
        return _capitalised(", ".join(clauses)) + "."


def _clause(
    rng: np.random.Generator, clauses: Sequence[str], words: tuple[str, str], *, name: str = ""
) -> str:
    a, b = words
    return clauses[int(rng.integers(len(clauses)))].format(a=a, b=b, name=name)


def _pairs(rng: np.random.Generator, words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of distinct words without end; the list is used up before a word comes again."""
    while True:
        shuffled = [words[index] for index in rng.permutation(len(words))]
        yield from zip(shuffled[0::2], shuffled[1::2], strict=False)


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]
