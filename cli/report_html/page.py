"""What stands around the sections: head, style, contents."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files

from cli.report_html.errors import errors
from cli.report_html.fields import fields
from cli.report_html.findings import findings
from cli.report_html.gallery import gallery
from cli.report_html.overview import made, overview
from cli.report_html.plane import plane
from cli.report_html.present import present
from cli.report_html.report import Report, Section
from cli.report_html.runs import runs
from cli.web.html import Html, document, h
from cli.web.static_files import static_bytes
from featurestore.progress import Stage

#: The sections in the order of the page; those that have nothing to say give None.
SECTIONS: tuple[Callable[[Report], Section | None], ...] = (
    overview,
    present,
    findings,
    runs,
    errors,
    plane,
    gallery,
    fields,
    made,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePage:
    """``sections``: the ids of those that are there."""

    text: str
    sections: tuple[str, ...]


def page(report: Report, stage: Stage) -> WholePage:
    """The whole text of the file."""
    sections = []
    for make in SECTIONS:
        section = make(report)
        sections += [section] if section else []
        stage.advance(1)
    dataset = report.store.dataset
    head = h(
        "head",
        h("meta", {"charset": "utf-8"}),
        h("meta", {"http-equiv": "Content-Security-Policy", "content": _policy()}),
        h("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        h("meta", {"name": "color-scheme", "content": "light dark"}),
        h("meta", {"name": "referrer", "content": "no-referrer"}),
        h("title", f"{dataset} · drin-fs report"),
        Html(f"<style>{_style()}</style>"),
    )
    body = h(
        "body.report",
        h("a.skip", {"href": "#overview"}, "Skip to content"),
        _header(report),
        _contents(sections),
        h("main", [_section(section) for section in sections]),
        h("footer", h("span", f"drin-fs report · every sample drawn with seed {report.seed}")),
    )
    return WholePage(text=document(head, body), sections=tuple(each.key for each in sections))


def _header(report: Report) -> Html:
    store = report.store
    return h(
        "header",
        h("h1", h("bdi", store.dataset)),
        h(
            "p.below",
            h("bdi", store.path.name),
            f" · {store.fingerprint[:12]} · {datetime.now(UTC):%Y-%m-%d}",
            [[" · ", h("bdi", run.name)] for run in report.runs],
        ),
    )


def _contents(sections: list[Section]) -> Html:
    links = [h("a", {"href": f"#{section.key}"}, section.title) for section in sections]
    return h("nav.contents", {"aria-label": "Contents"}, links)


def _section(section: Section) -> Html:
    heading = h("h2", {"id": f"{section.key}-title"}, section.title)
    names = {"id": section.key, "aria-labelledby": f"{section.key}-title"}
    return h("section", names, heading, section.body)


@cache
def _style() -> str:
    """The style of the browser's pages, and what is different in a report; ours, so not escaped."""
    own = (files("cli.report_html") / "report.css").read_text(encoding="utf-8")
    return static_bytes("style.css").decode() + own


def _policy() -> str:
    """Nothing from anywhere, no script, this very style, and pictures that stand in the file."""
    digest = b64encode(sha256(_style().encode()).digest()).decode("ascii")
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
