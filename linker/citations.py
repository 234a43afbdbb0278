"""Which publication a model is after: read from the docstring that its file begins with."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from linker.models import model_class

#: In the docstring of a model or its file: authors, title, venue and number between parentheses.
_CITED = re.compile(r"\(([^()]*\bet al\.[^()]*)\)")

_ARXIV = re.compile(r"\barXiv (\d{4}\.\d{4,5})")
_DOI = re.compile(r"\bdoi (10\.\d{4,}/\S+?)(?=[,;]|$)")


@dataclass(frozen=True, slots=True)
class Citation:
    """``text``: authors, title and venue. ``url``: where it is; empty where the docstring has none."""

    text: str
    url: str


def citation(model: str) -> Citation | None:
    """The publication of a model; None where it has none of its own.

    Raises:
        ConfigError: there is no such model.
    """
    network = model_class(model)[0]
    for text in (network.__doc__, sys.modules[network.__module__].__doc__):
        found = _CITED.search(" ".join((text or "").split()))
        if found:
            return Citation(found[1], _url(found[1]))
    return None


def _url(text: str) -> str:
    if arxiv := _ARXIV.search(text):
        return f"https://arxiv.org/abs/{arxiv[1]}"
    doi = _DOI.search(text)
    return f"https://doi.org/{doi[1]}" if doi else ""
