"""Texts of unknown origin as a person may see them: nothing that a terminal would obey."""

from __future__ import annotations

#: Zero-width (non-)joiners are part of Persian and Hindi spelling: the only invisible ones we keep.
_JOINERS = "\u200c\u200d"


def clean(text: str) -> str:
    """The text with every character that a terminal would obey, or not show, written out.

    Line breaks, tabs and the like become spaces.
    """
    if text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if character.isspace():
        return " "
    return character.encode("unicode_escape").decode()
