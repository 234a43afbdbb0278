"""What the audit found."""

from __future__ import annotations

from cli.console import count, percent
from cli.report_html.report import Report, Section, note
from cli.web.html import Html, h, join
from cli.web.parts import beginning
from featurestore.audit import SEVERITIES, Audit, Finding, audit

#: Characters of an example that are shown.
_EXAMPLE = 80

_PLURAL = {"error": "errors", "warning": "warnings", "note": "notes"}


def findings(report: Report) -> Section:
    found = audit(report.store, progress=report.progress)
    looked = [finding for finding in found.findings if not finding.skipped]
    skipped = [finding for finding in found.findings if finding.skipped]
    body = join(
        h("p", _counts(found)),
        h("ol.findings", [_finding(finding) for finding in looked]) if looked else None,
        _skipped(skipped),
    )
    return Section(key="audit", title="Audit", body=body)


def _counts(found: Audit) -> str:
    words = [
        f"{count(found.severities[name])} {_PLURAL[name] if found.severities[name] != 1 else name}"
        for name in SEVERITIES
    ]
    return f"{', '.join(words)} from {count(len(found.checks))} checks."


def _finding(finding: Finding) -> Html:
    examples = [h("bdi", beginning(text, _EXAMPLE)) for text in finding.examples]
    share = f" of {count(finding.of)}, {percent(finding.count, finding.of)}" if finding.of else ""
    return h(
        f"li.is-{finding.severity}",
        h(
            "p.what",
            h(f"span.badge.is-{finding.severity}", finding.severity),
            " ",
            h("bdi", finding.what),
        ),
        h("p.below", h("b", count(finding.count)), share, " · ", finding.why),
        h("p.examples", "e.g. ", [[h("code", text), " "] for text in examples])
        if examples
        else None,
    )


def _skipped(skipped: list[Finding]) -> Html | None:
    if not skipped:
        return None
    lines = [h("li", h("code", each.check), " ", h("bdi", each.what)) for each in skipped]
    return join(note("Not looked at:"), h("ul.skipped", lines))
