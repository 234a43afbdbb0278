"""What the store holds, in a few numbers, and how it was made."""

from __future__ import annotations

from cli.console import count, percent, size
from cli.report_html.report import Report, Section
from cli.web.html import Html, Part, h
from cli.web.pages.overview import origin
from cli.web.parts import grid
from featurestore.summary import SplitSummary, StoreSummary


def overview(report: Report) -> Section:
    summary = report.summary
    return Section(
        key="overview",
        title="Overview",
        body=h("div", _tiles(summary), _splits(summary)),
    )


def made(report: Report) -> Section:
    return Section(key="origin", title="Origin", body=origin(report.summary))


def _tiles(summary: StoreSummary) -> Html:
    logical = sum(table.logical_bytes for table in summary.tables)
    retrieved = sum(split.retrieved for split in summary.splits)
    mentions = sum(split.mentions for split in summary.splits)
    tiles = [(count(table.rows), table.name) for table in reversed(summary.tables)]
    tiles += [
        (count(summary.candidates), "candidates a mention"),
        (percent(retrieved, mentions), "golds among them"),
        (size(summary.file_bytes), f"on disk, {size(logical)} decoded"),
    ]
    return h("ul.tiles", [h("li", h("b", number), h("span", words)) for number, words in tiles])


def _splits(summary: StoreSummary) -> Html:
    levels = sorted({k for split in summary.splits for k in split.recall})
    head = ["split", "mentions", "retrieved", *(f"@{k}" for k in levels)]
    unknown = any(split.gold_unknown for split in summary.splits)
    head += ["gold not in table"] if unknown else []
    rows = [_split(split, levels)[: len(head)] for split in summary.splits]
    caption = "Splits, and how many golds are among the first k candidates (recall@k), in %"
    return grid(caption, head, rows, len(head) - 1)


def _split(split: SplitSummary, levels: list[int]) -> list[Part]:
    return [
        split.name,
        count(split.mentions),
        count(split.retrieved),
        *(f"{100 * split.recall[k]:.1f}" if k in split.recall else "–" for k in levels),
        count(split.gold_unknown),
    ]
