"""What the sample says: its entities, its mentions, and what text and pictures give away.

Entities stand in groups of three or four that share one name ("Kaloren (river)", "Kaloren (ship)",
…). The candidates of a mention are the gold's namesakes and fillers of other names, so the name
alone leaves three or four. Two things tell namesakes apart:

* **text**: their kinds differ. Half of the sentences (:data:`TELLING`) use words of the gold's
  topic; the others are built from the same clauses with neutral words and tell nothing. A perfect
  reader of text is right in the telling half and in 1/3.5 of the rest: about 64 %.
* **pictures**: their themes (ground colour, figure colour, pattern, shape) share no colour. The
  mention's picture is another drawing of the gold's theme. An entity's description names its
  theme too, a sentence never does, so a model may compare picture with picture or with text.

Themes and kinds are drawn independently of each other and of the name, and few combinations serve
many entities: what is learnt must be how to compare, not which entity is which.

Everything follows from the arguments and a seed. Arrays hold small integers, a few dozen bytes an
entity; texts are made when asked for, each from its own seed, so any size streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from featurestore.errors import ConfigError
from featurestore.sources import sample_words as vocabulary

Ints = npt.NDArray[np.int64]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

#: Share of mentions whose sentence uses words of the gold's topic; chosen here, see the module text.
TELLING = 0.5
#: Share of mentions whose gold is not among the candidates; chosen here, between WikiMEL's 1 %
#: and WikiDiverse's 12 %.
NOT_RETRIEVED = 0.03
#: Share of mentions that stand under the same picture as another mention of the same entity.
SHARED_PICTURE = 0.1
#: ``candidates`` value of a place without a candidate, and of no gold.
NOBODY = -1

Stream = Literal["plan", "sentence", "description", "troubles", "picture", "features"]


def stream(seed: int, purpose: Stream, *row: int) -> np.random.Generator:
    """The random numbers of one purpose (and row): equal whatever else is drawn, in any order."""
    return np.random.default_rng((seed, get_args(Stream).index(purpose), *row))


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
    picture: Ints  # (M,) the mention under whose number the picture is kept; mostly its own

    @property
    def entities(self) -> int:
        return len(self.group)

    @property
    def mentions(self) -> int:
        return len(self.gold)

    def rows_of(self, split: Split) -> Ints:
        """The mention rows of a split, in order."""
        return np.flatnonzero(self.split == SPLITS.index(split))

    def name(self, entity: int) -> str:
        """The name that the entity shares with its group."""
        return vocabulary.name(int(self.group[entity]), int(self.group[-1]) + 1)

    def kind_of(self, entity: int) -> str:
        return vocabulary.KINDS[self.kind[entity]]

    def title(self, entity: int) -> str:
        """Name and kind, such as "Kaloren (river)"; unique."""
        return f"{self.name(entity)} ({self.kind_of(entity)})"

    def theme_of(self, entity: int) -> Theme:
        ground, figure, pattern, shape = (int(part) for part in self.theme[entity])
        colours = tuple(vocabulary.COLOURS)
        return Theme(
            ground=colours[ground],
            figure=colours[figure],
            pattern=vocabulary.PATTERNS[pattern],
            shape=vocabulary.SHAPES[shape],
        )

    def description(self, entity: int) -> str:
        """Sentences about the entity: its kind, its emblem (the theme in words), its topic."""
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
        # A third of S more words in the mean: most descriptions fit S, some run over it.
        length = rng.exponential(self.entity_tokens / 3) + 20
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


def plan_world(
    *,
    mentions: int,
    entities: int,
    candidates: int,
    mention_tokens: int,
    entity_tokens: int,
    short_lists: bool,
    seed: int,
) -> World:
    """Plan a sample; ``short_lists``: some candidate lists are shorter than K, one is empty.

    Raises:
        ConfigError: the numbers leave no room for splits, name groups or sentences.
    """
    _check(mentions, entities, candidates, mention_tokens, entity_tokens)
    rng = stream(seed, "plan")
    group = _groups(entities)
    kind, theme = _kinds_and_themes(rng, group)
    gold = _golds(rng, mentions, entities)
    retrieved = rng.random(mentions) >= NOT_RETRIEVED
    retrieved[rng.integers(mentions)] = False
    lengths = _list_lengths(rng, mentions, candidates, short=short_lists)
    lists = _candidates(rng, group, gold, retrieved, lengths, candidates)
    found = lists == gold[:, None]
    split = _splits(rng, mentions)
    return World(
        seed=seed,
        mention_tokens=mention_tokens,
        entity_tokens=entity_tokens,
        group=group,
        kind=kind,
        theme=theme,
        gold=gold,
        telling=rng.permutation(mentions) < TELLING * mentions,
        candidates=lists,
        answer=np.where(found.any(1), found.argmax(1), candidates),
        split=split,
        picture=_pictures(rng, gold, split),
    )


def _check(
    mentions: int, entities: int, candidates: int, mention_tokens: int, entity_tokens: int
) -> None:
    least = {
        "mentions": (mentions, 20, "every split needs a few"),
        "candidates": (candidates, 4, "a name has up to four bearers"),
        "entities": (entities, candidates + 8, "every list needs fillers of other names"),
        "mention_tokens": (mention_tokens, 24, "a sentence needs about as many word pieces"),
        "entity_tokens": (entity_tokens, 16, "a description needs about as many word pieces"),
    }
    for what, (given, smallest, why) in least.items():
        if given < smallest:
            raise ConfigError(
                f"{what} is {given}, the sample needs at least {smallest}",
                where=what,
                hint=f"{why}; choose {smallest} or more",
            )


def _groups(entities: int) -> Ints:
    """(N,) name of each entity: groups of 3 and 4 in turn, so 1/3.5 is what guessing gets."""
    sizes = np.resize([3, 4], entities // 3 + 1)
    return np.repeat(np.arange(len(sizes)), sizes)[:entities]


def _kinds_and_themes(rng: np.random.Generator, group: Ints) -> tuple[Ints, Ints]:
    """Kind (N,) and theme (N, 4): namesakes share neither a kind nor any colour."""
    count = int(group[-1]) + 1
    place = np.arange(len(group)) - np.searchsorted(group, group)  # 0 … 3 within the group

    def one_each(values: int) -> Ints:  # (groups, values): a permutation for every group
        return rng.random((count, values)).argsort(1)

    kinds, colours = one_each(len(vocabulary.KINDS)), one_each(len(vocabulary.COLOURS))
    theme = np.stack(
        [
            colours[group, place],
            colours[group, place + 4],
            rng.integers(len(vocabulary.PATTERNS), size=len(group)),
            rng.integers(len(vocabulary.SHAPES), size=len(group)),
        ],
        axis=1,
    )
    return kinds[group, place], theme


def _golds(rng: np.random.Generator, mentions: int, entities: int) -> Ints:
    """(M,) gold of each mention: every entity equally often, so that no prior helps."""
    rounds = [rng.permutation(entities) for _ in range(-(-mentions // entities))]
    return rng.permutation(np.concatenate(rounds)[:mentions])


def _splits(rng: np.random.Generator, mentions: int) -> Ints:
    """(M,) index into SPLITS: 70 / 15 / 15 % of the mentions, at random."""
    held_out = round(0.15 * mentions)
    order = rng.permutation(mentions)
    return np.select([order < held_out, order < 2 * held_out], [2, 1], 0)


def _list_lengths(
    rng: np.random.Generator, mentions: int, candidates: int, *, short: bool
) -> Ints:
    """(M,) candidates of each mention: K; with ``short``, a tenth have fewer and one has none."""
    lengths = np.full(mentions, candidates)
    if short:
        some = rng.permutation(mentions)[: max(2, mentions // 10)]
        lengths[some] = rng.integers(2, candidates, size=len(some))
        lengths[some[0]] = 0
    return lengths


def _candidates(
    rng: np.random.Generator,
    group: Ints,
    gold: Ints,
    retrieved: npt.NDArray[np.bool_],
    lengths: Ints,
    most: int,
) -> Ints:
    """(M, K) entity rows: the gold's namesakes in random order, then fillers of other names."""
    lists = np.full((len(gold), most), NOBODY)
    first = np.searchsorted(group, group[gold], side="left")
    last = np.searchsorted(group, group[gold], side="right")
    for row, (start, stop, entity) in enumerate(zip(first, last, gold, strict=True)):
        namesakes = rng.permutation(np.arange(start, stop))
        if not retrieved[row]:
            namesakes = namesakes[namesakes != entity]
        drawn = rng.choice(len(group), size=min(len(group), most + 4), replace=False)
        fillers = drawn[(drawn < start) | (drawn >= stop)]
        lists[row] = np.concatenate([namesakes, fillers])[:most]
        lists[row, lengths[row] :] = NOBODY
    return lists


def _pictures(rng: np.random.Generator, gold: Ints, split: Ints) -> Ints:
    """(M,) whose picture a mention stands under: its own, or an earlier mention's of its gold."""
    picture = np.arange(len(gold))
    earlier: dict[tuple[int, int], int] = {}
    for row, key in enumerate(zip(gold.tolist(), split.tolist(), strict=True)):
        if key in earlier and rng.random() < SHARED_PICTURE:
            picture[row] = earlier[key]
        else:
            earlier.setdefault(key, row)
    return picture


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
