"""Sampled mentions with their candidates, as a person wants to see them."""

from __future__ import annotations

from cli.console import count, figure
from cli.report_html.picture import picture
from cli.report_html.report import Report, Section
from cli.web.html import Html, Part, h, join
from cli.web.parts import around, badge, beginning
from featurestore.describe import EntityLine, MentionSummary, describe_mention
from featurestore.vectors import sample_rows

#: Mentions that are shown, as many of each split, and candidates of each (chosen here: six pages of
#: paper, and with the largest pictures three megabytes).
MENTIONS, TOP = 24, 5

#: Characters of a sentence, and of a description, that are shown.
_SENTENCE, _TEXT = 320, 96


def gallery(report: Report) -> Section:
    words, cards = [], []
    splits = report.store.mentions.splits
    for name, rows in splits.items():
        chosen = sample_rows(rows, MENTIONS // len(splits), seed=report.seed).tolist()
        sampled = f" (seed {report.seed})" if len(chosen) < len(rows) else ""
        words.append(f"{count(len(chosen))} of {count(len(rows))} in {name}{sampled}")
        cards += [_card(report, describe_mention(report.store, row, top=TOP)) for row in chosen]
    shown = f"The first {TOP} candidates of each, and the gold wherever it stands."
    body = join(
        h("p.below", "; ".join(words) or "The store has no splits", ". ", shown if cards else None),
        h("div.cards", cards) if cards else None,
    )
    return Section(key="mentions", title="Mentions", body=body)


def _card(report: Report, found: MentionSummary) -> Html:
    span = found.span
    if span is not None:
        start = max(0, span[0])
        span = (start, max(start, span[1]))
    return h(
        "article.card",
        h(
            "div.about-mention",
            picture(
                report.store.mentions, found.row, f"picture of mention {beginning(found.id, 60)}"
            ),
            h(
                "div",
                h("p.words", around(found.sentence, span, _SENTENCE)),
                h("p.below", h("code", beginning(found.id, 60)), f" · {found.split or 'no split'}"),
                h("p.marks", _marks(report, found)),
            ),
        ),
        h("ol.answers", [_answer(report, line) for line in found.candidates]),
    )


def _marks(report: Report, found: MentionSummary) -> list[Part]:
    marks: list[Part] = []
    if found.gold is None:
        marks.append(badge("lost", "gold not in the table"))
    elif found.answer >= found.retrieved:
        marks.append(badge("lost", "gold not retrieved"))
    for run in report.runs:
        rank = float(run.ranks[found.row])
        if rank == rank:  # not in a split that the run ranked
            right = rank <= 1
            words = "right" if right else f"rank {rank:g}" if rank < float("inf") else "wrong"
            marks.append(badge("right" if right else "wrong", f"{run.name}: {words}"))
    return [[mark, " "] for mark in marks]


def _answer(report: Report, line: EntityLine) -> Html:
    name = beginning(line.title or line.id or "(empty place)", 90)
    image = None
    if line.row is not None:
        image = picture(report.store.entities, line.row, f"picture of {name}")
    similarities = [
        f"{words} {figure(value)}"
        for words, value in (
            ("image–text", line.sim_image_text),
            ("text–image", line.sim_text_image),
        )
        if value is not None
    ]
    place = str(line.rank) if line.rank else "–"
    return h(
        "li.gold" if line.is_gold else "li",
        h("span.place", place),
        image or h("span.picture.none", "empty"),
        h(
            "div",
            h("p.name", h("bdi", name), h("span.badge.right", "gold") if line.is_gold else None),
            h("p.below", h("bdi", beginning(line.text or "", _TEXT))) if line.text else None,
            h("p.below", " · ".join(similarities)) if similarities else None,
        ),
    )
