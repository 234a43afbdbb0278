r"""A table of runs in LaTeX with booktabs, for pdfLaTeX as for XeLaTeX and LuaLaTeX.

Texts become ASCII, so that no encoding and no font is needed: accents as commands, and a letter that
LaTeX has none for as its number (``U+4E2D``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from linker.report_formats.words import sentences
from linker.report_sheet import Block, Box, Layout, Sheet

#: Characters that LaTeX obeys, joins with their neighbours, or has no key for. ``[`` and ``*`` stand
#: in braces because they would belong to the ``\\`` of the line before.
_COMMANDS: Mapping[str, str] = {
    **{special: f"\\{special}" for special in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "\0": "{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    '"': "''",
    "`": r"\`{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    **{"ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}"},
    **{"Ø": r"\O{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}"},
}

#: Combining character → the command that sets it on a letter.
_ACCENTS: Mapping[str, str] = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u"},
    **{"\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c"},
}

#: Characters that become another beside their like.
_JOINED = re.compile("-(?=-)|,(?=,)|'(?=')")

_MARKS: Mapping[str, str] = {"†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$"}

_HEAD = "% needs \\usepackage{booktabs}\n"


def latex(layout: Layout) -> str:
    """A ``table`` a sheet; the caption of the first says what holds of all."""
    emphasis = "best of a column bold, second underlined"
    first, *others = layout.sheets
    words = " ".join(sentences(layout, emphasis=emphasis))
    tables = [_table(first, escaped(words))]
    for sheet in others:
        tables.append(_table(sheet, f"{escaped(sheet.title)}; as table~\\ref{{{_label(first)}}}."))
    return _HEAD + "\n".join(tables)


def escaped(text: str) -> str:
    """Any text of one line, so that it is set as it is."""
    apart = _JOINED.sub("\\g<0>\0", unicodedata.normalize("NFC", text))
    return "".join(map(_character, apart))


def _character(character: str) -> str:
    if character in _COMMANDS:
        return _COMMANDS[character]
    if character.isascii():
        return character
    apart = unicodedata.normalize("NFD", character)
    letter, accent = apart[0], apart[1:]
    if letter.isascii() and letter.isalpha() and accent in _ACCENTS:
        base = f"\\{letter}" if letter in "ij" else letter
        return f"\\{_ACCENTS[accent]}{{{base}}}"
    return f"U+{ord(character):04X}"


def _label(sheet: Sheet) -> str:
    return f"tab:runs-{sheet.key}"


def _table(sheet: Sheet, caption: str) -> str:
    kinds = "".join("r" if column.number else "l" for column in sheet.columns)
    heads = " & ".join(escaped(column.title) for column in sheet.columns)
    lines = [
        r"\begin{table}",
        r"\centering\footnotesize",
        r"\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{caption}}}",
        rf"\label{{{_label(sheet)}}}",
        rf"\begin{{tabular}}{{@{{}}{kinds}@{{}}}}",
        r"\toprule",
        rf"{heads} \\",
        *(line for block in sheet.blocks for line in _block(block, columns=len(sheet.columns))),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _block(block: Block, *, columns: int) -> list[str]:
    title = rf"\multicolumn{{{columns}}}{{@{{}}l}}{{\emph{{{escaped(block.title)}}}}} \\"
    return [
        r"\midrule",
        title,
        *(" & ".join(map(_cell, row)) + r" \\" for row in block.rows),
    ]


def _cell(found: Box) -> str:
    first = escaped(found.text)
    if found.place == "best":
        first = rf"\textbf{{{first}}}"
    elif found.place == "second":
        first = rf"\underline{{{first}}}"
    spread = rf"{{\scriptsize$\pm${found.spread}}}" if found.spread else ""
    first = f"{first}{spread}{_MARKS.get(found.mark, '')}"
    below = [escaped("[{}, {}]".format(*found.ends))] if found.ends else []
    below += [escaped(found.note)] if found.note else []
    if not below:
        return first
    return (
        r"\begin{tabular}[t]{@{}r@{}}"
        + r"\\".join([first, *(rf"\scriptsize {line}" for line in below)])
        + r"\end{tabular}"
    )
