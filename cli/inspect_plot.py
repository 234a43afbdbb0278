"""``drin-fs inspect --edges --plot FILE``: the edges of a view as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from cli.inspect_views import MentionEdges, View
from featurestore.errors import ConfigError
from featurestore.target import check_target
from linker.plots.edges import summary_plot
from linker.plots.mention_edges import mention_plot
from linker.plots.plot import kind_of
from linker.plots.style import styled

#: How a file of each kind begins: what begins otherwise is not replaced, whatever was asked for.
_BEGINS = {"png": b"\x89PNG", "svg": b"<?xml"}


def check_plot(target: Path, runs: Sequence[Path], *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before the edges are computed.

    Raises:
        click.UsageError: several runs.
        ConfigError: the name says no kind of picture, or the file that is there is none of it.
        WriteError: the file is there, or its folder is not.
    """
    if len(runs) > 1:
        raise click.UsageError("--plot draws the edges of one --run")
    kind = kind_of(target)
    check_target(target, overwrite=overwrite)
    if target.exists() and not _begins(target, _BEGINS[kind]):
        raise ConfigError(
            f"the file is no {kind.upper()}, and is not replaced",
            where=str(target),
            hint="name another file",
        )


def write_plot(view: View, target: Path) -> None:
    """Draw the edges of a view of one run.

    Raises:
        WriteError: the file cannot be written.
    """
    (found,) = view.edges
    with styled():
        if isinstance(found, MentionEdges):
            plot = mention_plot(found.weights, found.mention)
        else:
            plot = summary_plot(found)
        plot.draw(target, kind=kind_of(target))


def _begins(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start
