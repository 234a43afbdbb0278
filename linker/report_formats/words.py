"""Sentences that several formats have in common."""

from __future__ import annotations

from linker.report_sheet import Layout


def sentences(layout: Layout, *, emphasis: str = "") -> tuple[str, ...]:
    """The caption in sentences. ``emphasis``: how the best and the second of a column look."""
    words = layout.caption
    if layout.emphasised and emphasis:
        words = (*words, f"{emphasis}; figures that read the same share a place")
    return tuple(f"{each[:1].upper()}{each[1:]}." for each in words)
