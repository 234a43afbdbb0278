"""What each run got wrong, grouped by why, with the surest mistakes."""

from __future__ import annotations

from cli.console import count, figure, percent
from cli.report_html.charts import share_bar
from cli.report_html.report import Report, Section, note
from cli.web.html import Html, Part, h, join
from cli.web.parts import around, beginning, grid
from cli.web.runs import Run
from linker.mistakes import REASONS, SHARED_LACK, Answer, Mistake, MistakeGroup, Mistakes, mistakes
from linker.recorded import NotRecorded

#: Mistakes of a group that are shown (chosen here: a group is a part of a page).
EXAMPLES = 3

#: Characters of a sentence that are shown.
_SENTENCE = 220


def errors(report: Report) -> Section | None:
    split = report.split
    if not report.runs or split is None:
        return None
    parts = [_run(report, run, split) for run in report.runs]
    return Section(key="errors", title="Errors", body=join(parts))


def _run(report: Report, run: Run, split: str) -> Html:
    head = h("h3", h("bdi", run.name), f", {split}")
    try:
        found = mistakes(report.store, run.recorded, split=split, limit=EXAMPLES)
    except NotRecorded as error:
        return h("div.errors", head, note(error.what, ". ", error.hint))
    return h(
        "div.errors",
        head,
        h("p", f"{count(found.wrong)} of {count(found.mentions)} mentions wrong "
               f"({percent(found.wrong, found.mentions)})."),
        _reasons(found),
        [_group(group) for group in found.groups if group.mistakes],
    )  # fmt: skip


def _reasons(found: Mistakes) -> Html | None:
    if not found.groups:
        return None
    rows: list[list[Part]] = [
        [
            group.words,
            share_bar(group.count, found.wrong),
            count(group.count),
            percent(group.count, found.wrong),
            count(group.holds),
        ]
        for group in found.groups
    ]
    lacking = [
        f"Not known: {REASONS[reason]} (the store has no {fields}). "
        for reason, fields in found.not_known.items()
    ]
    if not all(group.count for group in found.groups):
        lacking.append(SHARED_LACK)
    head = ("why", "", "mistakes", "share", "holds for")
    return h(
        "div.texts",
        grid("Why, each mistake counted under the first reason that holds", head, rows, 3),
        note(lacking) if lacking else None,
    )


def _group(group: MistakeGroup) -> Html:
    shown = "the surest" if len(group.mistakes) < group.count else "all"
    words = f"{shown} {count(len(group.mistakes))} of {count(group.count)}"
    return h(
        "div.group",
        h("h4", group.words, " ", h("span.aside", words)),
        h("ul.mistakes", [_mistake(mistake) for mistake in group.mistakes]),
    )


def _mistake(mistake: Mistake) -> Html:
    rank = "" if mistake.rank is None else f"rank {mistake.rank:g}"
    margin = "" if mistake.margin is None else f"margin {figure(mistake.margin)}"
    taken = mistake.taken
    return h(
        "li",
        h("p.words", around(mistake.sentence, mistake.span, _SENTENCE)),
        h(
            "p.below",
            h("code", beginning(mistake.mention, 60)),
            " gold ",
            _entity(mistake.gold, "right", rank, nobody="not in the entity table"),
            [" taken ", _entity(taken, "wrong", margin, nobody="(empty place)")] if taken else None,
        ),
    )


def _entity(answer: Answer, kind: str, more: str, *, nobody: str) -> Html:
    name = nobody if answer.row is None else beginning(answer.title or answer.id or "", 90)
    facts = [f"score {figure(answer.score)}" if answer.score is not None else "", more]
    words = ", ".join(fact for fact in facts if fact)
    return join(h(f"b.{kind}", h("bdi", name)), f" ({words})" if words else None)
