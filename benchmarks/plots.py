"""Draw saved figures as PNG files for the README.

python -m benchmarks.plots RESULTS.json… -o docs/images
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.memory import COMPUTED, LIMIT_GB
from benchmarks.report import shown
from benchmarks.saved import Saved, load

#: 8 inches at this resolution are 1600 pixels: sharp where a README shows them 800 wide.
_WIDTH, _DPI = 8.0, 200

_OURS, _OTHERS, _INK, _FAINT = "#1f6feb", "#b6bec8", "#1f2328", "#59636e"
_LINES = ("#cf222e", "#bc6c00", "#6e7781")

#: Inches that a bar takes, a line of the subtitle, and a letter of a name beside a bar.
_BAR, _LINE, _LETTER = 0.27, 0.16, 0.07

#: Characters of a line of the subtitle.
_LETTERS = 128


# drawings -------------------------------------------------------------------------------------------


def bars(saved: Saved) -> Figure | None:
    """Milliseconds a batch of every warm row, fastest first; None without such rows."""
    rows = [row for row in saved.rows if row.get("ms a batch") and not row["name"].endswith("cold")]
    if not rows:
        return None
    rows.sort(key=lambda row: row["ms a batch"])
    values = [row["ms a batch"] for row in rows]
    longest = max(len(row["name"]) for row in rows)
    figure, axes = _canvas(saved, inches=_BAR * len(rows) + 0.35, left=0.2 + _LETTER * longest)
    drawn = axes.barh(
        range(len(rows)),
        values,
        height=0.72,
        color=[_OURS if row["ours"] else _OTHERS for row in rows],
    )
    axes.bar_label(
        drawn, [f"{shown(float(v))} ms" for v in values], padding=3, color=_INK, fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row["ours"]:
            label.set(color=_OURS, fontweight="bold")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(values) * 6)  # room for the labels
    axes.set_xlabel("milliseconds a batch, less is better (log axis)", color=_FAINT, fontsize=9)
    _plain_numbers(axes.xaxis)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e5e8eb", linewidth=0.8)
    return figure


def memory(saved: Saved) -> Figure | None:
    """Peak memory against entities: a line for each contestant, hollow where it was computed."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in saved.rows:
        lines.setdefault(row["name"].partition(":")[0], []).append(row)
    if not lines:
        return None
    figure, axes = _canvas(saved, inches=3.6, left=0.72)
    others = iter(_LINES * len(lines))
    for name, rows in lines.items():
        _line(axes, name, rows, colour=_OURS if rows[0]["ours"] else next(others))
    axes.axhline(LIMIT_GB, color=_OURS, linewidth=0.9, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("entities (log axis)", color=_FAINT, fontsize=9)
    axes.set_ylabel("peak memory, GB (log axis)", color=_FAINT, fontsize=9)
    peaks = [row["peak GB"] for row in saved.rows]
    axes.set_ylim(min(*peaks, LIMIT_GB) / 2.5, max(*peaks, LIMIT_GB) * 4)
    entities = [row["entities"] for row in saved.rows]
    axes.set_xlim(min(entities) / 1.6, max(entities) * 1.6)
    _plain_numbers(axes.xaxis, axes.yaxis)
    axes.grid(color="#e5e8eb", linewidth=0.8)
    axes.text(
        0.995, LIMIT_GB * 1.06, f"target: at most {LIMIT_GB} GB", color=_OURS, fontsize=8,
        ha="right", transform=axes.get_yaxis_transform(),
    )  # fmt: skip
    axes.legend(loc="upper left", frameon=False, fontsize=9, handlelength=3, labelcolor=_INK)
    return figure


def _line(axes: Axes, name: str, rows: list[dict[str, Any]], *, colour: str) -> None:
    """Points by entities, each with its figure; its line is dashed if it leads to a computed one."""
    rows = sorted(rows, key=lambda row: row["entities"])
    ours, computed = rows[0]["ours"], [COMPUTED in row["name"] for row in rows]
    style = "--" if any(computed) else "-"
    label = f"{name} (hollow: computed for WikiMEL)" if any(computed) else name
    across, up = ([row[key] for row in rows] for key in ("entities", "peak GB"))
    axes.plot(across, up, style, color=colour, linewidth=1.6, zorder=2)
    axes.plot([], [], "o" + style, color=colour, label=label)  # what the legend shows
    for x, y, hollow in zip(across, up, computed, strict=True):
        face = "white" if hollow else colour
        axes.plot(x, y, "o", color=colour, markerfacecolor=face, markersize=7, zorder=3)
        axes.annotate(
            f"{shown(float(y))} GB", (x, y), (0, -16 if ours else 8),
            textcoords="offset points", ha="center", color=colour, fontsize=9,
        )  # fmt: skip


#: Benchmark → the file that shows it, and how.
PLOTS: Mapping[str, tuple[str, Callable[[Saved], Figure | None]]] = {
    "gather": ("batch-time.png", bars),
    "memory": ("memory.png", memory),
    "records": ("records.png", bars),
}


# what they share ------------------------------------------------------------------------------------


def _canvas(saved: Saved, *, inches: float, left: float) -> tuple[Figure, Axes]:
    """A white figure with title and conditions, and axes of a height below them."""
    lines = [
        line
        for text in (*saved.conditions[:2], _measured_on(saved.machine))
        for line in textwrap.wrap(text, _LETTERS)
    ]
    above, below = 0.52 + _LINE * len(lines), 0.5
    height = above + inches + below
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    axes = figure.add_axes((left / _WIDTH, below / height, 0.975 - left / _WIDTH, inches / height))
    top = 1 - 0.12 / height
    title = saved.question[0].upper() + saved.question[1:]
    figure.text(0.015, top, title, fontsize=13, fontweight="bold", color=_INK, va="top")
    figure.text(
        0.015, top - 0.27 / height, "\n".join(lines), fontsize=7.5, color=_FAINT, va="top",
        linespacing=1.35,
    )  # fmt: skip
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#d0d7de")
    axes.tick_params(colors=_INK, labelsize=9)
    axes.set_axisbelow(True)
    return figure, axes


def _measured_on(machine: Mapping[str, Any]) -> str:
    parts = (machine["processor"], f"{machine['cores']} cores", f"{machine['memory_gb']:.0f} GB")
    return "Measured on: " + ", ".join(filter(None, parts))


def _plain_numbers(*axis_of: Axis) -> None:
    """0.1, 10, 1,000 in place of powers of ten."""
    for axis in axis_of:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
        axis.set_minor_locator(NullLocator())


def draw(results: Mapping[str, Saved], folder: Path) -> list[Path]:
    """Write a file for every benchmark that there are results of, and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (file, plot) in PLOTS.items():
        figure = plot(results[name]) if name in results else None
        if figure is not None:
            figure.savefig(folder / file, metadata={"Software": None})
            written.append(folder / file)
    return written


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument(
    "results", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "-o", "--output", "folder", required=True, type=click.Path(path_type=Path, file_okay=False)
)
def main(results: tuple[Path, ...], folder: Path) -> None:
    """Draw RESULTS of ``python -m benchmarks --json``; the last one that has a benchmark counts."""
    for path in draw(load(results), folder):
        click.echo(path)


if __name__ == "__main__":
    sys.exit(main())
