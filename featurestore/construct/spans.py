"""Where a mention stands in its sentence: by its span, by double brackets, or by its text.

Spans count characters (Unicode code points) from 0, the end exclusive. A span in UTF-16 units or in
bytes is recognised and said, never converted silently.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from featurestore.construct.rows import Problem

OPEN, CLOSE = "[[", "]]"

#: The kind of a problem with a span.
OUTSIDE = "span not on the mention"


@dataclass(frozen=True, slots=True)
class Span:
    """A sentence and the mention in it; ``occurrences`` of the mention's text, overlaps not counted.

    ``chosen``: the first of several occurrences was taken because nothing said which.
    """

    sentence: str
    start: int
    end: int
    chosen: bool = False

    @property
    def mention(self) -> str:
        return self.sentence[self.start : self.end]


def find_span(sentence: str, mention: str, start: int | None, end: int | None) -> Span | Problem:
    """The mention's place.

    Args:
        sentence: with the mention in double brackets, where nothing else says where it stands.
        mention: its text, "" = not given.
        start, end: its characters; None = not given.
    """
    if start is not None or end is not None:
        return _by_span(sentence, mention, start, end)
    marked = _by_brackets(sentence)
    if isinstance(marked, Span) and mention in ("", marked.mention):
        return marked
    if not mention:
        return marked
    return _by_text(sentence, mention)


def _by_span(sentence: str, mention: str, start: int | None, end: int | None) -> Span | Problem:
    if start is None or end is None:
        name = "start" if start is None else "end"
        return Problem(OUTSIDE, name, f"{name} is missing", "give both ends, or leave both out")
    if not 0 <= start < end <= len(sentence):
        what = f"no mention at [{start}, {end}) of a sentence of {len(sentence)} characters"
        return Problem(OUTSIDE, "start", what, _other_units(sentence, mention, start, end))
    found = Span(sentence, start, end)
    if mention and found.mention != mention:
        what = f"characters [{start}, {end}) are {found.mention!r}, not {mention!r}"
        return Problem(OUTSIDE, "start", what, _other_units(sentence, mention, start, end))
    return found if found.mention.strip() else _blank()


def _by_brackets(sentence: str) -> Span | Problem:
    before, opened, rest = sentence.partition(OPEN)
    mention, closed, after = rest.partition(CLOSE)
    if not (opened and closed) or OPEN in mention + after or CLOSE in before + after:
        what = "no mention, no span, and not exactly one [[mention]] in the sentence"
        return Problem(
            "no mention", "mention", what, "give the mention, its span, or mark it: … [[Jordan]] …"
        )
    if not mention.strip():
        return _blank()
    return Span(before + mention + after, len(before), len(before) + len(mention))


def _by_text(sentence: str, mention: str) -> Span | Problem:
    if not mention.strip():
        return _blank()
    start = sentence.find(mention)
    if start < 0:
        what = f"{mention!r} is not in the sentence"
        return Problem("mention not in sentence", "mention", what, _why_absent(sentence, mention))
    again = sentence.find(mention, start + 1) >= 0
    return Span(sentence, start, start + len(mention), chosen=again)


def _blank() -> Problem:
    return Problem("no mention", "mention", "the mention is blank", "it is a name in the sentence")


def _why_absent(sentence: str, mention: str) -> str:
    """What to do about a mention that is not in its sentence."""
    for form in ("NFC", "NFKC"):
        if unicodedata.normalize(form, mention) in unicodedata.normalize(form, sentence):
            return f"it is in another Unicode form: bring both to {form}"
    if mention.strip() in sentence:
        return "it is there without the blanks around it"
    place = sentence.casefold().find(mention.casefold())
    if place >= 0 and len(sentence.casefold()) == len(sentence):
        return f"it stands there as {sentence[place : place + len(mention)]!r}: write it so"
    return "write it as the sentence does, or mark it: … [[Jordan]] …"


def _other_units(sentence: str, mention: str, start: int, end: int) -> str:
    """What to do about a span that does not fit, if another unit explains it."""
    if mention:
        for encoding, unit, name in (
            ("utf-16-le", 2, "UTF-16 units"),
            ("utf-8", 1, "bytes of UTF-8"),
        ):
            coded = sentence.encode(encoding)
            if coded[start * unit : end * unit] == mention.encode(encoding):
                return f"it counts {name}: count characters (code points)"
        if sentence[start : end + 1] == mention:
            return "the end is exclusive: add 1 to it"
        if start and sentence[start - 1 : end] == mention:
            return "characters count from 0, the end is exclusive: take 1 from the start"
    return "start counts characters from 0, end is exclusive"
