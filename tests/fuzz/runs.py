"""The small files of a run: config.yaml, environment.json, summary.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import featurestore
from cli.main import cli
from linker.config_layers import layered_config
from linker.config_text import read_config, to_yaml
from linker.run_folder import RunFolder
from linker.store_identity import open_recorded_store, store_identity
from linker.summary import store_line
from tests.fuzz.configs import yaml_bomb, yaml_encoding, yaml_key, yaml_value
from tests.fuzz.generic import GENERIC
from tests.fuzz.jsons import JSON
from tests.fuzz.kinds import Case, Kind, Seed
from tests.tiny_store import write_tiny_store

_FIGURES = {
    "hits@1": 0.5,
    "hits@5": 0.75,
    "mrr": 0.6,
    "mean_rank": None,
    "mentions": 4,
    "retrieved": 3,
}


def _yaml(rng: Random, data: bytes, other: bytes) -> bytes:
    """A mutation of YAML, or of JSON, whichever it is."""
    chosen = JSON if data.lstrip()[:1] == b"{" else (yaml_value, yaml_key, yaml_bomb, yaml_encoding)
    return rng.choice(chosen)(rng, data, other)


def _seeds(folder: Path) -> Sequence[Seed]:
    target = folder / "run"
    target.mkdir()
    store = write_tiny_store(folder.parent / "tiny.h5").path
    with featurestore.open(store) as opened:
        identity = store_identity(opened)
    summary = {
        "model": "drin", "text": "stored", "protocol": "strict", "tie_rule": "expected", "seed": 0,
        "denominator": "all", "changed": {"layers": 3}, "edges": ["tt"], "valid": _FIGURES,
        "test": _FIGURES,
        "store": store_line(identity),
    }  # fmt: skip
    (target / "summary.json").write_text(json.dumps(summary, indent=1))
    (target / "environment.json").write_text(
        json.dumps({"threads": 1, "store": identity}, indent=1)
    )
    (target / "config.yaml").write_text(to_yaml(layered_config(preset_name="drin-wikimel")))
    files = ("summary.json", "environment.json", "config.yaml")
    return [Seed(target, (name,)) for name in files]


def _read(case: Case) -> None:
    """``drin-fs report``, and how evaluate, link and train --resume read a run."""
    cli.main(["report", str(case.source)], standalone_mode=False)
    cli.main(["report", "--json", str(case.source)], standalone_mode=False)
    run = RunFolder(case.source)
    read_config(run.read_config())
    open_recorded_store(run.read_environment()["store"], given=None, other_store=False).close()


KIND = Kind(
    name="runs",
    about="config.yaml, environment.json and summary.json of a run",
    seeds=_seeds,
    mutators=(*[_yaml] * len(GENERIC), *GENERIC),
    read=_read,
)
