"""What a training run does: one frozen, checked value, in sections.

``linker.config_text`` makes it of plain values, and writes it as YAML. Every default
says where it comes from. "The reference" is the evaluation and training of the DRIN authors (arXiv
2310.05589 and their code), as laid down in this project's definitions.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    field_validator,
    model_serializer,
    model_validator,
)

from linker.config_section import Section
from linker.config_steps import (
    ClipBy,
    EmaConfig,
    ScheduleConfig,
    StoppingConfig,
    check_stopping_metric,
)
from linker.data import Protocol
from linker.fields import EntityPooling
from linker.losses import MARGIN, Negatives
from linker.models.base import ModelConfig
from linker.ranks import Denominator, TieRule

TextSource: TypeAlias = Literal["stored", "online"]
EntityTextType: TypeAlias = Literal["attr", "name", "brief"]
Precision: TypeAlias = Literal["32", "bf16-mixed", "16-mixed"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Order: TypeAlias = Literal["random", "local"]

#: Value of ``model.edges`` that leaves the choice to the store.
AUTO = "auto"

#: Key of the edges that are off in any case, for a model with edges.
WITHOUT = "without"


def as_tuple(value: Any) -> Any:
    """One value where several are expected is a tuple of one."""
    return (value,) if isinstance(value, str | int) else value


def _as_text(value: Any) -> Any:
    """YAML reads 32 as a number."""
    return str(value) if isinstance(value, int) else value


class ModelChoice(Section):
    """A model by name, with its own options beside the name: ``{name: drin, layers: 2, …}``.

    ``edges_from_store``: the model has edges, and those the store cannot serve are switched off;
    written ``edges: auto``. ``without``: edges that are off even where the store serves them.
    """

    name: str
    options: SerializeAsAny[ModelConfig]
    edges_from_store: bool = False
    without: tuple[str, ...] = ()

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        options = self.options.model_dump(mode="json")
        if self.edges_from_store:
            options["edges"] = AUTO
        if self.without:
            options[WITHOUT] = list(self.without)
        return {"name": self.name, **options}


class LossConfig(Section):
    """The triplet loss."""

    negatives: Negatives = Field(
        default="batch",
        description="What a gold is compared with: all scores of the batch, or those of its own "
        "mention (row). Default: the reference's batch.",
    )
    margin: float = Field(
        default=MARGIN, ge=0, le=2, description="Margin between cosines. Default: the reference's."
    )


class MetricsConfig(Section):
    """The figures reported, and the one that picks the best epoch."""

    ks: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(as_tuple)] = Field(
        default=(1, 5, 10, 20),
        min_length=1,
        description="hits@k for these k. Default: the columns of the published WikiMEL table.",
    )
    tie_rule: TieRule = Field(
        default="expected",
        description="Rank of a gold that ties with others. Default chosen here: expected favours "
        "nobody; the published figures are optimistic.",
    )
    denominator: Denominator = Field(
        default="all",
        description="Mentions that figures are means over. Default chosen here: all, because a "
        "gold that was not retrieved is an error of the whole system.",
    )
    select: str = Field(
        default="hits@1",
        pattern=r"^(hits@[0-9]+|mrr)$",
        description="Validation figure that picks the best epoch; ties go to the larger MRR, then "
        "to the earlier epoch. Default chosen here: the figure that papers rank models by.",
    )

    @model_validator(mode="after")
    def _select_is_reported(self) -> Self:
        if self.select != "mrr" and int(self.select.removeprefix("hits@")) not in self.ks:
            ks = ", ".join(map(str, self.ks))
            raise ValueError(
                f"metrics.select is {self.select}, but metrics.ks holds only {ks}; add that k, or "
                "select another figure"
            )
        return self


class TextSection(Section):
    """Where the features of texts come from."""

    source: TextSource = Field(
        default="stored",
        description="stored = the store's features; online = a text encoder inside training reads "
        "the store's texts. Default chosen here: equal while frozen, and far cheaper.",
    )
    encoder: str | None = Field(
        default=None,
        description="Text encoder of online: a folder or a name on the Hugging Face hub. Default: "
        "the one that the store was made with.",
    )
    finetune: bool = Field(
        default=False,
        description="Train the encoder of online as well. Default: the reference's, frozen.",
    )
    lr: float = Field(
        default=2e-5,
        gt=0,
        description="Learning rate of the encoder that is fine-tuned. Default: the smallest of "
        "the three that BERT's authors recommend (Devlin et al. 2019, appendix A.3), because the "
        "network behind the encoder starts from nothing.",
    )
    entity: EntityTextType = Field(
        default="attr",
        description="What online reads of an entity: attr = the text that ingest encodes, name = "
        "its title, brief = its description. Default: the reference's.",
    )
    checkpointing: bool = Field(
        default=True,
        description="Compute the fine-tuned encoder's activations again in the backward pass "
        "instead of keeping them: some more time, and memory of batch_tokens instead of a "
        "batch. Default chosen here: without it 8 × 100 texts take 8 GB, 64 × 100 do not fit.",
    )
    max_tokens: int | None = Field(
        default=None,
        ge=3,
        description="Tokens of a text that online attends to. Default: as at ingest, the encoder's "
        "limit, at most 512.",
    )
    batch_tokens: int = Field(
        default=4096,
        ge=1,
        description="Tokens, padding included, that go through the encoder at once; does not "
        "change the result but for rounding. Default chosen here: 1.4 GB of activations of a "
        "fine-tuned MiniLM.",
    )

    @property
    def words(self) -> str:
        """For summaries and tables: ``stored``, or ``online, fine-tuned, entity name``."""
        if self.source == "stored":
            return self.source
        parts = [self.source, "fine-tuned" if self.finetune else "frozen"]
        return ", ".join(parts if self.entity == "attr" else [*parts, f"entity {self.entity}"])

    @model_validator(mode="after")
    def _online_only(self) -> Self:
        if self.source == "stored" and self.finetune:
            raise ValueError("--finetune needs --text online: stored features cannot be fine-tuned")
        if self.source == "stored" and self.entity != "attr":
            raise ValueError(
                f"--entity-text {self.entity} needs --text online: what the stored features are made "
                "of was chosen with drin-fs ingest --entity-text"
            )
        return self


class TrainConfig(Section):
    """Everything that decides the result of a training run, the store and the machine aside."""

    model: ModelChoice = Field(
        description="The network and its own options (drin-fs train --model NAME --print-config)."
    )
    protocol: Protocol = Field(
        default="strict",
        description="Entities the forward pass sees: strict = the retrieved candidates; paper = "
        "and the gold as one more, as the published numbers do (it lets the answer leak). "
        "Default chosen here: what a real linker can know.",
    )

    candidates: int | None = Field(
        default=None,
        ge=1,
        description="Candidates of each mention that a model sees: the first so many of the store's "
        "list, as they were retrieved; null = all. A gold behind them was not retrieved. Default: the "
        "reference's.",
    )
    entity_pooling: EntityPooling = Field(
        default="auto",
        description="Stored vector of an entity's text: mean or max over its tokens, or the text "
        "encoder's pooled output. Default: the reference's, pooled where stored, else mean.",
    )
    loss: LossConfig = Field(default=LossConfig(), description="The triplet loss.")
    text: TextSection = Field(
        default=TextSection(), description="Where the features of texts come from."
    )
    epochs: int = Field(default=30, ge=1, description="Default: the reference's.")
    batch_size: int = Field(default=64, ge=1, description="Mentions. Default: the reference's.")
    order: Order = Field(
        default="random",
        description="Mentions of a training batch: random, or local = blocks of mentions that share "
        "candidates, so that a batch reads fewer entities. Default: the reference's random.",
    )
    order_block: int = Field(
        default=8,
        ge=2,
        description="Mentions of a block under order=local. Default chosen here: an eighth of a "
        "batch, which leaves eight names in it.",
    )
    lr: float = Field(
        default=1e-3, gt=0, description="Learning rate of Adam. Default: the reference's."
    )
    schedule: ScheduleConfig = Field(
        default=ScheduleConfig(), description="The learning rate over the run."
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        description="Batches whose gradients are averaged for one update. Not the same as a larger "
        "batch: under loss.negatives=batch a gold is compared with the scores of its own batch alone. "
        "Default: the reference's.",
    )
    clip: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Largest gradient of an update, larger ones are cut down to it; null = as they "
        "are. Default: the reference's.",
    )
    clip_by: ClipBy = Field(
        default="norm",
        description="What clip bounds: the Euclidean norm of all gradients together, or each value of "
        "them. Default chosen here: the norm keeps the direction.",
    )
    ema: EmaConfig = Field(default=EmaConfig(), description="A moving average of the weights.")
    stopping: StoppingConfig = Field(
        default=StoppingConfig(), description="When the run ends before its last epoch."
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**32,
        description="Of first weights, order of mentions and dropout. Default chosen here.",
    )
    precision: Annotated[Precision, BeforeValidator(_as_text)] = Field(
        default="32",
        description="32, or mixed precision in the network; losses and cosines stay float32. "
        "Default: the reference's.",
    )
    compile: bool = Field(
        default=False,
        description="Let torch.compile join the network's operations; needs a C++ compiler, and "
        "minutes before the first batch. Default chosen here: few runs are long enough to gain.",
    )
    cuda_graphs: bool = Field(
        default=False,
        description="On a GPU, record the training passes of whole batches as CUDA graphs, where the "
        "model allows it (drin without a transformer, text, image) and nothing is compiled: DRIN's "
        "step takes a fifth of the time. Default chosen here: off until whole runs were measured.",
    )
    device: Device = Field(
        default="auto", description="auto = cuda where there is one. Default chosen here."
    )
    devices: int = Field(
        default=1,
        ge=1,
        description="Processes that train together on each machine, a GPU each where there are GPUs; "
        "the batch is shared out among them, so that the result is that of one. Default chosen here.",
    )
    nodes: int = Field(
        default=1,
        ge=1,
        description="Machines that train together, started with torchrun or srun. Default chosen here.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        description="Processes that read batches; 0 = a thread of this one. Default chosen here: "
        "reading a batch takes less time than handing it over.",
    )
    verify_reads: bool = Field(
        default=False,
        description="Compare what is read of the store with its checksums, each piece when it is read "
        "first. Default chosen here: drin-fs verify --full does it once for all runs.",
    )
    checkpoint_minutes: float | None = Field(
        default=10,
        gt=0,
        description="Save within an epoch when the last checkpoint is so old; null = not for its age. "
        "An epoch that ends saves in any case. Default chosen here: little is lost, and saving takes "
        "far less than a hundredth of the time.",
    )
    checkpoint_steps: int | None = Field(
        default=None,
        ge=1,
        description="Save within an epoch so many batches after the last checkpoint; null = not for "
        "their number. Default chosen here: minutes mean the same for every model.",
    )
    metrics: MetricsConfig = Field(default=MetricsConfig(), description="The figures.")

    @field_validator("protocol", mode="before")
    @classmethod
    def _is_a_protocol_of_training(cls, protocol: object) -> object:
        if protocol == "full-kb":
            raise ValueError(
                "protocol full-kb is for scoring: train under strict or paper, then drin-fs "
                "evaluate RUN --protocol full-kb"
            )
        return protocol

    @model_validator(mode="after")
    def _stops_by_what_is_reported(self) -> Self:
        check_stopping_metric(self.stopping, self.metrics.ks)
        return self
