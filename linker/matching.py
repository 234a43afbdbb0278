"""Match a model to a store: the fields it reads, its widths, and the edges the store can serve."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from featurestore import Store
from featurestore.errors import ConfigError, DataError
from featurestore.schema import BY_PATH
from linker.config import ModelChoice
from linker.fields import (
    TEXT_MADE,
    EntityPooling,
    missing_error,
    missing_from,
    source_of,
    stored_paths,
)
from linker.models import model_class
from linker.models.base import Model, ModelConfig

#: The batch fields whose last axis is the text width, or the visual width, of the store.
TEXT_FIELDS = (
    "entity_text", "entity_text_cls", "mention_text_span", "mention_text_cls",
    "mention_text_tokens", "mention_text_padded",
)  # fmt: skip
IMAGE_FIELDS = (
    "entity_image", "mention_image_mean", "mention_image_regions", "mention_objects",
    "entity_objects",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Match:
    """A model with everything it needs from one store.

    ``paths``: batch field → ``table/field`` of the store. ``made``: the batch fields that a text
    encoder makes instead. ``edges``, ``edges_off``: for a model with edges, those that are on, and
    for each that the store cannot serve the reason. ``text_width``, ``image_width``: None for a
    model that reads no text, or no picture.
    ``edges_chosen``: the user left the edges to the store, so what is off is worth a warning.
    """

    name: str
    config: ModelConfig
    paths: dict[str, str]
    text_width: int | None
    image_width: int | None
    made: frozenset[str] = frozenset()
    edges: tuple[str, ...] = ()
    edges_off: dict[str, str] = field(default_factory=dict)
    edges_chosen: bool = False

    @property
    def learns(self) -> bool:
        """Whether the model has weights."""
        return model_class(self.name)[0].learns

    @property
    def takes_float16(self) -> frozenset[str]:
        """Batch features that the model takes as float16 too."""
        return model_class(self.name)[0].takes_float16

    def build(self) -> Model[Any]:
        """The network, with fresh weights from torch's random numbers."""
        network, _ = model_class(self.name)
        return network(config=self.config, text_width=self.text_width, image_width=self.image_width)


def match_model(
    choice: ModelChoice, store: Store, *, pooling: EntityPooling, online_width: int | None = None
) -> Match:
    """Settle what ``choice`` leaves to the store, and check that the store can serve the rest.

    Args:
        online_width: width of the text encoder that makes the text fields; None = they are stored.

    Raises:
        FieldMissing: the store lacks a field that the model reads.
        DataError: fields that must be equally wide are not.
        ConfigError: the text encoder would make nothing that the model reads.
    """
    made = frozenset() if online_width is None else TEXT_MADE
    network, _ = model_class(choice.name)
    config = choice.options
    needed = {edge: names - made for edge, names in network.edge_fields.items()}
    edges_off = _edges_without_fields(needed, store, pooling)
    if choice.edges_from_store:
        off = edges_off.keys() | set(choice.without)
        on = tuple(edge for edge in needed if edge not in off)
        config = config.model_copy(update={"edges": on})
    elif edges_off:
        _check_named_edges(choice, needed, edges_off, store, pooling)
    names = network.requires(config)
    paths = stored_paths(store, names - made, pooling=pooling, reader=f"model {choice.name}")
    if online_width is not None and not names & made:
        raise ConfigError(
            f"model {choice.name} reads no text, so an encoder would have nothing to do",
            where="--text online",
            hint="leave it out, or choose another --model",
        )
    return Match(
        name=choice.name,
        config=config,
        paths=paths,
        text_width=online_width or _width(store, TEXT_FIELDS, paths, what="text"),
        image_width=_width(store, IMAGE_FIELDS, paths, what="visual"),
        made=names & made,
        edges=tuple(getattr(config, "edges", ())),
        edges_off=edges_off,
        edges_chosen=choice.edges_from_store,
    )


def _edges_without_fields(
    edge_fields: Mapping[str, frozenset[str]], store: Store, pooling: EntityPooling
) -> dict[str, str]:
    """Edge → what the store lacks for it, and the ingest option that makes it."""
    off: dict[str, str] = {}
    for edge, names in edge_fields.items():
        sources = [source_of(name, pooling) for name in missing_from(store, names, pooling)]
        if sources:
            fields = [BY_PATH[f"{source.table}/{source.choices[0]}"] for source in sources]
            options = sorted({f.made_by for f in fields})
            lacks = ", ".join(f.path for f in fields)
            off[edge] = f"the store has no {lacks} (made by {', '.join(options)})"
    return off


def _check_named_edges(
    choice: ModelChoice,
    edge_fields: Mapping[str, frozenset[str]],
    edges_off: dict[str, str],
    store: Store,
    pooling: EntityPooling,
) -> None:
    named: Iterable[str] = getattr(choice.options, "edges", ())
    for edge in named:
        if edge in edges_off:
            servable = ",".join(e for e in edge_fields if e not in edges_off)
            raise missing_error(
                store,
                missing_from(store, edge_fields[edge], pooling)[0],
                pooling=pooling,
                reader=f"edge {edge} of model {choice.name}",
                instead=f"leave the edge out: --set model.edges={servable or '[]'}",
            )


def _width(store: Store, names: Iterable[str], paths: dict[str, str], *, what: str) -> int | None:
    """The common last axis of the fields among ``names`` that are read; None where there are none."""
    widths = {paths[name]: store.width(paths[name]) for name in names if name in paths}
    if len(set(widths.values())) > 1:
        found = ", ".join(f"{path} {width}" for path, width in widths.items())
        raise DataError(
            f"the {what} width is not the same everywhere: {found}",
            where=str(store.path),
            hint="mentions and entities must come from the same encoder; ingest again",
        )
    return next(iter(widths.values()), None)
