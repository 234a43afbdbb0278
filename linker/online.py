"""``--text online``: everything about the text encoder inside training that a store settles.

The original code's switches, in its words: ``online_bert`` is ``--text online``, ``finetune_bert``
is ``--finetune``, ``entity_text_type`` is ``--entity-text``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featurestore import Store
from featurestore.encoders.loading import EncoderInfo, describe
from featurestore.encoders.tokens import TextTokenizer, load_text_model
from featurestore.errors import ConfigError, EncoderError
from featurestore.options import recorded_option
from linker.config import TextSection, TrainConfig
from linker.encoder_places import recorded_encoder
from linker.fields import EntityPooling
from linker.models.base import Model
from linker.online_network import OnlineNetwork, SettledPooling, TextFeatures, TextRules
from linker.tables import Tables
from linker.texts import ENTITY_FIELDS, TextReader, check_stored_spans, has_characters

#: What to do about an encoder that is not found.
_MOVED = (
    "say where the text encoder is now: --set text.encoder=FOLDER, or the same key in the "
    "config.yaml of a run"
)


@dataclass(frozen=True, kw_only=True)
class OnlineText:
    """A text encoder that was checked against a store. Holds no weights: ``network`` loads them.

    ``section``: with the encoder's name filled in. ``mention_tokens``, ``entity_tokens``: T and S.
    ``keeps_padding``: the store holds what the encoder leaves at padded positions. ``notes``: what
    the user should know.
    """

    store: Store
    section: TextSection
    tokenizer: TextTokenizer
    info: EncoderInfo
    width: int
    pooling: SettledPooling
    mention_tokens: int
    entity_tokens: int
    keeps_padding: bool
    notes: tuple[str, ...]

    def check_same(self, recorded: Mapping[str, Any]) -> None:
        """Refuse another encoder than the one that a run recorded.

        Raises:
            EncoderError: a file differs.
        """
        _check_same_files(
            recorded["files"],
            self.info,
            what="the run was trained with",
            hint="put the run's encoder back; RUN/environment.json says which one it was",
        )

    def reader(
        self, names: frozenset[str], *, with_entities: bool = False, tables: Tables | None = None
    ) -> TextReader:
        """Reads the texts from which the batch fields ``names`` are made.

        Args:
            with_entities: read the texts of each batch's entities, because the encoder may change
                from one batch to the next, or because there will not be many batches.
            tables: entities of the store with new mentions, which say where they stand in their
                sentences; None = the store.
        """
        filled = 0
        if self.keeps_padding and "mention_text_padded" in names:
            filled = min(self.mention_tokens, self.tokenizer.max_tokens)
        return TextReader(
            store=tables or self.store,
            by_characters=tables is not None or has_characters(self.store),
            tokenizer=self.tokenizer,
            entity=self.section.entity,
            names=names,
            with_entities=with_entities,
            mention_tokens=self.mention_tokens,
            filled=filled,
            batch_tokens=self.section.batch_tokens,
        )

    def network(self, network: Model[Any], names: frozenset[str]) -> OnlineNetwork:
        """``network`` behind the pretrained encoder, which makes its fields ``names``."""
        encoder, _, _ = load_text_model(self.info.name, max_tokens=self.section.max_tokens)
        rules = TextRules(
            names=names,
            pooling=self.pooling,
            mention_tokens=self.mention_tokens,
            entity_tokens=self.entity_tokens,
            keeps_padding=self.keeps_padding,
        )
        text = TextFeatures(
            encoder=encoder,
            rules=rules,
            finetune=self.section.finetune,
            checkpointing=self.section.checkpointing,
        )
        return OnlineNetwork(network=network, text=text)


def settle_online(store: Store, config: TrainConfig) -> OnlineText:
    """Find the encoder, and check that it and the store can serve ``--text online``.

    Raises:
        ConfigError: the store does not say which encoder made it, or has no texts of this kind.
        EncoderError: the encoder cannot be loaded, is not the one that made the store though taken
            for it, or has no pooled output where one is needed.
        FieldMissing: the store lacks a text.
        DataError: the store's mention spans are those of another tokenizer.
    """
    recorded = _recorded_encoder(store)
    name = _name_of(config.text.encoder, recorded, store)
    try:
        model, tokenizer, has_pooler = load_text_model(name, max_tokens=config.text.max_tokens)
    except EncoderError as error:
        raise EncoderError(
            error.what,
            where=error.where or name,
            hint=_MOVED,
        ) from error
    info = describe("text", name, model, {"max_tokens": tokenizer.max_tokens})
    if config.text.encoder is None:
        _check_same_files(
            recorded["files"],
            info,
            what="the store was made with",
            hint=f"take it all the same with --set text.encoder={name}",
        )
    for field in ("mentions/sentence", f"entities/{ENTITY_FIELDS[config.text.entity]}"):
        table, _, column = field.partition("/")
        store.table(table).stored(column)
    if not has_characters(store):
        check_stored_spans(store, tokenizer, name)
    return OnlineText(
        store=store,
        section=config.text.model_copy(update={"encoder": name}),
        tokenizer=tokenizer,
        info=info,
        width=model.config.hidden_size,
        pooling=_pooling(store, config.entity_pooling, info, has_pooler=has_pooler),
        mention_tokens=_kept(store, "mentions", "mention_tokens"),
        entity_tokens=_kept(store, "entities", "entity_tokens"),
        keeps_padding=recorded_option(store.provenance, "padding") == "keep",
        notes=_notes(store, config.text),
    )


def _check_same_files(
    recorded: Mapping[str, str], found: EncoderInfo, *, what: str, hint: str
) -> None:
    """Compare a local encoder's files with recorded digests; a file of one side alone is no matter.

    Args:
        what: whose digests they are, for the message: "the run was trained with".
    """
    common = recorded.keys() & found.files.keys()
    differing = sorted(name for name in common if recorded[name] != found.files[name])
    if differing:
        raise EncoderError(
            f"this is not the text encoder that {what}: {differing[0]} is another",
            where=found.name,
            hint=hint,
        )


def _recorded_encoder(store: Store) -> dict[str, Any]:
    """What the store says of its text encoder; empty where it says nothing."""
    return store.provenance.get("encoders", {}).get("text") or {}


def _name_of(given: str | None, recorded: dict[str, Any], store: Store) -> str:
    """Name or folder of the encoder: as given, else as recorded.

    A run keeps the name that the store gave, so this is looked up as the store's is.
    """
    if given and given != recorded.get("name"):
        return given
    if "name" not in recorded:
        raise ConfigError(
            "--text online: the store does not say which text encoder made it",
            where=str(store.path),
            hint="name one: --set text.encoder=bert-base-cased, or a folder",
        )
    return recorded_encoder("text", recorded, store, hint=_MOVED)


def _pooling(
    store: Store, asked: EntityPooling, info: EncoderInfo, *, has_pooler: bool
) -> SettledPooling:
    """``auto`` is what it is for stored features: pooled where the store holds that, else mean."""
    pooling = asked
    if pooling == "auto":
        pooling = "pooled" if store.has("entities/text_pooled") else "mean"
    if pooling == "pooled" and not has_pooler:
        raise EncoderError(
            "the text encoder has no pooler, whose output is to be an entity's vector",
            where=info.name,
            hint="take its tokens instead: --set entity_pooling=mean",
        )
    return pooling


def _kept(store: Store, table: str, option: str) -> int:
    """T or S: that of the stored tokens, of the ingest, or of an ingest without options."""
    if store.has(f"{table}/text_tokens"):
        return int(store.table(table).stored("text_tokens").shape[1])
    return int(recorded_option(store.provenance, option))


def _notes(store: Store, section: TextSection) -> tuple[str, ...]:
    """How many entities are read by their title for want of a description."""
    if section.entity != "brief":
        return ()
    entities = len(store.entities)
    bare = sum(not text for text in store.entities.texts("description"))
    if bare == entities:
        raise ConfigError(
            "--entity-text brief: no entity of the store has a description",
            where=f"{store.path}::/entities/description",
            hint="use --entity-text attr or name",
        )
    if not bare:
        return ()
    return (f"{bare} of {entities} entities have no description: their title is read instead",)
