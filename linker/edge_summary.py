"""The edges of a trained DRIN over all mentions of a split: means by group. Imports no torch.

Means are over mention–candidate pairs, of the gold, of the other retrieved candidates, and of the gold
slot that protocol ``paper`` adds. Pairs of one mention are alike, so that the standard error of a mean
takes each mention as one draw (the variance of a ratio of sums over mentions).

Everything is a sum that grows by a batch: memory is that of the groups, whatever the split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from linker.mention_groups import Grouping

#: Kinds of candidates, in the order of the arrays.
PARTS = ("gold", "others", "gold slot")

_GOLD, _OTHERS, _SLOT = range(len(PARTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeGroup:
    """The edges of the mentions of one group, each array (L, 4, 3) by layer, edge and ``PARTS``.

    ``means`` and ``deviations``: over pairs; ``errors``: standard error of the mean over mentions;
    NaN where there is nothing, an edge that the layer does not read among it. ``pairs``: how many
    mention–candidate pairs, and ``sources``: of how many mentions, a mean is over.
    """

    name: str
    mentions: int
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    errors: NDArray[np.float64]
    pairs: NDArray[np.int64]
    sources: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeGrouping:
    """One way to group the mentions; ``key``: ``all``, ``verdict`` or one of ``mention_groups``."""

    key: str
    title: str
    groups: tuple[EdgeGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSummary:
    """What the layers of a run's network read, over a split.

    ``edges``: of the arrays, mention side first, t text, i image. Where an edge has one number a
    channel (``edge_kind`` vector), their mean counts. ``right``: mentions whose gold this pass ranks
    first under ``tie_rule``. ``not_known``: grouping that the store cannot tell → why.
    """

    run: str
    name: str
    model: str
    protocol: str
    tie_rule: str
    split: str
    mentions: int
    right: int
    layers: int
    edges: tuple[str, ...]
    parts: tuple[str, ...]
    edge_kind: str
    edge_update: str
    groupings: tuple[EdgeGrouping, ...]
    not_known: dict[str, str]


class EdgeSums:
    """Sums of the edges of each group of some groupings, which take batches of mentions."""

    def __init__(self, groupings: Sequence[tuple[str, str, tuple[str, ...]]]) -> None:
        """``groupings``: key, title and names of the groups of each."""
        self._groupings = list(groupings)
        self._sums: list[NDArray[np.float64] | None] = [None for _ in self._groupings]
        self._mentions = [np.zeros(len(names), np.int64) for _, _, names in self._groupings]

    def add(
        self,
        weights: NDArray[np.float32],
        *,
        answer: NDArray[np.integer],
        retrieved: int,
        filled: NDArray[np.bool_],
        codes: Sequence[NDArray[np.integer]],
    ) -> None:
        """Add a batch.

        Args:
            weights: (B, L, C, 4); NaN = not read.
            answer: (B,) place of the gold among the K retrieved candidates; K = not retrieved.
            retrieved: K; what stands behind it is the gold slot.
            filled: (B, C) whether there is an entity at a place.
            codes: the group (B,) of each mention, for each grouping.
        """
        part = _parts(answer, retrieved=retrieved, filled=filled)
        per_mention = _per_mention(weights, part)  # (B, L, 4, 3, 7)
        for place, (code, (_, _, names)) in enumerate(zip(codes, self._groupings, strict=True)):
            member = np.eye(len(names))[np.asarray(code, np.int64)]  # (B, G)
            added = np.tensordot(member, per_mention, axes=(0, 0))
            before = self._sums[place]
            self._sums[place] = added if before is None else before + added
            self._mentions[place] += member.sum(axis=0).astype(np.int64)

    def groupings(self) -> tuple[EdgeGrouping, ...]:
        """What was added up; groups without a mention are left out."""
        found = []
        for (key, title, names), sums, mentions in zip(
            self._groupings, self._sums, self._mentions, strict=True
        ):
            groups = tuple(
                _group(name, int(mentions[place]), sums[place])
                for place, name in enumerate(names)
                if sums is not None and mentions[place]
            )
            found.append(EdgeGrouping(key=key, title=title, groups=groups))
        return tuple(each for each in found if each.groups)


def all_groupings(groupings: Sequence[Grouping]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Key, title and names of all mentions, of right and wrong ones, and of these groupings."""
    return [
        ("all", "all mentions", ("all mentions",)),
        ("verdict", "verdict", ("right", "wrong")),
        *((each.key, each.title, each.names) for each in groupings),
    ]


def _parts(
    answer: NDArray[np.integer], *, retrieved: int, filled: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(B, C, 3) one where a candidate is of a part; none for an empty place."""
    places = np.arange(filled.shape[1])
    is_gold = places == np.where(answer < retrieved, answer, -1)[:, None]
    is_slot = np.broadcast_to(places >= retrieved, filled.shape)
    part = np.where(is_slot, _SLOT, np.where(is_gold, _GOLD, _OTHERS))
    member: NDArray[np.float64] = np.eye(len(PARTS))[part] * filled[:, :, None]
    return member


def _per_mention(weights: NDArray[np.float32], member: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, L, 4, 3, 7) of each mention, over the candidates of each part.

    n, Σx and Σx² of its pairs x; 1 where it has any; (Σx)², n·Σx and n², for the standard error.
    """
    read = ~np.isnan(weights)
    values = np.where(read, weights, 0).astype(np.float64)
    count, total, squares = (
        np.einsum("blce,bcp->blep", each, member)
        for each in (read.astype(np.float64), values, values**2)
    )
    own = (count > 0).astype(np.float64)
    return np.stack([count, total, squares, own, total**2, count * total, count**2], axis=-1)


def _group(name: str, mentions: int, sums: NDArray[np.float64]) -> EdgeGroup:
    count, total, squares, sources, ss, ns, nn = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = total / count
        variances = np.maximum(squares / count - means**2, 0)
        spread = np.maximum(ss - 2 * means * ns + means**2 * nn, 0)
        errors = np.sqrt(spread * sources / (sources - 1)) / count
    return EdgeGroup(
        name=name,
        mentions=mentions,
        means=means,
        deviations=np.sqrt(variances),
        errors=np.where(sources > 1, errors, np.nan),
        pairs=count.astype(np.int64),
        sources=sources.astype(np.int64),
    )
