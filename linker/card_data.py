"""The part of a model card that tells which data a run was made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from featurestore import Store
from featurestore.summary import picture_counts
from linker.config import TrainConfig
from linker.markdown import bullets, code, escaped, table
from linker.models import model_class

#: Characters of a revision that are shown (chosen here: what the hub shows of one).
_REVISION = 12


def data_section(store: Store, config: TrainConfig) -> str:
    """Store, dataset, counts, candidates, encoders and pictures, as Markdown."""
    splits = ", ".join(
        f"{escaped(name)} {len(rows):,}" for name, rows in store.mentions.splits.items()
    )
    lines = [
        f"store {code(store.path.name)}, dataset {escaped(store.dataset)}, "
        f"fingerprint {code(store.fingerprint)}",
        f"{len(store.entities):,} entities; {len(store.mentions):,} mentions: {splits}",
        _candidates(store, config),
        *_picture_lines(store),
    ]
    reads = model_class(config.model.name)[0].requires(config.model.options)
    if config.text.source == "stored" and "entity_text" in reads:
        lines.append(f"vector of an entity's text: {escaped(config.entity_pooling)}")
    rows = _encoder_rows(store.provenance)
    encoders = (
        table(("features", "encoder", "revision", "options"), rows)
        if rows
        else "The store does not record the encoders that made its features."
    )
    return "\n\n".join(["## Data", bullets(lines), encoders])


def _candidates(store: Store, config: TrainConfig) -> str:
    listed = store.width("mentions/candidates")
    if config.candidates is None:
        return f"{listed:,} candidates a mention"
    return f"the first {config.candidates:,} of {listed:,} candidates a mention"


def _picture_lines(store: Store) -> list[str]:
    lines = []
    for table_ in (store.mentions, store.entities):
        counts = picture_counts(table_, range(len(table_)))
        whole = sum(counts.values())
        if whole:
            share = f"{counts['ok']:,} of {whole:,} ({100 * counts['ok'] / whole:.1f} %)"
            lines.append(f"{table_.name} with a picture of their own: {share}")
    return lines


def _encoder_rows(provenance: object) -> list[tuple[str, str, str, str]]:
    """One row an encoder; a store may say anything of itself, so only what is well formed."""
    encoders = provenance.get("encoders") if isinstance(provenance, Mapping) else None
    rows = []
    for kind, encoder in encoders.items() if isinstance(encoders, Mapping) else ():
        if not isinstance(encoder, Mapping) or not encoder.get("name"):
            continue
        name = str(encoder["name"])
        options = encoder.get("options")
        said = options.items() if isinstance(options, Mapping) else ()
        rows.append(
            (
                escaped(kind),
                code("/".join(PurePath(name).parts[-2:]) if name.startswith("/") else name),
                code(str(encoder.get("revision") or "")[:_REVISION] or _digest(encoder)),
                ", ".join(f"{escaped(key)} {escaped(value)}" for key, value in said),
            )
        )
    return rows


def _digest(encoder: Mapping[str, Any]) -> str:
    """The digest of a folder's weights, where it is no revision of the hub."""
    files = encoder.get("files")
    weights = (
        str(digest)
        for name, digest in (files.items() if isinstance(files, Mapping) else ())
        if str(name).endswith((".safetensors", ".bin", ".pt", ".pth"))
    )
    return next((f"sha256 {digest[:_REVISION]}" for digest in weights), "")
