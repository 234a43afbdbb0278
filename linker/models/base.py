"""What every model promises: a config, the batch fields it reads, and scores.

To add a network: write it in a file of its own, list it in ``MODELS`` (``linker/models/__init__.py``),
and give it a contract test in ``tests/test_models.py``; a test fails while one of these is missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from linker.batch import Batch
from linker.models.layers import cosine, cosine_of_all
from linker.models.pairs import spread

if TYPE_CHECKING:
    from jaxtyping import Float


class ModelConfig(BaseModel):
    """The options of a model: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=ModelConfig)

#: One pass over the candidates of some mentions, a block at a time. Every batch of it has the same
#: mentions and features of them, and every mention of a batch has all its entities as candidates.
#: Each call makes the same pass again.
Blocks: TypeAlias = Callable[[], Iterator[Batch]]


class Model(nn.Module, ABC, Generic[ConfigT]):
    """Scores the candidates of each mention.

    A mention's scores depend on its own row of the batch alone: not on the other mentions, not on
    how many of them share an entity, and not on padding.

    A model holds a weight only where the weight can learn: what the options switch off is not
    created, so every parameter receives a gradient.
    """

    #: One line for the list of models.
    summary: ClassVar[str]
    #: Whether there is something to train; what has no weights is evaluated on a store as it is.
    learns: ClassVar[bool] = True
    #: Features that ``forward`` takes as float16 too: it widens them as it reads them. On a processor
    #: such a feature is not widened beforehand, which halves its memory.
    takes_float16: ClassVar[frozenset[str]] = frozenset()
    #: For a model with edges: each edge by name, with the features it cannot be computed without.
    edge_fields: ClassVar[Mapping[str, frozenset[str]]] = {}

    def __init__(self, *, config: ConfigT, text_width: int | None, image_width: int | None) -> None:
        """``text_width`` (D) and ``image_width`` (V) are the store's.

        D or V is None where ``requires`` names no field of texts, or of pictures; so a model that
        reads texts may count on D.

        Raises:
            ConfigError: the options do not fit each other or these widths.
        """
        super().__init__()
        self.config = config

    @classmethod
    @abstractmethod
    def requires(cls, config: ConfigT) -> frozenset[str]:
        """The names of the ``Batch`` features that ``forward`` reads under ``config``."""

    @abstractmethod
    def forward(self, batch: Batch) -> Float[Tensor, "B C"]:
        """One float32 score for each mention and candidate; a higher one is a better match.

        Args:
            batch: with the features named by ``requires``, as float32, but for ``takes_float16``.
        """

    @property
    def recordable(self) -> bool:
        """Whether ``forward`` starts the same kernels for all batches of the same shapes, and waits for
        no result of them: then it can be recorded as a CUDA graph.
        """
        return False

    def score_in_blocks(self, blocks: Blocks) -> Iterator[Float[Tensor, "B C"]]:
        """The scores of more candidates than fit into memory: the columns of each block in turn.

        They are those of ``forward`` for all candidates at once, whatever the size of the blocks.
        A model in which a candidate's score depends on the other candidates overrides this, and
        passes over the blocks more than once.

        Raises:
            ConfigError: the scores exist for retrieved candidates only.
        """
        for block in blocks():
            yield self(block)


class BiEncoder(Model[ConfigT]):
    """Mention and entity are encoded apart, as wide as each other, and compared by their cosine."""

    @abstractmethod
    def encode_mentions(self, batch: Batch) -> Float[Tensor, "B H"]:
        """One vector a mention, from the mention fields of the batch alone."""

    @abstractmethod
    def encode_entities(self, batch: Batch) -> Float[Tensor, "U H"]:
        """One vector a distinct entity, from the entity fields of the batch alone."""

    def forward(self, batch: Batch) -> Float[Tensor, "B C"]:
        mentions, entities = self.encode_mentions(batch), self.encode_entities(batch)
        return cosine(mentions.unsqueeze(1), spread(entities, batch.candidates)).squeeze(1)

    def score_in_blocks(self, blocks: Blocks) -> Iterator[Float[Tensor, "B C"]]:
        mentions: Tensor | None = None
        for block in blocks():
            if mentions is None:  # the same in every block
                mentions = self.encode_mentions(block)
            yield cosine_of_all(mentions, self.encode_entities(block))
