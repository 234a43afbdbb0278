"""A table of runs as text: what it looks like, and that no name can break its format."""

from __future__ import annotations

import csv
import html
import io
import re
import shutil
import subprocess
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from rich.text import Text

from linker.report_formats import write_table
from linker.report_formats.latex import escaped as latex_escaped
from linker.report_formats.markdown import escaped as markdown_escaped
from linker.report_formats.terminal import terminal
from linker.report_rows import RunsTable, read_table
from linker.report_sheet import layout
from linker.report_statistics import with_statistics
from tests.report_for_tests import read_report
from tests.reported_for_tests import STORE, grid, ranks, recorded, reported_run
from tests.snapshots import check_snapshot
from tests.terminal import shown

PDFLATEX = shutil.which("pdflatex")

#: Every character that some format takes for its own, and some that a terminal would obey.
HOSTILE = "a|b_c*d`e\\f<b>g</b>&amp;~$x$^{y}%#[k](l)\x1b[31m\x07 \u202e中é,,--\"'' @org"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> RunsTable:
    folder = tmp_path_factory.mktemp("formats")
    grid(folder, {"text": 0.6, "drin": 0.66, "melhi": 0.61, "clip": 0.3})
    return with_statistics(read_table(recorded(folder)), baseline="text", resamples=1_000)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> RunsTable:
    """Two stores and two protocols, one seed."""
    folder = tmp_path_factory.mktemp("mixed")
    found = {"test": ranks([1, 1, 2, 7])}
    single = {**STORE, "fingerprint": "0123456789abcdef"}
    reported_run(folder / "half", found)
    reported_run(folder / "single", found, store=single)
    reported_run(folder / "paper", found, protocol="paper")
    return read_table(recorded(folder), mixed=True)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> RunsTable:
    folder = tmp_path_factory.mktemp("hostile")
    for place, share in enumerate((1, 2)):
        found = {"test": ranks([share, 2])}
        config = f"model: {place}\n"
        reported_run(folder / str(place), found, config=config, model=f"{HOSTILE}{place}")
    table = read_table(recorded(folder))
    rows = tuple(replace(row, name=f"*[{HOSTILE}{at}") for at, row in enumerate(table.rows))
    return with_statistics(replace(table, rows=rows), baseline=rows[0].name, resamples=100)


# what they look like -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal(table: RunsTable, width: int) -> None:
    seen = shown(terminal(layout(table, intervals=True)), width=width)
    check_snapshot(f"report_{width}", seen)
    assert max(map(len, seen.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_a_mixed_table_on_a_terminal(mixed: RunsTable, width: int) -> None:
    check_snapshot(f"report_mixed_{width}", shown(terminal(layout(mixed)), width=width))


@pytest.mark.parametrize("form", ["md", "latex", "csv", "html"])
def test_in_a_file(table: RunsTable, form: str) -> None:
    text = write_table(table, form, intervals=True)  # type: ignore[arg-type]
    rounded = re.sub(r"\d\.\d{7,}(e-\d+)?", lambda found: f"{float(found[0]):.6g}", text)
    check_snapshot(f"report_{form}", rounded)  # the last digits are the processor's


@pytest.mark.parametrize("width", [60, 80, 120, 300])
def test_no_figure_is_cut_whatever_the_names(table: RunsTable, width: int) -> None:
    rows = tuple(
        replace(
            row,
            name=f"{row.name}-with-a-long-name",
            model=f"{row.model} {place} of many words",
            conditions=replace(row.conditions, protocol=f"protocol{place}"),
        )
        for place, row in enumerate(table.rows)
    )
    long = replace(table, rows=rows, differing=("protocol",), tested=None)
    seen = shown(terminal(layout(long)), width=width)
    assert max(map(len, seen.splitlines())) <= width
    assert "…" not in seen
    for head in ("hits@1", "hits@5", "hits@10", "hits@20", "MRR"):
        assert seen.count(f"{head} ") + seen.count(f"{head}\n") >= 2
    assert len(re.findall(r"(?<!±)\b\d\d\.\d", seen)) == 2 * 4 * 5
    assert len(re.findall(r"±\d\.\d", seen)) == 2 * 3 * 5
    assert (width < 120) == bool(re.search(r" ±\d", seen)), (
        "below the figure where there is no room"
    )


def test_the_best_is_bold_and_the_second_underlined(table: RunsTable) -> None:
    assert "**63.7** ± 3.8" in write_table(table, "md")
    assert "<u>58.4</u> ± 2.8" in write_table(table, "md")
    assert r"\textbf{63.7}{\scriptsize$\pm$3.8}$^{" in write_table(table, "latex")
    assert r"\underline{58.4}{\scriptsize$\pm$2.8}" in write_table(table, "latex")
    assert "<strong>63.7</strong> ± 3.8<sup>" in write_table(table, "html")
    assert "<u>58.4</u> ± 2.8" in write_table(table, "html")
    (run, *_) = [line for line in terminal_lines(table) if "63.7±3.8" in line.plain]
    bold = [run.plain[span.start : span.end] for span in run.spans if "bold" in str(span.style)]
    assert "63.7" in bold


def terminal_lines(table: RunsTable) -> list[Text]:
    """The rows of the terminal's view with their styles."""
    file = io.StringIO()
    console = Console(file=file, width=120, force_terminal=True, color_system="standard")
    console.print(terminal(layout(table)))
    return [Text.from_ansi(line) for line in file.getvalue().splitlines()]


def test_what_cannot_be_bold_is_not_said_to_be(table: RunsTable) -> None:
    assert "bold" in shown(terminal(layout(table)), width=120)
    assert "bold" not in shown(terminal(layout(table), styled=False), width=120)


# Markdown ------------------------------------------------------------------------------------------


def markdown_cells(text: str) -> list[list[str]]:
    """The rows of all tables, as a reader sees them."""
    seen = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    seen = re.sub(r"</?(strong|u|p|ul|li|em)>", "", seen)
    rows = re.findall(r"<tr>(.*?)</tr>", seen, re.DOTALL)
    return [
        [cell.replace("<br>", "\n") for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in rows
    ]


def test_markdown_is_tables(table: RunsTable) -> None:
    rows = markdown_cells(write_table(table, "md"))
    assert rows[0] == ["run", "model", "n", "hits@1", "hits@5", "hits@10", "hits@20", "MRR"]
    assert [row[0] for row in rows[:5]] == ["run", "clip", "drin", "melhi", "text"]
    assert len(rows) == 2 * 5 + 2 * 4


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1))
@settings(max_examples=150, deadline=None)
def test_markdown_shows_any_text_as_it_is(text: str) -> None:
    read = markdown_cells(f"| a | b |\n| --- | --- |\n| {markdown_escaped(text)} | c |\n")
    assert [html.unescape(cell) for cell in read[1]] == [text, "c"]


def test_a_hostile_name_stays_in_its_cell_of_markdown(hostile: RunsTable) -> None:
    text = write_table(hostile, "md")
    assert {len(row) for row in markdown_cells(text)} == {8, 6}
    assert "<b>" not in MarkdownIt("commonmark").render(text)
    assert "\x1b" not in text


# LaTeX ---------------------------------------------------------------------------------------------


def compiled(folder: Path, text: str) -> str:
    """What pdfLaTeX says of a document with a text; halts at the first error."""
    document = (
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
        f"{text}\n\\end{{document}}\n"
    )
    assert document.isascii()
    (folder / "t.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stdout[-2_000:]
    assert (folder / "t.pdf").stat().st_size > 1_000
    return done.stdout


@pytest.mark.skipif(PDFLATEX is None, reason="no pdflatex")
def test_latex_compiles_and_fits(table: RunsTable, tmp_path: Path) -> None:
    said = compiled(tmp_path, write_table(table, "latex", intervals=True))
    assert "Overfull" not in said


@pytest.mark.skipif(PDFLATEX is None, reason="no pdflatex")
def test_latex_of_hostile_names_compiles(hostile: RunsTable, tmp_path: Path) -> None:
    compiled(tmp_path, write_table(hostile, "latex", intervals=True))


@pytest.mark.skipif(PDFLATEX is None, reason="no pdflatex")
def test_latex_sets_every_character_that_it_has(tmp_path: Path) -> None:
    texts = [chr(code) for code in range(0x20, 0x250) if chr(code).isprintable()]
    compiled(tmp_path, "\n\n".join(latex_escaped(f"x{text}{text}x") for text in texts))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("50 % & $1_2 #{}", r"50 \% \& \$1\_2 \#\{\}"),
        ("a\\b~c^d", r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d"),
        ("<x> [y] *|`", r"\textless{}x\textgreater{} {[}y{]} {*}\textbar{}\`{}"),
        ("a--b,,c''d\"e", "a-{}-b,{},c'{}'d''e"),
        ("1–2 ± 3 − 4", r"1--2 $\pm$ 3 $-$ 4"),
        (
            "é ü ç ñ å ž ő ï ĵ ß Ł",
            r"\'{e} \"{u} \c{c} \~{n} \r{a} \v{z} \H{o} \"{\i} \^{\j} \ss{} \L{}",
        ),
        ("中 😀", "U+4E2D U+1F600"),
    ],
)
def test_latex_writes_texts_in_ascii(text: str, written: str) -> None:
    assert latex_escaped(text) == written
    assert latex_escaped(unicodedata.normalize("NFD", text)) == written


def test_a_row_of_latex_cannot_belong_to_the_one_before(hostile: RunsTable) -> None:
    lines = write_table(hostile, "latex").splitlines()
    assert not [line for line in lines if line.startswith(("[", "*"))]
    assert [line for line in lines if line.startswith("{*}{[}a")]


# CSV -----------------------------------------------------------------------------------------------


def test_csv_has_every_figure_in_full(table: RunsTable) -> None:
    text = write_table(table, "csv")
    assert all(line.endswith("\r\n") for line in text.splitlines(keepends=True))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == 2 * 4 * 5
    found = {(row["run"], row["split"], row["figure"]): row for row in rows}
    for row in table.rows:
        for split, cells in row.cells.items():
            for name, cell in cells.items():
                line = found[row.name, split, name]
                assert float(line["mean"]) == cell.mean
                assert (line["std"] and float(line["std"])) == (cell.std or "")
                assert int(line["n"]) == cell.n
                assert cell.interval is not None
                assert (float(line["ci_low"]), float(line["ci_high"])) == (
                    cell.interval.low,
                    cell.interval.high,
                )
                if cell.comparison is None:
                    assert (row.name, line["p"], line["baseline"]) == ("text", "", "")
                else:
                    assert float(line["p"]) == cell.comparison.corrected
                    assert float(line["p_uncorrected"]) == cell.comparison.p
                    assert float(line["difference"]) == cell.comparison.difference
                    assert line["baseline"] == "text"


def test_csv_of_hostile_names_can_be_read(hostile: RunsTable) -> None:
    rows = list(csv.DictReader(io.StringIO(write_table(hostile, "csv"), newline="")))
    assert {len(row) for row in rows} == {23}
    assert rows[0]["run"].startswith("*[a|b_c*d`e\\f<b>g</b>&amp;~$x$^{y}%#[k](l)\\x1b[31m\\x07")


# HTML ----------------------------------------------------------------------------------------------


def test_html_is_one_page_with_captions(table: RunsTable) -> None:
    text = write_table(table, "html", intervals=True)
    page = read_report(text.removeprefix("<!doctype html>"))
    tables = page.all("table")
    assert len(tables) == 3
    assert all(len(each.all("caption")) == 1 for each in tables)
    assert "corrected by Holm" in tables[0].all("caption")[0].words
    assert [th.words for th in tables[0].all("thead")[0].all("th")][-1] == "MRR"
    assert not page.all("script")
    assert not [node for node in page.every() if {"href", "src"} & node.attributes.keys()]
    assert "url(" not in text


def test_html_shows_hostile_names_as_they_are(hostile: RunsTable) -> None:
    text = write_table(hostile, "html")
    page = read_report(text.removeprefix("<!doctype html>"))
    assert not page.all("b")
    assert "f<b>g</b>&amp;~" in page.all("table")[0].words


# terminal ------------------------------------------------------------------------------------------


def test_a_terminal_shows_hostile_names_as_they_are(hostile: RunsTable) -> None:
    seen = shown(terminal(layout(hostile)), width=300)
    assert "\\x1b[31m\\x07" in seen
    assert not {"\x1b", "\x07", "\u202e"} & set(re.sub(r"\x1b\[[0-9;]*m", "", seen))
