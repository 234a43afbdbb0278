"""A table of runs as one HTML page: no script, nothing fetched, readable in the dark and on paper."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape

from linker.report_formats.words import sentences
from linker.report_sheet import Block, Box, Column, Layout, Sheet

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 72rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; margin: 0 0 2rem; font-variant-numeric: tabular-nums; }
caption { caption-side: top; text-align: left; padding: 0 0 .6rem; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; }
.n { text-align: right; white-space: nowrap; }
sup { line-height: 0; }
.below { display: block; opacity: .75; font-size: .87em; }
thead tr { border-top: 2px solid; border-bottom: 1px solid; }
tbody { border-bottom: 1px solid; }
tbody:last-of-type { border-bottom-width: 2px; }
tbody th[colspan] { font-weight: 400; font-style: italic; }
tbody th { font-weight: 400; }
"""


def html_page(layout: Layout) -> str:
    """A whole page: a table a sheet, the caption in the first."""
    emphasis = "best of a column bold, second underlined"
    words = " ".join(sentences(layout, emphasis=emphasis))
    first, *others = layout.sheets
    tables = [_table(first, words), *(_table(sheet, f"{sheet.title}.") for sheet in others)]
    digest = b64encode(sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Runs · drin-fs report</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(tables)
        + "\n</body>\n</html>\n"
    )


def _table(sheet: Sheet, caption: str) -> str:
    heads = "".join(
        _tagged("th", column, ' scope="col"', escape(column.title)) for column in sheet.columns
    )
    blocks = "\n".join(_block(sheet, block) for block in sheet.blocks)
    return (
        f"<div><table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"{blocks}\n</table></div>"
    )


def _block(sheet: Sheet, block: Block) -> str:
    title = (
        f'<tr><th scope="rowgroup" colspan="{len(sheet.columns)}">{escape(block.title)}</th></tr>'
    )
    rows = [
        "<tr>"
        + "".join(
            _tagged("td" if place else "th", column, "" if place else ' scope="row"', _cell(found))
            for place, (column, found) in enumerate(zip(sheet.columns, row, strict=True))
        )
        + "</tr>"
        for row in block.rows
    ]
    return "\n".join(["<tbody>", title, *rows, "</tbody>"])


def _tagged(tag: str, column: Column, attributes: str, inside: str) -> str:
    css = ' class="n"' if column.number else ""
    return f"<{tag}{css}{attributes}>{inside}</{tag}>"


def _cell(found: Box) -> str:
    first = escape(found.text)
    if found.place == "best":
        first = f"<strong>{first}</strong>"
    elif found.place == "second":
        first = f"<u>{first}</u>"
    spread = f" ± {found.spread}" if found.spread else ""
    mark = f"<sup>{found.mark}</sup>" if found.mark else ""
    below = ["[{}, {}]".format(*found.ends)] if found.ends else []
    below += [found.note] if found.note else []
    lines = "".join(f'<span class="below">{escape(line)}</span>' for line in below)
    return f"{first}{spread}{mark}{lines}"
