"""``drin`` over more candidates than fit into memory.

Only the mention vertices depend on all candidates, through agg(mt) and agg(mi), which are means. So
the blocks are passed over once a graph layer to add up its means, and once more to score:

    pass l = 1 … L   the entity vertices and edges of a block up to layer l-1, out of mt⁰ … mtˡ⁻²
                     and mi⁰ … miˡ⁻²; their sums Σ e·v go into mtˡ, miˡ
    pass L + 1       the entity vertices of a block up to layer L, and the score

Between two passes nothing is kept but the mention vertices of every layer: what is kept grows with
mentions and layers, and the entity side of every pass begins with layer 0 again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from torch import Tensor

from linker.models.base import Blocks
from linker.models.drin_graph import Edge, Edges, Entities, GraphLayer, Mentions
from linker.models.layers import cosine

if TYPE_CHECKING:
    from jaxtyping import Float

    from linker.batch import Batch
    from linker.models.drin import Drin


class EntitySide(NamedTuple):
    """What a block has between two layers."""

    entities: Entities
    edges: Edges

    def after(self, layer: GraphLayer, mentions: Mentions) -> EntitySide:
        """What it has after ``layer``, out of this and the ``mentions`` before the layer."""
        return EntitySide(*layer.update_entities(mentions, self.entities, self.edges))


class Means:
    """Means over the candidates of all blocks, one an edge.

    Added up in float64: a knowledge base has enough terms for float32 to lose digits.
    """

    def __init__(self) -> None:
        self._sums: dict[Edge, Tensor] = {}
        self._count = 0

    def add(self, sums: Edges, count: int) -> None:
        """Take in the sums (B, H) over the ``count`` candidates of a block."""
        self._count += count
        for edge, part in sums.items():
            self._sums[edge] = self._sums.get(edge, 0) + part.double()

    def read(self) -> dict[Edge, Tensor]:
        """The means (B, H), in float32."""
        return {edge: (total / self._count).float() for edge, total in self._sums.items()}


def score_in_blocks(model: Drin, blocks: Blocks) -> Iterator[Float[Tensor, "B C"]]:
    """The scores of each block; see ``Model.score_in_blocks``."""
    layers = cast(list[GraphLayer], list(model.graph))
    mentions: list[Mentions] = []  # by layer, the first ones in front
    for number, layer in enumerate(layers):
        means = Means()
        for block in blocks():
            if not mentions:
                mentions.append(model.first_mentions(block))
            side = _through(model, block, layers[:number], mentions)
            means.add(
                layer.sum_over_candidates(side.entities, side.edges), len(block.candidates[0])
            )
        mentions.append(layer.update_mentions(mentions[-1], means.read()))
    scored = mentions[-1]["mt"].unsqueeze(1)
    for block in blocks():
        side = _through(model, block, layers, mentions)
        yield cosine(scored, side.entities["et"].pairs).squeeze(1)


def _through(
    model: Drin, block: Batch, layers: Sequence[GraphLayer], mentions: Sequence[Mentions]
) -> EntitySide:
    """The entity side of a block after some layers."""
    side = EntitySide(model.first_entities(block), model.first_edges(block))
    for layer, own in zip(layers, mentions, strict=False):
        side = side.after(layer, own)
    return side
