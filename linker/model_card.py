"""``RUN/README.md``: what a run is, for people and for the Hugging Face hub.

    write_card(RunFolder("runs/drin"), store, progress=progress)

Made of what the run recorded, and of what its store says of itself. Names of the store, of encoders
and of splits come from anywhere: they are escaped. No path but the last part of one is shown.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from featurestore import Store
from featurestore.progress import Progress
from linker.card_data import data_section
from linker.card_figures import SPLITS, figures_of, figures_section, heading, limits_section
from linker.citations import citation
from linker.config import TrainConfig
from linker.config_diff import config_differences
from linker.config_text import read_config
from linker.environment_diff import resumed
from linker.markdown import block, bullets, code, escaped, plain, table
from linker.models import model_class
from linker.run_folder import CARD_MARK, RunFolder


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
        data_section(store, config),
        _training_section(config, summary, environment),
        figures_section(store, summary),
        _use_section(folder, store, config, summary),
        limits_section(summary),
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
                {"type": name, "name": heading(name), "value": round(value, 6)}
                for name, value in figures_of(summary, split).items()
                if name != "mean_rank"
            ],
        }
        for split in SPLITS
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
        then = "; ".join(entry.changed) or "nothing had changed"
        lines.append(f"continued after {escaped(entry.after)}: {escaped(then)}")
    if not model_class(config.model.name)[0].learns:
        return "\n\n".join(["## Scoring", "Nothing was trained.", bullets(filter(None, lines))])
    seconds = summary["train_seconds_per_epoch"]
    best = (
        f"{summary['epochs']} epochs of {seconds:,.1f} s; the best is epoch {summary['best_epoch']}"
    )
    lines.insert(0, f"{best}, by {config.metrics.select} of the validation split")
    lines.insert(1, f"seed {config.seed}")
    usual = read_config({"model": config.model.name})
    rows = [
        (code(key), code(_value(value)), code(_value(default)))
        for key, (default, value) in config_differences(usual, config).items()
        if not key.startswith("model.")  # those stand under Model
    ]
    options = (
        f"Options that are not the defaults:\n\n{table(('option', 'value', 'default'), rows)}"
        if rows
        else "Every option has its default."
    )
    return "\n\n".join(["## Training", bullets(filter(None, lines)), options])


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
        rules = (
            f"--protocol {_protocol(summary)} --ties {summary['tie_rule']} "
            f"--denominator {summary['denominator']}"
        )
        again = (
            f"drin-fs evaluate {file} --model {config.model.name}{settings} {rules} -o {run}-again"
        )
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


def _protocol(summary: Mapping[str, Any]) -> str:
    """The protocol as options, with its first stage if it has one."""
    first = summary.get("first_stage")
    if not first:
        return str(summary["protocol"])
    options = [("first-stage", first["method"]), ("retrieve", first["retrieve"])]
    if first["fields"]:
        options.append(("first-stage-field", first["fields"]))
    if "probe" in first:
        options.append(("probe", first["probe"]))
    return "full-kb " + " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in options)


def _citation_section(model: str) -> str:
    cited = citation(model)
    if cited is None:
        return ""
    link = f" <{cited.url}>" if cited.url else ""
    return (
        f"## Citation\n\nThe method is after {escaped(cited.text)}.{link} This is a network of "
        "drin-fs, not the authors' code or weights."
    )


def _value(value: object) -> str:
    """An option as a configuration has it; a path by its last part."""
    if isinstance(value, str):
        return _last(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).splitlines()[0]


def _last(text: str) -> str:
    return os.path.basename(text.rstrip("/")) if os.path.isabs(text) else text
