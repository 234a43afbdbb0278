"""A table of runs as text: one module a format, each of what ``linker.report_sheet`` laid out.

text = write_table(table, "latex")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

from linker.report_formats.csv_lines import csv_lines
from linker.report_formats.html_page import html_page
from linker.report_formats.latex import latex
from linker.report_formats.markdown import markdown
from linker.report_rows import RunsTable
from linker.report_sheet import Layout, layout

#: How a table can be written; ``rich`` is for terminals (``linker.report_formats.terminal``).
Format: TypeAlias = Literal["rich", "md", "latex", "csv", "html"]

#: Ending of a file → the format that is meant.
ENDINGS: Mapping[str, Format] = {
    ".md": "md",
    ".tex": "latex",
    ".csv": "csv",
    ".html": "html",
    ".htm": "html",
    ".txt": "rich",
}

_STYLED: Mapping[Format, Callable[[Layout], str]] = {
    "md": markdown,
    "latex": latex,
    "html": html_page,
}


def write_table(
    table: RunsTable, form: Literal["md", "latex", "csv", "html"], *, intervals: bool = False
) -> str:
    """The table in a format. ``intervals``: with those of the figures; csv has them always."""
    if form == "csv":
        return csv_lines(table)
    return _STYLED[form](layout(table, intervals=intervals))
