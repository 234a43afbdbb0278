"""Which golds, pictures and texts there are."""

from __future__ import annotations

from cli.console import count, percent
from cli.report_html.charts import Line, line_chart, share_bar, stacked
from cli.report_html.report import Report, Section, note
from cli.web.html import Html, Part, h, join
from cli.web.parts import grid
from featurestore.coverage import Coverage


def present(report: Report) -> Section:
    found = report.coverage
    beside = h("div.beside", h("div", _recall(found)), h("div", _pictures(found)))
    return Section(key="coverage", title="Coverage", body=join(beside, _texts(found)))


def _recall(found: Coverage) -> Html:
    head = h("h3", "Golds among the first k candidates")
    lines = [Line(name=split.name, shares=split.recall) for split in found.splits if split.mentions]
    if not lines or not len(lines[0].shares):
        return join(head, note("No mention has candidates."))
    words = "; ".join(
        f"{line.name}: {100 * line.shares[0]:.1f} % at 1, {100 * line.shares[-1]:.1f} % "
        f"at {len(line.shares)}"
        for line in lines
    )
    title = "Candidate recall over the number of candidates"
    return join(head, line_chart("recall", title, words, lines, "candidates (k)"))


def _pictures(found: Coverage) -> Html:
    bars = [
        stacked(f"{split.name} mentions", split.pictures)
        for split in found.splits
        if split.pictures
    ]
    if found.entity_pictures:
        bars.append(stacked("entities", found.entity_pictures))
    words = "Where a picture is missing, broken or too small, the default picture stands for it."
    unknown = note("The store does not say which rows have pictures.")
    shown: Part = [bars, note(words)] if bars else unknown
    return join(h("h3", "Pictures"), shown)


def _texts(found: Coverage) -> Html:
    rows: list[list[Part]] = [
        [
            join(h("code", text.path), h("p.below", text.doc)),
            share_bar(text.filled, text.of),
            count(text.filled),
            percent(text.filled, text.of),
        ]
        for text in found.texts
        if not text.path.endswith("/id")  # every row has one
    ]
    head = ("field", "", "rows", "share")
    return join(h("h3", "Texts"), h("div.texts", grid("Rows that have a text", head, rows, 2)))
