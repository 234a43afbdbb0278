"""The kinds by name. A new one is a module with a ``KIND``, and a line here."""

from __future__ import annotations

from importlib import import_module

from tests.fuzz.kinds import Kind

#: Name → module; loaded when it is asked for, because some import torch.
KINDS: dict[str, str] = {
    "npy": "tests.fuzz.npy",
    "json": "tests.fuzz.jsons",
    "tsv": "tests.fuzz.tables",
    "pictures": "tests.fuzz.pictures",
    "archives": "tests.fuzz.archives",
    "config": "tests.fuzz.configs",
    "runs": "tests.fuzz.runs",
    "recorded": "tests.fuzz.recorded",
    "checkpoints": "tests.fuzz.checkpoints",
    "link": "tests.fuzz.links",
    "stores": "tests.fuzz.stores",
    "forged": "tests.fuzz.stores:FORGED",
    "uses": "tests.fuzz.uses",
    "headerless": "tests.fuzz.stores:HEADERLESS",
}


def kind_of(name: str) -> Kind:
    """The kind of this name.

    Raises:
        SystemExit: there is none.
    """
    if name not in KINDS:
        raise SystemExit(f"no kind {name!r}; kinds: {', '.join(KINDS)}")
    module, _, attribute = KINDS[name].partition(":")
    kind: Kind = getattr(import_module(module), attribute or "KIND")
    return kind
