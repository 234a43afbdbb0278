"""Made-up batches for the model tests, and the run-time check of shape annotations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from types import ModuleType

import jaxtyping
import pytest
import torch
from beartype import beartype
from torch import Tensor

from linker.batch import Batch
from linker.models.drin import Drin

#: Sizes that no two axes share, so that a mixed-up axis cannot pass unseen.
TEXT_WIDTH, IMAGE_WIDTH = 16, 20


def random_batch(
    *,
    mentions: int = 5,
    candidates: int = 7,
    entities: int = 11,
    tokens: int = 13,
    text_width: int = TEXT_WIDTH,
    image_width: int = IMAGE_WIDTH,
    seed: int = 0,
) -> Batch:
    """A batch with every feature, protocol ``strict``; mentions share entities."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    def below(high: int, *shape: int) -> Tensor:
        return torch.randint(0, high, shape, generator=generator)

    count = tokens - below(5, mentions)
    start = below(3, mentions)
    real = (torch.arange(tokens) < count[:, None]).unsqueeze(2)
    states = normal(mentions, tokens + 3, text_width)  # the store pads to 3 more than the batch
    return Batch(
        mention_rows=torch.arange(mentions),
        answer=below(candidates + 1, mentions),
        candidates=below(entities, mentions, candidates),
        retrieved=candidates,
        mention_text_span=normal(mentions, text_width),
        mention_text_cls=normal(mentions, text_width),
        mention_text_tokens=states[:, :tokens] * real,
        mention_text_padded=states,
        mention_token_count=count,
        mention_token_start=start,
        mention_token_end=start + 1 + below(3, mentions),
        mention_image_mean=normal(mentions, image_width).abs(),
        mention_image_regions=normal(mentions, 4, image_width).abs(),
        mention_objects=normal(mentions, 3, image_width).abs(),
        mention_object_scores=uniform(mentions, 3),
        entity_text=normal(entities, text_width),
        entity_text_cls=normal(entities, text_width),
        entity_image=normal(entities, image_width).abs(),
        entity_objects=normal(entities, 2, image_width).abs(),
        entity_object_scores=uniform(entities, 2),
        sim_image_text=22 + 3 * normal(mentions, candidates),
        sim_text_image=22 + 3 * normal(mentions, candidates),
    )


#: The features of a batch that may be absent.
FEATURES = frozenset(field.name for field in fields(Batch) if field.default is None)


def with_only(batch: Batch, names: frozenset[str]) -> Batch:
    """The batch without the features that are not in ``names``."""
    return replace(batch, **dict.fromkeys(FEATURES - names))


def changed(batch: Batch, change: Callable[[str, Tensor], Tensor]) -> Batch:
    """The batch with ``change(name, tensor)`` in place of each feature."""
    present = {name: getattr(batch, name) for name in FEATURES}
    return replace(batch, **{n: change(n, t) for n, t in present.items() if t is not None})


def select_mentions(batch: Batch, rows: Tensor) -> Batch:
    """The batch of some of its mentions, with the same entities."""
    selected = changed(batch, lambda n, t: t if n.startswith("entity_") else t[rows])
    return replace(
        selected,
        mention_rows=batch.mention_rows[rows],
        answer=batch.answer[rows],
        candidates=batch.candidates[rows],
    )


def every_entity_for_every_mention(batch: Batch) -> Batch:
    """The batch with all its entities as the candidates of each mention."""
    mentions, entities = len(batch), len(batch.need("entity_text"))
    generator = torch.Generator().manual_seed(3)
    return replace(
        batch,
        candidates=torch.arange(entities).repeat(mentions, 1),
        answer=torch.arange(mentions),
        retrieved=entities,
        sim_image_text=22 + 3 * torch.randn(mentions, entities, generator=generator),
        sim_text_image=22 + 3 * torch.randn(mentions, entities, generator=generator),
    )


def blocks_of(batch: Batch, size: int) -> Iterator[Batch]:
    """The candidates of ``every_entity_for_every_mention``, ``size`` at a time."""
    mentions, entities = batch.candidates.shape
    for first in range(0, entities, size):
        part = slice(first, first + size)
        block = changed(batch, lambda n, t, part=part: _of_block(n, t, part))
        count = len(block.need("entity_text"))
        candidates = torch.arange(count).expand(mentions, count)
        yield replace(block, candidates=candidates, retrieved=count)


def _of_block(name: str, values: Tensor, part: slice) -> Tensor:
    if name.startswith("entity_"):
        return values[part]
    return values[:, part] if name.startswith("sim_") else values


def check_shapes(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    """Check the shape annotations of all functions of these modules at run time, in this test.

    The product imports jaxtyping for type checkers only, so its annotations are evaluated here.
    """
    names = {**{n: getattr(jaxtyping, n) for n in ("Float", "Int", "Bool")}}
    names |= {"Batch": Batch, "Drin": Drin}  # imported for type checkers only
    checked: dict[object, object] = {}
    for module in modules:
        own = [v for v in vars(module).values() if getattr(v, "__module__", "") == module.__name__]
        owners = [module, *(value for value in own if inspect.isclass(value))]
        for owner in owners:
            for name, function in list(vars(owner).items()):
                if not inspect.isfunction(function) or function.__module__ != module.__name__:
                    continue
                if "Tensor" not in str(function.__annotations__):
                    continue
                space = {**function.__globals__, **names}
                hints = inspect.get_annotations(function, globals=space, eval_str=True)
                monkeypatch.setattr(function, "__annotations__", hints)
                checked[function] = jaxtyping.jaxtyped(typechecker=beartype)(function)
                monkeypatch.setattr(owner, name, checked[function])
    for module in modules:
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value) and value in checked:
                monkeypatch.setattr(module, name, checked[value])
