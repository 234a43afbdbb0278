"""In what two environments differ, in words: of a run, and of the one that goes on with it.

    for line in environment_notes(folder.read_environment(), environment(device, store)):
        progress.note(line)

Nothing here is an error: a run may be continued, scored or run again anywhere. Another *store* is one
(:mod:`linker.store_identity`). Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Keys of ``environment.json`` that may change figures, whatever the configuration: they change the
#: order in which numbers are added up, or how finely. What a reader calls them.
_FIGURES: Mapping[str, str] = {
    "device": "device",
    "threads": "threads",
    "processes": "processes",
    "cpu": "instructions of the CPU",
    "versions.torch": "torch",
    "settings.float32_matmul": "precision of float32 products",
    "settings.kernels": "compiled kernels",
    "settings.cudnn_tf32": "TF32 in cuDNN",
    "settings.cublas_workspace": "CUBLAS_WORKSPACE_CONFIG",
}

#: Those that should not, and are worth knowing when figures differ all the same.
_OTHERS: Mapping[str, str] = {
    "versions.drin-fs": "drin-fs",
    "code": "code of drin-fs",
    "versions.python": "Python",
    "versions.lightning": "lightning",
    "versions.numpy": "numpy",
    "versions.h5py": "h5py",
    "platform": "platform",
}

#: Characters of a value that are shown (chosen here: the name of a GPU has forty).
_SHOWN = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that is not as it was. ``changes_figures``: it is known to change some digits."""

    name: str
    recorded: str
    now: str
    changes_figures: bool

    def __str__(self) -> str:
        return f"{self.name} {self.recorded} → {self.now}"


def environment_differences(
    recorded: Mapping[str, Any], now: Mapping[str, Any]
) -> tuple[Difference, ...]:
    """What of two ``environment.json`` differs, the store aside; what may change figures stands first.

    A key that either of them lacks, because a version did not record it, is not compared.
    """
    return tuple(
        Difference(name=name, recorded=_shown(old), now=_shown(new), changes_figures=figures)
        for names, figures in ((_FIGURES, True), (_OTHERS, False))
        for key, name in names.items()
        for old, new in [(_at(recorded, key), _at(now, key))]
        if old is not None and new is not None and old != new
    )


def environment_notes(
    recorded: Mapping[str, Any], now: Mapping[str, Any], *, whose: str = "the run's"
) -> tuple[str, ...]:
    """At most two lines: a warning of what may change figures, and the rest; none for no difference.

    Args:
        whose: environment the recorded one is, in the lines.
    """
    differences = environment_differences(recorded, now)
    lines = (
        (f"WARNING: figures may differ in their last digits from {whose}: ", True),
        (f"not {whose} environment in every part: ", False),
    )
    return tuple(
        start + "; ".join(found)
        for start, figures in lines
        if (found := [str(each) for each in differences if each.changes_figures == figures])
    )


@dataclass(frozen=True, slots=True)
class Resumed:
    """A run was continued: ``after`` what, and what had ``changed``, in words."""

    after: str
    changed: tuple[str, ...]


def with_history(
    recorded: Mapping[str, Any], now: Mapping[str, Any], *, after: str
) -> dict[str, Any]:
    """The environment of a run that is continued: ``now``, and what it went through before.

    ``resumed`` holds one entry a continuation, so that a run that moved from one machine to another
    says so, and is not taken for one that can be run again exactly.
    """
    changed = [str(each) for each in environment_differences(recorded, now)]
    history = [{"after": each.after, "changed": [*each.changed]} for each in resumed(recorded)]
    return {**now, "resumed": [*history, {"after": after, "changed": changed}]}


def resumed(environment: Mapping[str, Any]) -> tuple[Resumed, ...]:
    """The continuations of a run, as :func:`with_history` recorded them; malformed ones are left out."""
    entries = environment.get("resumed")
    return tuple(
        Resumed(_shown(entry["after"]), tuple(map(_shown, entry["changed"])))
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping)
        and isinstance(entry.get("after"), str)
        and isinstance(entry.get("changed"), list)
    )


def _at(values: Mapping[str, Any], key: str) -> object:
    """A text, number or truth at a key with dots; None where there is none."""
    value: object = values
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, str | int | float) else None


def _shown(value: object) -> str:
    """A value for a line: of one line, and not too long."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
