"""``RUN/README.md``: what a run is, for people and for the Hugging Face hub.

    write_card(RunFolder("runs/drin"), store, progress=progress)

Made of what the run recorded, and of what its store says of itself. Names of the store, of encoders
and of splits come from anywhere: they are escaped. No path but the last part of one is shown.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from featurestore import Store
from featurestore.progress import Progress
from linker.card_data import data_section
from linker.citations import citation
from linker.config import TrainConfig
from linker.config_text import read_config
from linker.environment_diff import resumed
from linker.markdown import block, bullets, code, escaped, plain, table
from linker.models import model_class
from linker.run_folder import CARD_MARK, RunFolder

#: Splits that a card has figures of, in its order.
_SPLITS = ("valid", "test")

#: What the protocols and denominators mean, in a sentence.
_PROTOCOLS: Mapping[str, str] = {
    "strict": "the model sees the retrieved candidates only, as a real linker does",
    "paper": "the gold entity is one more candidate of the forward pass, as in the published figures",
    "full-kb": "all entities of the store are ranked",
}
_DENOMINATORS: Mapping[str, str] = {
    "all": "all mentions; a gold that was not retrieved counts as an error",
    "retrieved": "the mentions whose gold was retrieved",
}


def write_card(folder: RunFolder, store: Store, *, progress: Progress) -> None:
    """Write the model card of a finished run, or write it anew; not over one that a user wrote.

    Raises:
        RunError: the run was not finished.
        WriteError: the disk is full or fails.
    """
    if folder.card_is_ours():
        folder.write_card(model_card(folder, store))
    else:
        progress.note(f"{folder.card} was not written by drin-fs, and is left as it is")


def model_card(folder: RunFolder, store: Store) -> str:
    """The card's text: YAML for the hub, then Markdown.

    Args:
        store: the one that the run was made from.

    Raises:
        RunError: the run was not finished, or is damaged.
    """
    config = read_config(folder.read_config())
    summary, environment = folder.read_summary(), folder.read_environment()
    model, dataset = str(summary["model"]), store.dataset
    parts = [
        _front_matter(summary, dataset=dataset, fingerprint=store.fingerprint),
        CARD_MARK,
        f"# {escaped(model)} on {escaped(dataset)}",
        f"{model_class(model)[0].summary} Multimodal entity linking: a mention in a sentence with a "
        "picture is linked to one of its candidate entities.",
        _model_section(config, summary),
        data_section(store, config, summary),
        _training_section(config, summary, environment),
        _figures_section(store, summary),
        _use_section(folder, store, config, summary),
        _limits_section(summary),
        _citation_section(model),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(summary: Mapping[str, Any], *, dataset: str, fingerprint: str) -> str:
    """What the hub reads, as its model-index wants it."""
    results = [
        {
            "task": {"type": "entity-linking", "name": "Multimodal entity linking"},
            "dataset": {
                "name": plain(dataset),
                "type": plain(dataset),
                "split": split,
                "revision": fingerprint,
            },
            "metrics": [
                {"type": name, "name": _heading(name), "value": round(value, 6)}
                for name, value in _figures(summary, split).items()
                if name != "mean_rank"
            ],
        }
        for split in _SPLITS
        if summary.get(split)
    ]
    model = str(summary["model"])
    values = {
        "library_name": "drin-fs",
        "tags": ["entity-linking", "multimodal", "drin-fs", model],
        "model-index": [{"name": f"{model}-{plain(dataset)}", "results": results}],
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{text}---"


def _model_section(config: TrainConfig, summary: Mapping[str, Any]) -> str:
    options = config.model.options.model_dump(mode="json")
    rows = [(code(key), code(_value(value))) for key, value in options.items()]
    lines = []
    if summary.get("parameters"):
        lines.append(f"{summary['parameters']:,} trainable weights.")
    off = summary.get("edges_off")
    if isinstance(off, Mapping) and off:
        lines.append(f"Edges that the store cannot serve: {', '.join(map(code, off))}.")
    if config.text.source == "online":
        encoder = code(_last(config.text.encoder or "the store's"))
        lines.append(f"Texts are encoded inside training ({config.text.words}) by {encoder}.")
    options_table = table(("option", "value"), rows) if rows else "The model has no options."
    return "\n\n".join(part for part in ("## Model", " ".join(lines), options_table) if part)


def _training_section(
    config: TrainConfig, summary: Mapping[str, Any], environment: Mapping[str, Any]
) -> str:
    """How it was trained, where a model is; on what in any case."""
    versions = environment.get("versions")
    libraries = versions if isinstance(versions, Mapping) else {}
    hardware = [environment.get(key) for key in ("device", "platform", "cpu")]
    lines = [
        f"device {', '.join(escaped(value) for value in hardware if value)}; "
        f"threads: {escaped(environment.get('threads', '?'))}",
        ", ".join(f"{escaped(name)} {escaped(value)}" for name, value in libraries.items()),
    ]
    for entry in resumed(environment):
        changed = "; ".join(f"{k} {' → '.join(map(str, v))}" for k, v in entry["changed"].items())
        lines.append(f"continued after {escaped(entry['after'])}: {escaped(changed) or 'no change'}")
    if not model_class(config.model.name)[0].learns:
        return "\n\n".join(["## Scoring", "Nothing was trained.", bullets(filter(None, lines))])
    seconds = summary["train_seconds_per_epoch"]
    best = f"{summary['epochs']} epochs of {seconds:,.1f} s; the best is epoch {summary['best_epoch']}"
    lines.insert(0, f"{best}, by {config.metrics.select} of the validation split")
    lines.insert(1, f"seed {config.seed}")
    changed = changed_options(config)
    rows = [(code(key), code(_value(v)), code(_value(d))) for key, (v, d) in changed.items()]
    options = (
        f"Options that are not the defaults:\n\n{table(('option', 'value', 'default'), rows)}"
        if rows
        else "Every option has its default."
    )
    return "\n\n".join(["## Training", bullets(filter(None, lines)), options])


def changed_options(config: TrainConfig) -> dict[str, tuple[object, object]]:
    """Key with dots → value and default, of training's options; those of the model stand elsewhere."""
    default = read_config({"model": config.model.name}).model_dump(mode="json")
    values = config.model_dump(mode="json")
    found: dict[str, tuple[object, object]] = {}
    for key in values.keys() - {"model"}:
        value, usual = values[key], default[key]
        pairs = (
            {f"{key}.{inner}": (value[inner], usual[inner]) for inner in value}
            if isinstance(value, Mapping)
            else {key: (value, usual)}
        )
        found |= {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    return dict(sorted(found.items()))


def _figures_section(store: Store, summary: Mapping[str, Any]) -> str:
    present = [split for split in _SPLITS if summary.get(split)]
    names = list(dict.fromkeys(name for split in present for name in _figures(summary, split)))
    rows = [
        (
            split,
            *(_cell(name, summary[split].get(name)) for name in names),
            f"{summary[split]['mentions']:,}",
            f"{summary[split]['retrieved']:,}",
        )
        for split in present
    ]
    header = ("split", *map(_heading, names), "mentions", "gold retrieved")
    protocol, denominator = str(summary["protocol"]), str(summary["denominator"])
    lines = [
        f"protocol {escaped(protocol)}: {_PROTOCOLS.get(protocol, 'unknown')}",
        f"a gold that ties with others has its {escaped(summary['tie_rule'])} rank",
        f"denominator {escaped(denominator)}: {_DENOMINATORS.get(denominator, 'unknown')}",
    ]
    lines += [
        f"the {split} split was not scored"
        for split in _SPLITS
        if split not in present and store.mentions.splits.get(split)
    ]
    parts = ["## Figures", "Hits and MRR in %.", table(header, rows, numbers=True), bullets(lines)]
    return "\n\n".join(parts)


def _use_section(
    folder: RunFolder, store: Store, config: TrainConfig, summary: Mapping[str, Any]
) -> str:
    name = folder.path.resolve().name
    run, file = shlex.quote(name), shlex.quote(store.path.name)
    commands = [f"drin-fs evaluate {run} --store {file}", f"drin-fs inspect {file} --errors {run}"]
    python = [
        "from linker.evaluate import evaluate",
        f"evaluate({name!r}, store={store.path.name!r})",
    ]
    if model_class(config.model.name)[0].learns:
        commands.insert(1, f"drin-fs link {run} --store {file} --input mentions.jsonl -o out.jsonl")
        again = f"drin-fs train {file} --config {run}/config.yaml -o {run}-again"
    else:
        settings = "".join(
            f" --set {shlex.quote(f'model.{key}={value}')}"
            for key, value in config.model.options.model_dump(exclude_defaults=True).items()
        )
        protocol = f" --protocol {summary['protocol']}"
        again = f"drin-fs evaluate {file} --model {config.model.name}{settings}{protocol} -o {run}-again"
    return "\n\n".join(
        [
            "## Use",
            "Where the folder of the run and its store lie:",
            block(commands, language="sh"),
            block(python, language="python"),
            "## Reproduce",
            block([again], language="sh"),
            "On the same device, with as many threads and the same versions, the figures and the "
            "weights are the same to the bit; what differs is said.",
        ]
    )


def _limits_section(summary: Mapping[str, Any]) -> str:
    lines = []
    if summary["protocol"] == "paper":
        lines.append(
            "Under protocol paper the model sees the gold among the candidates, also where it was "
            "not retrieved: the answer may leak, and figures are not those of a real linker."
        )
        slots = summary.get("empty_gold_slots")
        if isinstance(slots, Mapping) and any(slots.values()):
            counts = ", ".join(f"{escaped(name)} {count:,}" for name, count in slots.items())
            lines.append(f"Mentions whose gold the store does not hold: {counts}.")
    lines += _ceiling(summary)
    lines.append(f"Ties are counted by the {escaped(summary['tie_rule'])} rank; other rules differ.")
    lines.append("The figures are of one seed: compare models by several (drin-fs report).")
    return "\n\n".join(["## Limits", bullets(lines)])


def _ceiling(summary: Mapping[str, Any]) -> list[str]:
    """How many golds can be found at all; nothing where all entities are ranked."""
    shares = [
        f"{100 * summary[split]['retrieved'] / summary[split]['mentions']:.1f} % of {split}"
        for split in _SPLITS
        if summary.get(split) and summary[split]["mentions"]
    ]
    if summary["protocol"] == "full-kb" or not shares:
        return []
    return [
        f"Candidates are the ceiling: {', '.join(shares)} have their gold among them, and no model "
        "that ranks candidates finds the others."
    ]


def _citation_section(model: str) -> str:
    cited = citation(model)
    if cited is None:
        return ""
    link = f" <{cited.url}>" if cited.url else ""
    return (
        f"## Citation\n\nThe method is after {escaped(cited.text)}.{link} This is a network of "
        "drin-fs, not the authors' code or weights."
    )


def _figures(summary: Mapping[str, Any], split: str) -> dict[str, float]:
    """Name → figure that there is: hits@k by growing k, MRR, mean rank."""
    values = summary[split]
    hits = sorted(
        (name for name in values if re.fullmatch(r"hits@\d+", name)), key=lambda n: int(n[5:])
    )
    names = [*hits, "mrr", "mean_rank"]
    return {name: values[name] for name in names if values.get(name) is not None}


def _heading(name: str) -> str:
    return {"mrr": "MRR", "mean_rank": "mean rank"}.get(name, name)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if name == "mean_rank" else f"{100 * value:.1f}"


def _value(value: object) -> str:
    """An option as a configuration has it; a path by its last part."""
    if isinstance(value, str):
        return _last(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]


def _last(text: str) -> str:
    return os.path.basename(text.rstrip("/")) if os.path.isabs(text) else text
