"""What a training run does: one frozen, checked value, in sections.

    config = read_config({"model": {"name": "drin", "layers": 3}, "epochs": 5})
    print(to_yaml(config))

Every default says where it comes from. "The reference" is the evaluation and training of the DRIN
authors (arXiv 2310.05589 and their code), as laid down in this project's definitions.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias, get_origin

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from featurestore.errors import ConfigError
from linker.data import Protocol
from linker.fields import EntityPooling
from linker.losses import MARGIN, Negatives
from linker.metrics import Denominator, TieRule
from linker.models import model_class
from linker.models.base import Model, ModelConfig

TextSource: TypeAlias = Literal["stored", "online"]
EntityTextType: TypeAlias = Literal["attr", "name", "brief"]
Precision: TypeAlias = Literal["32", "bf16-mixed", "16-mixed"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]

#: Value of ``model.edges`` that leaves the choice to the store.
AUTO = "auto"

#: Key of the edges that are off in any case, for a model with edges.
WITHOUT = "without"

#: Options of ``drin-fs train`` for single keys; the others are set with ``--set key=value``.
FLAGS: Mapping[str, str] = {
    "model.name": "--model",
    "protocol": "--protocol",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "lr": "--lr",
    "seed": "--seed",
    "precision": "--precision",
    "device": "--device",
    "workers": "--workers",
    "text.source": "--text",
    "text.finetune": "--finetune",
    "text.entity": "--entity-text",
}


def _as_tuple(value: Any) -> Any:
    """One value where several are expected is a tuple of one."""
    return (value,) if isinstance(value, str | int) else value


def _as_text(value: Any) -> Any:
    """YAML reads 32 as a number."""
    return str(value) if isinstance(value, int) else value


class Section(BaseModel):
    """Immutable; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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

    ks: Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_as_tuple)] = Field(
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
                f"--entity-text {self.entity} needs --text online: the stored features are those "
                "of --entity-text attr"
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
    lr: float = Field(
        default=1e-3, gt=0, description="Learning rate of Adam. Default: the reference's."
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
    device: Device = Field(
        default="auto", description="auto = cuda where there is one. Default chosen here."
    )
    workers: int = Field(
        default=0,
        ge=0,
        description="Processes that read batches; 0 = a thread of this one. Default chosen here: "
        "reading a batch takes less time than handing it over.",
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


# reading ------------------------------------------------------------------------------------------


def read_config(values: Mapping[str, Any]) -> TrainConfig:
    """The configuration that nested plain values describe; what is left out has its default.

    Raises:
        ConfigError: an unknown key (names the nearest), or a value that cannot work (names the
            option of the command line).
    """
    sections = dict(values)
    model = sections.pop("model", {})
    if not isinstance(model, Mapping):
        model = {"name": model}
    choice = _model_choice(model)
    known = [
        *known_keys(TrainConfig),
        *(f"model.{key}" for key in known_keys(type(choice.options))),
    ]
    try:
        return TrainConfig.model_validate({**sections, "model": choice})
    except ValidationError as error:
        raise _config_error(error, prefix="", known=known) from error


def model_name(values: Mapping[str, Any]) -> str:
    """The model that nested plain values name, by default drin.

    Raises:
        ConfigError: there is no such model.
    """
    model = values.get("model", {})
    name = model.get("name", "drin") if isinstance(model, Mapping) else model
    model_class(name)
    return name


def _model_choice(values: Mapping[str, Any]) -> ModelChoice:
    options = dict(values)
    name = options.pop("name", "drin")
    network, options_class = model_class(name)
    has_edges = bool(network.edge_fields)
    edges_from_store = has_edges and options.get("edges", AUTO) == AUTO
    if edges_from_store:
        options.pop("edges", None)
    without = _as_tuple(options.pop(WITHOUT, ())) if has_edges else ()
    for key, field in options_class.model_fields.items():
        if key in options and get_origin(field.annotation) is tuple:
            options[key] = _as_tuple(options[key])
    try:
        chosen = options_class.model_validate(options)
    except ValidationError as error:
        known = [f"model.{key}" for key in options_class.model_fields]
        raise _config_error(error, prefix="model.", known=known) from error
    if has_edges:
        chosen, without = _without_edges(network, chosen, without)
    return ModelChoice(
        name=name,
        options=chosen,
        edges_from_store=edges_from_store,
        without=without if edges_from_store else (),
    )


def _without_edges(
    network: type[Model[Any]], options: ModelConfig, without: Any
) -> tuple[ModelConfig, tuple[str, ...]]:
    """``options`` with these edges taken out of its ``edges``, and the edges by name."""
    edges = tuple(network.edge_fields)
    unknown = [str(edge) for edge in without if edge not in edges]
    if unknown:
        raise ConfigError(
            f"there is no edge {unknown[0]!r}",
            where=f"model.{WITHOUT}",
            hint=f"the edges are {', '.join(edges)}",
        )
    named: tuple[str, ...] = getattr(options, "edges", ())
    left = tuple(edge for edge in named if edge not in without)
    off = tuple(edge for edge in edges if edge in without)
    return options.model_copy(update={"edges": left}), off


def known_keys(section: type[BaseModel]) -> Iterator[str]:
    """All keys of a section with dots between the levels."""
    for key, field in section.model_fields.items():
        if _is_section(field):
            yield from (f"{key}.{inner}" for inner in known_keys(field.annotation))  # type: ignore[arg-type]
        else:
            yield key


def _is_section(field: FieldInfo) -> bool:
    kind = field.annotation
    return isinstance(kind, type) and issubclass(kind, Section) and kind is not ModelChoice


def _config_error(error: ValidationError, *, prefix: str, known: list[str]) -> ConfigError:
    """The first thing wrong, in the words of the command line."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if not isinstance(part, int)]
    key = prefix + ".".join(place)
    option = FLAGS.get(key, f"--set {key}=…")
    if first["type"] == "extra_forbidden":
        near = nearest(key, known)
        hint = f"did you mean {near}?" if near else f"keys: {', '.join(known)}"
        return ConfigError(f"unknown key {key}", where="configuration", hint=hint)
    message = first["msg"].removeprefix("Value error, ")
    if not place or first["type"] == "value_error":
        return ConfigError(message, where=key or "configuration")
    return ConfigError(
        f"{key} is {first['input']!r}: {message[:1].lower()}{message[1:]}",
        where="configuration",
        hint=f"change it with {option}",
    )


def nearest(key: str, known: list[str]) -> str | None:
    """The known key most like ``key``; the level it stands on may be wrong."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    if near:
        return near[0]
    leaves = {full.rpartition(".")[2]: full for full in reversed(known)}
    near = difflib.get_close_matches(key.rpartition(".")[2], leaves, n=1, cutoff=0.7)
    return leaves[near[0]] if near else None


# writing ------------------------------------------------------------------------------------------


def to_yaml(config: TrainConfig) -> str:
    """The configuration as YAML, each key with its description; :func:`read_config` reads it back."""
    return "".join(_yaml_lines(config, config.model_dump(mode="json"), indent=""))


def _yaml_lines(section: BaseModel, values: Mapping[str, Any], *, indent: str) -> Iterator[str]:
    fields = type(section).model_fields
    for key, value in values.items():
        description = fields[key].description or ""
        for line in textwrap.wrap(description, 98 - len(indent)):
            yield f"{indent}# {line}\n"
        inner = getattr(section, key)
        if isinstance(inner, ModelChoice):
            yield f"{indent}{key}:\n{indent}  name: {inner.name}\n"
            options = {k: v for k, v in value.items() if k not in ("name", WITHOUT)}
            yield from _yaml_lines(inner.options, options, indent=f"{indent}  ")
            if inner.without:
                yield f"{indent}  # Edges that are off even where the store serves them.\n"
                yield f"{indent}  {WITHOUT}: [{', '.join(inner.without)}]\n"
        elif isinstance(inner, BaseModel):
            yield f"{indent}{key}:\n"
            yield from _yaml_lines(inner, value, indent=f"{indent}  ")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
            yield f"{indent}{key}: {text.splitlines()[0]}\n"  # a scalar ends with a line of "..."
