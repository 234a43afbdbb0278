"""What a researcher should know before believing results: missing, repeated, leaking and broken data.

    with featurestore.open("wikimel.h5") as store:
        for finding in audit(store).findings:
            print(finding.severity, finding.count, finding.what)

``verify`` asks whether a store is whole and obeys the format; an audit takes that for granted and asks
whether the data is good. It reads in blocks: texts, columns and every value of the views, but of big
records a sample, and says so. Every check is a function of its own in :mod:`featurestore.audit.checks`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from featurestore.audit.checks import CHECKS
from featurestore.audit.finding import SEVERITIES, Audit, Finding, Severity
from featurestore.audit.look import Look
from featurestore.progress import Progress, Silent
from featurestore.store import Store

__all__ = ["CHECKS", "SEVERITIES", "Audit", "Finding", "Severity", "audit"]


def audit(store: Store, *, progress: Progress | None = None) -> Audit:
    """Look for what makes results wrong or misleading.

    Raises:
        FieldMissing: the store lacks a field that every store must have.
        StoreError: damaged; ``verify`` finds out what else is.
    """
    look = Look(store, progress or Silent())
    findings = [
        replace(finding, check=name) for name, check in CHECKS.items() for finding in check(look)
    ]
    counts = Counter(finding.severity for finding in findings if not finding.skipped)
    return Audit(
        store=str(store.path),
        dataset=store.dataset,
        mentions=len(store.mentions),
        entities=len(store.entities),
        checks=tuple(CHECKS),
        severities={severity: counts[severity] for severity in SEVERITIES},
        findings=tuple(sorted(findings, key=_worst_first)),
    )


def _worst_first(finding: Finding) -> tuple[int, bool]:
    return SEVERITIES.index(finding.severity), finding.skipped
