"""What ``drin-fs audit`` prints."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import count, percent, plain_text
from cli.render_parts import grid
from featurestore.audit import SEVERITIES, Audit, Finding, Severity

_STYLE: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def audit_view(found: Audit) -> list[RenderableType]:
    """A line about the store, a table of findings, and what could not be looked at."""
    name = Text.assemble(
        plain_text(found.dataset, "bold"), "  ", plain_text(found.store, "cyan"), "\n",
        f"{count(found.mentions)} mentions · {count(found.entities)} entities · ",
        f"{len(found.checks)} checks: ", _counts(found), "\n",
    )  # fmt: skip
    findings = [finding for finding in found.findings if not finding.skipped]
    parts: list[RenderableType] = [name]
    if findings:
        parts.append(_table(findings))
    silent = [check for check in found.checks if check not in {f.check for f in found.findings}]
    if silent:
        parts.append(plain_text(f"nothing found by: {', '.join(silent)}", "dim"))
    for finding in found.findings:
        if finding.skipped:
            parts.append(plain_text(f"{finding.check}: {finding.what}", "dim"))
    return parts


def _counts(found: Audit) -> Text:
    words = []
    for severity in SEVERITIES:
        number = found.severities[severity]
        if number:
            words.append((f"{number} {severity}{'s' if number > 1 else ''}", _STYLE[severity]))
    if not words:
        return Text("nothing found", "bold green")
    return Text(", ").join(Text(*word) for word in words)


def _table(findings: list[Finding]) -> Table:
    table = grid("", "severity", "count", "of", "share", right=["count", "of", "share"])
    table.add_column("check: what, why, and examples", overflow="fold", ratio=1)
    for finding in findings:
        table.add_row(
            Text(finding.severity, _STYLE[finding.severity]),
            count(finding.count),
            count(finding.of),
            percent(finding.count, finding.of),
            _sentences(finding),
        )
    return table


def _sentences(finding: Finding) -> Text:
    text = Text.assemble(
        plain_text(finding.check, "bold"),
        ": ",
        plain_text(finding.what),
        "\n",
        plain_text(finding.why, "dim"),
    )
    if finding.examples:
        text.append("\n")
        text.append_text(plain_text(f"e.g. {', '.join(finding.examples)}", "green"))
    return text
