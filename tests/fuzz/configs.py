"""Configurations: YAML given to ``--config``, and settings given to ``--set``."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from random import Random

import yaml

from cli.main import cli
from linker.config_layers import layered_config
from linker.config_text import read_config, to_yaml
from linker.presets import PRESETS
from tests.fuzz.generic import GENERIC
from tests.fuzz.kinds import OWNED, Case, Kind, Seed, Wrong

_NASTY = (
    "null", "~", "true", "yes", ".nan", ".inf", "-.inf", "1e999", "9" * 5000, "0x" + "f" * 5000,
    "-1", "0", "1.5",
    "1_000", "0o17", "190:20:30", "2001-01-01", "2001-99-99", "2001-01-01T25:61:61Z", "[]", "{}",
    "[[1, 2], {}]",
    '""', "''", '"\\0"', '"\\ud800"', '"\\x41\\U0001F600"', '"\\UFFFFFFFF"', "!!binary aGVsbG8=",
    "!!binary '*'",
    "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!timestamp x", "!!int x", "!!float x",
    "!!bool x",
    "!!null x", "!!str 1", "!!seq {}", "!!map []", f"!!python/object/apply:os.mkdir ['{OWNED}']",
    f"!!python/object/new:os.mkdir ['{OWNED}']", "!!python/name:os.system", "!!python/module:os",
    f"!!python/object/apply:os.system ['touch {OWNED}']", "!!python/tuple [1]", "!custom x", "&a [*a]",
    "&a {b: *a}", "*unknown", "<<: {a: 1}", "{<<: [1]}", "{? [a] : b}", "{? {a: 1} : b}", "{1: 2}",
    "{null: 1}",
    "{true: 1}", "{.nan: 1}", "? a", "- a", "a: b: c", "@x", "`x", "%TAG ! x", "|", ">-", "'", '"',
    "[", "{",
    "drin", "strict", "full-kb", "auto", "tt,ti", "hits@", "hits@" + "9" * 5000, "mrr", "é\u202e",
    "2**31",
    str(2**31), str(2**63), str(2**64), "-" + str(2**63), "4294967295", "4294967296", "1" * 400,
    "0.0000000001",
)  # fmt: skip

_KEYS = ("model", "model.name", "model.layers", "model.edges", "model.without", "model.edges.tt",
"epochs", "lr",
         "loss", "loss.margin", "metrics.ks", "metrics.select", "text.source", "text.max_tokens",
         "seed", "", ".",
         "..", "a..b", "model.", ".model", "order", "epoch", "protocol", "precision", "\x7f", "é",
         "x" * 5000,
         ".".join("a" * 300), "<<", "__class__", "model.__init__", "workers", "device",
         "model.dropout")  # fmt: skip


def yaml_value(rng: Random, data: bytes, other: bytes) -> bytes:
    """Another value behind a colon."""
    lines = data.decode("utf-8", "replace").split("\n")
    places = [n for n, line in enumerate(lines) if ":" in line or "=" in line] or [0]
    for place in rng.sample(places, min(len(places), rng.choice((1, 1, 3)))):
        mark = "=" if "=" in lines[place] else ":"
        key = lines[place].partition(mark)[0]
        lines[place] = f"{key}{mark}{'' if mark == '=' else ' '}{rng.choice(_NASTY)}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def yaml_key(rng: Random, data: bytes, other: bytes) -> bytes:
    """Another key."""
    lines = data.decode("utf-8", "replace").split("\n")
    place = rng.randrange(len(lines))
    mark = "=" if "=" in lines[place] else ":"
    before, found, value = lines[place].partition(mark)
    indent = " " * (len(before) - len(before.lstrip()))
    new = f"{indent}{rng.choice((*_KEYS, *_NASTY))}{found or mark}{value}"
    lines[place : place + rng.randrange(2)] = [new]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def yaml_bomb(rng: Random, data: bytes, other: bytes) -> bytes:
    """Aliases that multiply, nesting without end, and other ways of being large."""
    depth = rng.choice((20, 200, 3000))
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
    )
    merges = "m0: &m0 {k: 1}\n" + "".join(
        f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
    )
    bomb = rng.choice((
        laughs, laughs + "epochs: *a11\n", laughs + "metrics: {ks: *a11}\n", merges,
        merges + "loss: *m8\n",
        "model: " + "[" * depth, "model: " + "[" * depth + "]" * depth,
        "a: " + "{b: " * depth + "}" * depth,
        "".join(f"{' ' * n}a:\n" for n in range(depth)), "- " * depth + "x", "? " * depth,
        "epochs: " + "1" * 3_000_000, "x" * 2_000_000, "a: 1\n" * 20_000, "# " + "c" * 2_000_000,
        "k: &a [*a, *a]\nepochs: *a\n", "model: &m {name: drin, x: *m}\n", "--- 1\n--- 2\n",
    ))  # fmt: skip
    return bomb.encode() if rng.random() < 0.6 else data + b"\n" + bomb.encode()


def yaml_encoding(rng: Random, data: bytes, other: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    return rng.choice((
        b"\xef\xbb\xbf" + data, text.encode("utf-16"), text.encode("utf-16-le"), text.encode("utf-32"),
        data.replace(b"\n", b"\r"), data.replace(b"  ", b"\t"), data.replace(b"\n", b"\r\n"),
        data.replace(b"\n", b"\xc2\x85"), b"---\n" + data + b"...\n" + data,
    ))  # fmt: skip


def _seeds(folder: Path) -> Sequence[Seed]:
    target = folder / "config"
    target.mkdir()
    names = []
    for name in ("drin-wikimel", "ghmfc-wikidiverse", "text-wikimel"):
        text = to_yaml(layered_config(preset_name=name))
        (target / f"{name}.yaml").write_text(text, encoding="utf-8")
        (target / f"{name}-short.yaml").write_text(yaml.safe_dump(PRESETS[name]), encoding="utf-8")
        names += [f"{name}.yaml", f"{name}-short.yaml"]
    settings = (
        "model.layers=3",
        "model.edges=tt,ti",
        "loss.margin=0.5",
        "metrics.ks=1,5",
        "seed=7",
    )
    (target / "settings.txt").write_text(
        "\n".join((*settings, "text.source=stored")), encoding="utf-8"
    )
    return [Seed(target, (name,)) for name in [*names, *["settings.txt"] * 3]]


def _read(case: Case) -> None:
    """``drin-fs train --print-config`` of the changed file; what it prints is read again."""
    changed = [path for path in sorted(case.source.iterdir()) if path.stat().st_nlink == 1]
    for path in changed:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            cli.main(["train", "--print-config", *_given(path)], standalone_mode=False)
        config = read_config(yaml.safe_load(printed.getvalue()))
        if to_yaml(config) != printed.getvalue():
            raise Wrong(f"what is printed of {path.name} is another configuration")


def _given(path: Path) -> list[str]:
    if path.suffix == ".yaml":
        return ["--config", str(path)]
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    # an argument holds no NUL, and there are not so many of them
    return [word for line in lines[:50] for word in ("--set", line.replace("\0", "")[:100_000])]


KIND = Kind(
    name="config",
    about="YAML given to --config, values given to --set",
    seeds=_seeds,
    mutators=(
        yaml_value,
        yaml_value,
        yaml_value,
        yaml_key,
        yaml_key,
        yaml_bomb,
        yaml_encoding,
        *GENERIC,
    ),
    read=_read,
)
