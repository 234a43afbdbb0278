"""Why a loss, a score or a weight is no number: the field of the store at fault, or the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from featurestore import Store
from featurestore.errors import DrinFsError
from linker.batch import Batch
from linker.data import BatchReader

#: Mentions that an error names.
_NAMED = 5

_LOWER = "try a lower --lr, or --precision 32"


class TrainingDiverged(DrinFsError):
    """A loss, score or weight is not a finite number. Exit code 1."""


def diverged(what: str, *, mentions: Sequence[str], hint: str) -> TrainingDiverged:
    """The error that names the first few of the mentions by their ids."""
    return TrainingDiverged(what, where=_mentions(mentions), hint=hint)


def scored_nan(mentions: Sequence[str]) -> TrainingDiverged:
    """The error for mentions, by their ids, whose golds a model scores NaN."""
    return diverged(
        f"the model scores NaN for the gold of {len(mentions)} mentions",
        mentions=mentions,
        hint="try --precision 32",
    )


def diagnosed(
    what: str, batch: Batch, *, reader: BatchReader, network: nn.Module
) -> TrainingDiverged:
    """The error for a batch whose loss or scores are not finite; names the input at fault, if one is.

    Args:
        what: "the loss is nan"; the message goes on with the reason.
        batch: as the network was given it.
        reader: has read the batch from a store; knows which field filled what.
    """
    store = reader.store
    assert isinstance(store, Store)
    rows = batch.mention_rows.cpu().numpy()
    mentions = _mentions(store.mentions.ids(rows))
    for name, path in sorted(reader.paths.items()):
        places = _not_finite_rows(getattr(batch, name))
        if not len(places):
            continue
        table = path.partition("/")[0]
        row = int((rows if table == "mentions" else reader.distinct_entities(rows))[places[0]])
        kind = "mention" if table == "mentions" else "entity"
        more = f", nor are {len(places) - 1} more rows of it" if len(places) > 1 else ""
        return TrainingDiverged(
            f"{what}: {path}[{row}] of {kind} {store.table(table).ids([row])[0]} is not finite{more}",
            where=f"{store.path}::/{path}[{row}]; the batch: {mentions}",
            hint=f"mend the source of {path} and ingest again; drin-fs verify STORE finds all such rows",
        )
    weight = _first_not_finite(dict(network.named_parameters()))
    if weight is None:
        reason = "its fields and all weights are finite, and the computation between overflowed"
    else:
        reason = f"its fields are finite, and the weight {weight} no longer is"
    return TrainingDiverged(f"{what}: {reason}", where=f"the batch: {mentions}", hint=_LOWER)


def not_finite_weights(weights: Mapping[str, Tensor], *, where: str) -> None:
    """Refuse to save weights that are not finite.

    Raises:
        TrainingDiverged: names the first.
    """
    name = _first_not_finite(weights)
    if name is not None:
        raise TrainingDiverged(
            f"the weight {name} is not finite any more: nothing was saved, what was there is kept",
            where=where,
            hint=_LOWER,
        )


def _first_not_finite(weights: Mapping[str, Tensor]) -> str | None:
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            return name
    return None


def _not_finite_rows(values: Tensor | None) -> np.ndarray:
    """Rows of a batch field that hold NaN or infinite numbers."""
    if values is None or not values.is_floating_point():
        return np.empty(0, np.int64)
    finite = torch.isfinite(values).reshape(len(values), -1).all(dim=1)
    found: np.ndarray = torch.nonzero(~finite).flatten().cpu().numpy()
    return found


def _mentions(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"mentions {', '.join(ids[:_NAMED])}{more}"
