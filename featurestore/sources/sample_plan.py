"""The plan of a sample: which names, kinds, themes, golds, candidate lists and splits there are."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from featurestore.errors import ConfigError
from featurestore.sources import sample_words as vocabulary
from featurestore.sources.sample_world import NOBODY, Ints, World, stream

#: Share of mentions whose sentence uses words of the gold's topic. Chosen here: a perfect reader of
#: text is right in these and, among 3 or 4 namesakes, in 1/3.5 of the others: 68 % together.
TELLING = 0.55
#: Share of mentions whose gold is not among the candidates; chosen here, between WikiMEL's 1 %
#: and WikiDiverse's 12 %.
NOT_RETRIEVED = 0.03
#: Share of an entity's later mentions that stand under the picture of an earlier one; chosen here.
SHARED_PICTURE = 0.1
#: What stands in the place of a picture.
PictureState = Literal["jpg", "png", "missing", "broken", "small"]


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
        "entity_tokens": (
            entity_tokens,
            40,
            "title, kind and emblem take about as many word pieces",
        ),
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


def _list_lengths(rng: np.random.Generator, mentions: int, candidates: int, *, short: bool) -> Ints:
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


def picture_states(count: int, rng: np.random.Generator) -> list[PictureState]:
    """What stands in each of ``count`` places: 3 % missing, 5 % PNG, one broken, one too small.

    At least one picture is in each state; the shares are chosen here to be visible in a report and
    to cost the demo little.
    """
    states = np.full(count, "jpg", dtype=object)
    missing, png = (max(1, round(share * count)) for share in (0.03, 0.05))
    for state, places in zip(
        ("broken", "small", "missing", "png"),
        np.split(rng.permutation(count), [1, 2, 2 + missing, 2 + missing + png]),
        strict=False,
    ):
        states[places] = state
    return states.tolist()
