"""A plot with the numbers behind it, and how it becomes files that never differ for the same numbers."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from featurestore.errors import ConfigError
from linker.atomic import replacing, run_write_errors
from linker.plots.style import styled

#: Kinds of pictures, each with what keeps the date of writing out of it.
FORMATS: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """``name``: of its files. ``caption``: what one has to know to read it. ``rows`` under ``header``:
    the numbers that are drawn, and what they are means of.
    """

    name: str
    title: str
    figure: Figure
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def write(self, folder: Path) -> tuple[Path, ...]:
        """``NAME.png``, ``.svg``, ``.csv`` and ``.txt`` (the caption); replaces those that are there.

        Raises:
            WriteError: the folder cannot be written.
        """
        with run_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        written = [folder / f"{self.name}.{kind}" for kind in (*FORMATS, "csv", "txt")]
        for kind, path in zip(FORMATS, written, strict=False):
            self.draw(path, kind=kind)
        _write(written[-2], csv_text(self.header, self.rows))
        _write(written[-1], "\n".join(textwrap.wrap(self.caption, 100)) + "\n")
        return tuple(written)

    def draw(self, path: Path, *, kind: str) -> None:
        """Write the picture alone; title and caption stand in the file's metadata.

        Raises:
            WriteError: the file cannot be written.
        """
        about = {"Title": self.title, "Description": self.caption}
        with replacing(path) as temporary, styled():
            self.figure.savefig(temporary, format=kind, metadata={**about, **FORMATS[kind]})


def kind_of(path: Path) -> str:
    """The kind of picture that a file's name asks for.

    Raises:
        ConfigError: none that can be written.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ConfigError(
            "plots are written as PNG or SVG",
            where=str(path),
            hint=f"name it {path.with_suffix('.png').name} or {path.with_suffix('.svg').name}",
        )
    return kind


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as CSV; numbers as they are, nothing for None and NaN."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return ""
    return value


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
