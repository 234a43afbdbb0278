"""A text encoder in front of a network: token ids → the text features that the network reads.

The rules are those of ingest: the first T tokens of a sentence, the mean of a mention's tokens (or
[CLS] where truncation left none), mean or maximum over tokens 1 … n-2 of the first S of an entity's
text, or the pooled output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from linker.batch import Batch, TextPart, Texts
from linker.models.base import Model
from linker.models.layers import padding_mask, span_mean
from linker.online_table import EntityTable

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from transformers import PreTrainedModel

    from linker.texts import TextReader

#: How an entity's vector is made of its text, once the choice is settled.
SettledPooling: TypeAlias = Literal["mean", "max", "pooled"]

_Features: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class TextRules:
    """What becomes of an encoder's states.

    ``names``: the batch fields to make. ``mention_tokens``, ``entity_tokens``: T and S.
    ``keeps_padding``: ``mention_text_padded`` has the states of [PAD], and not zeros.
    """

    names: frozenset[str]
    pooling: SettledPooling
    mention_tokens: int
    entity_tokens: int
    keeps_padding: bool


class TextFeatures(nn.Module):
    """Fills the text fields of a batch from its token ids.

    Frozen, the encoder stays in evaluation mode, takes no gradients, and is no part of the state
    that is saved. Fine-tuned with ``checkpointing``, each part of texts is computed again in the
    backward pass, so that memory holds the activations of one part at a time.
    """

    def __init__(
        self, *, encoder: PreTrainedModel, rules: TextRules, finetune: bool, checkpointing: bool
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.rules = rules
        self.finetune = finetune
        self.checkpointing = checkpointing
        self.table: EntityTable | None = None
        encoder.requires_grad_(finetune)
        if rules.pooling != "pooled" and getattr(encoder, "pooler", None) is not None:
            encoder.pooler.requires_grad_(False)  # nothing that is read comes from it
        if not finetune:
            self.register_state_dict_post_hook(_leave_out)
            self.register_load_state_dict_pre_hook(_put_back)
        self.train(self.training)

    def train(self, mode: bool = True) -> TextFeatures:
        """As of any module; a frozen encoder stays in evaluation mode (no dropout)."""
        return super().train(mode and self.finetune)

    def freeze(self) -> None:
        """Learn no more: from now on entities that were encoded once are looked up."""
        self.finetune = False
        self.encoder.requires_grad_(False)
        self.eval()

    def tabulate(self, reader: TextReader, rows: np.ndarray) -> None:
        """Encode these entities, unless that was done; batches without entity texts look them up.

        Args:
            rows: entity rows, each once. A frozen encoder keeps what it has encoded before.
        """
        device = next(self.encoder.parameters()).device
        training = self.training
        self.eval()
        with torch.inference_mode(False), torch.no_grad():  # a frozen table serves training as well
            if self.table is None or self.finetune:
                self.table = EntityTable(entities=len(reader.store.entities), device=device)
            features = {}
            for block, members in self.table.missing(rows).items():
                parts = [part.map(lambda t: t.to(device)) for part in reader.entity_parts(members)]
                if parts:
                    made = [self._entity_part(part) for part in parts]
                    features[block] = dict(_in_rows(parts, made, len(members)))
            self.table.add(features)
        self.train(training)

    def forward(self, batch: Batch) -> Batch:
        """The batch with its text fields.

        Raises:
            ValueError: the batch carries no texts (a bug where it was read).
        """
        if batch.texts is None:
            raise ValueError("the batch carries no texts: read it with a TextReader")
        made: dict[str, Any] = {}
        with torch.set_grad_enabled(self.finetune and torch.is_grad_enabled()):
            if batch.texts.mentions:
                made |= self._mentions(batch.texts, len(batch))
            if batch.texts.entities:
                made |= self._entities(batch.texts)
            elif self.table is not None:
                made |= self.table.look_up(batch.texts.entity_rows)
        return replace(batch, texts=None, **made)

    def _mentions(self, texts: Texts, count: int) -> _Features:
        parts = texts.mentions
        spans = [(texts.mention_start[part.rows], texts.mention_end[part.rows]) for part in parts]
        features = [
            self._checkpointed(self._mention_part, part, *span)
            for part, span in zip(parts, spans, strict=True)
        ]
        return dict(_in_rows(parts, features, count))

    def _entities(self, texts: Texts) -> _Features:
        features = [self._checkpointed(self._entity_part, part) for part in texts.entities]
        return dict(_in_rows(texts.entities, features, len(texts.entity_rows)))

    def _checkpointed(self, compute: Callable[..., _Features], *inputs: Any) -> _Features:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(compute, *inputs, use_reentrant=False)
        return compute(*inputs)

    def _mention_part(
        self, part: TextPart, start: Int[Tensor, " n"], end: Int[Tensor, " n"]
    ) -> _Features:
        rules, names = self.rules, self.rules.names
        states, _ = self._states(part)
        states = states[:, : rules.mention_tokens]
        count = part.lengths.clamp_max(rules.mention_tokens)
        made: _Features = {}
        if "mention_text_span" in names:
            made["mention_text_span"] = span_mean(states, start=start, end=end, token_count=count)
        if "mention_text_cls" in names:
            made["mention_text_cls"] = states[:, 0]
        real = states.masked_fill(padding_mask(count, states.shape[1]).unsqueeze(2), 0)
        if "mention_text_tokens" in names:
            made["mention_text_tokens"] = real[:, : int(count.max())]
        if "mention_text_padded" in names:
            kept = states if rules.keeps_padding else real
            made["mention_text_padded"] = _lengthened(kept, rules.mention_tokens)
        return made

    def _entity_part(self, part: TextPart) -> _Features:
        rules = self.rules
        states, pooled = self._states(part)
        if rules.pooling == "pooled":
            assert pooled is not None  # an encoder without one was refused
            vector = first = pooled
        else:
            states = states[:, : rules.entity_tokens]
            inner = inner_positions(part.lengths.clamp_max(rules.entity_tokens), states.shape[1])
            vector, first = pool(states, inner, rules.pooling), states[:, 0]
        made = {"entity_text": vector, "entity_text_cls": first}
        return {name: value for name, value in made.items() if name in rules.names}

    def _states(self, part: TextPart) -> tuple[Float[Tensor, "n L D"], Float[Tensor, "n D"] | None]:
        """Last hidden states and pooled output of a part, float32 also under autocast."""
        mask = ~padding_mask(part.lengths, part.tokens.shape[1])
        output = self.encoder(input_ids=part.tokens, attention_mask=mask.long())
        pooled = output.get("pooler_output")
        return output.last_hidden_state.float(), None if pooled is None else pooled.float()


class OnlineNetwork(nn.Module):
    """A network whose text features a text encoder makes, batch by batch; the network is unaware."""

    def __init__(self, *, network: Model[Any], text: TextFeatures) -> None:
        super().__init__()
        self.network = network
        self.text = text

    def forward(self, batch: Batch) -> Float[Tensor, "B C"]:
        """As of a model, of a batch with ``texts``."""
        return self.network(self.text(batch))


def inner_positions(count: Int[Tensor, " n"], positions: int) -> Bool[Tensor, "n L"]:
    """True at tokens 1 … n-2 of each text; where nothing is left, at [CLS] itself."""
    place = torch.arange(positions, device=count.device)
    inner = (place >= 1) & (place < count[:, None] - 1)
    inner[:, 0] = count <= 2
    return inner


def pool(
    states: Float[Tensor, "n L D"], inner: Bool[Tensor, "n L"], pooling: Literal["mean", "max"]
) -> Float[Tensor, "n D"]:
    """Mean or maximum of the states at the ``inner`` positions."""
    if pooling == "max":
        return states.masked_fill(~inner.unsqueeze(2), -torch.inf).amax(dim=1)
    weights = inner.to(states.dtype) / inner.sum(dim=1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), states).squeeze(1)


def _in_rows(
    parts: Sequence[TextPart], features: Sequence[_Features], count: int
) -> Iterator[tuple[str, Tensor]]:
    """Each feature as (count, …): what the parts hold, at their rows; zero where no part has it."""
    order = torch.cat([part.rows for part in parts])
    place = torch.full((count,), len(order), device=order.device)
    place[order] = torch.arange(len(order), device=order.device)
    for name in features[0]:
        values = [each[name] for each in features]
        if values[0].dim() == 3:
            longest = max(value.shape[1] for value in values)
            values = [_lengthened(value, longest) for value in values]
        nothing = values[0].new_zeros((1, *values[0].shape[1:]))
        yield name, torch.cat([*values, nothing])[place]


def _lengthened(states: Float[Tensor, "n L D"], positions: int) -> Float[Tensor, "n M D"]:
    """The states with zeros behind them, up to ``positions``."""
    return F.pad(states, (0, 0, 0, positions - states.shape[1]))


def _leave_out(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Drop a frozen encoder's weights from a state: they stand in its own folder."""
    for name in [key for key in state if key.startswith(prefix)]:
        del state[name]


def _put_back(module: nn.Module, state: dict[str, Any], prefix: str, *args: Any) -> None:
    """Complete a state that is being loaded with the frozen weights that the encoder has."""
    assert isinstance(module, TextFeatures)
    for name, value in module.encoder.state_dict().items():
        state[f"{prefix}encoder.{name}"] = value
