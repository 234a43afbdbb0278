"""The numbers of one row's features."""

from __future__ import annotations

from collections.abc import Sequence

from cli.console import figure
from cli.web.html import Html, Part, h
from cli.web.parts import grid
from featurestore.describe import FieldStatistics

_HEAD = ("field", "shape", "mean", "std", "min", "max", "norm", "zero")


def statistics(fields: Sequence[FieldStatistics]) -> Html | None:
    if not fields:
        return None
    rows: list[list[Part]] = [
        [
            h("code", field.field),
            "×".join(map(str, field.shape)),
            *map(figure, (field.mean, field.std, field.minimum, field.maximum, field.norm)),
            "–" if field.zeros is None else f"{100 * field.zeros:.0f} %",
        ]
        for field in fields
    ]
    table = grid("Fields of this row", _HEAD, rows, len(_HEAD) - 1)
    return h("details", h("summary", "Fields of this row"), table)
