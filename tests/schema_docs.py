"""Writes the tables of fields in ``docs/schema_v1.md``: ``python -m tests.schema_docs``."""

from __future__ import annotations

from pathlib import Path

from featurestore.schema import FIELDS, TABLES, Field

PAGE = Path(__file__).parent.parent / "docs" / "schema_v1.md"

BEGIN, END = "<!-- fields: begin -->", "<!-- fields: end -->"

#: Letter of the rows of each table, as the page's axes name them.
_ROWS = {"entities": "N", "mentions": "M"}


def field_tables() -> str:
    """What must stand between the page's markers."""
    parts = []
    for table in TABLES:
        rows = [_line(field) for field in FIELDS if field.table == table]
        head = [
            "| field | layout | shape | dtype | unit | meaning | there with |",
            "|---" * 7 + "|",
        ]
        parts.append("\n".join([f"### /{table}", "", *head, *rows]))
    return "\n\n".join(parts)


def _line(field: Field) -> str:
    shape = " × ".join((_ROWS[field.table], *field.axes))
    ragged = f"; ragged: `{field.ragged}` rows are real" if field.ragged else ""
    cells = (f"`{field.name}`", field.layout, shape, field.dtype, field.unit, field.doc + ragged,
             field.made_by or "always")  # fmt: skip
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def between_markers(page: str) -> str:
    """The generated part of the page."""
    return page.split(BEGIN)[1].split(END)[0].strip()


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{field_tables()}\n{END}{after}", encoding="utf-8")
