"""What every model promises: a config, the batch fields it reads, and scores.

To add a network: write it in a file of its own, list it in ``MODELS`` (``linker/models/__init__.py``),
and give it a contract test in ``tests/test_models.py``; a test fails while one of these is missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from linker.batch import Batch
from linker.models.layers import cosine, spread

if TYPE_CHECKING:
    from jaxtyping import Float


class ModelConfig(BaseModel):
    """The options of a model: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ConfigT = TypeVar("ConfigT", bound=ModelConfig)


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
            batch: with the features named by ``requires``, as float32.
        """


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
