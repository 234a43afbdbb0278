"""The fields: how large they are, how long their vectors, and what is wrong in those read whole."""

from __future__ import annotations

from cli.console import count, figure, size
from cli.report_html.charts import spark
from cli.report_html.report import Report, Section, note
from cli.web.html import Html, Part, h, join
from cli.web.parts import grid
from featurestore.field_report import FeaturePart, describe_field
from featurestore.summary import FieldSummary, TableSummary

#: Decoded bytes of a view up to which all its rows are read (chosen here: a second of work; the views
#: of WikiMEL are half as large).
WHOLE_BYTES = 64 << 20


def fields(report: Report) -> Section:
    tables = report.summary.tables
    body = join(
        _norms(report),
        _whole(report),
        [join(h("h3", f"Fields of {table.name}"), _stored(table)) for table in tables],
    )
    return Section(key="fields", title="Fields", body=body)


# norms ------------------------------------------------------------------------------------------


def _norms(report: Report) -> Html:
    rows = [
        _norm_cells(table.name, field)
        for table in report.summary.tables
        for field in table.fields
        if field.norms is not None
    ]
    if not rows:
        return join(h("h3", "Features"), note("The store has no features."))
    head = ("field", "lengths", "shortest", "longest", "zero vectors", "vectors", "rows read")
    words = f"Rows are drawn with seed {report.seed}; lengths are L2 norms along the last axis."
    table = grid("How long the vectors of a sample of rows are", head, rows, 5)
    return join(h("h3", "Features"), table, note(words))


def _norm_cells(table: str, field: FieldSummary) -> list[Part]:
    sample = field.norms
    assert sample is not None
    edges = sample.histogram.edges if sample.histogram else ()
    ends = [figure(edges[0]), figure(edges[-1])] if edges else ["–", "–"]
    words = f"lengths of {table}/{field.name} from {ends[0]} to {ends[1]}"
    return [
        h("code", f"{table}/{field.name}"),
        spark(sample.histogram, words) if sample.histogram else "none finite",
        *ends,
        count(sample.zeros),
        count(sample.vectors),
        f"{count(sample.rows)} of {count(sample.of)}",
    ]


# views read whole -------------------------------------------------------------------------------


def _whole(report: Report) -> Html | None:
    views = [
        (table.name, field)
        for table in report.summary.tables
        for field in table.fields
        if field.layout == "view" and table.rows
    ]
    read = [(name, field) for name, field in views if field.logical_bytes <= WHOLE_BYTES]
    rows: list[list[Part]] = []
    with report.progress.stage("features", len(read), "fields") as stage:
        for name, field in read:
            part = describe_field(report.store, f"{name}/{field.name}").parts[0]
            assert isinstance(part, FeaturePart)
            rows.append([h("code", f"{name}/{field.name}"), *_whole_cells(part)])
            stage.advance(1)
    left = [f"{name}/{field.name}" for name, field in views if field.logical_bytes > WHOLE_BYTES]
    words = f"Not read whole, as larger than {size(WHOLE_BYTES)}: {', '.join(left)}."
    head = ("field", "rows", "mean", "std", "zero rows", "not finite", "equal rows", "rank", "of")
    caption = "Views, every row: values, rows that say nothing, and effective rank of a sample"
    return join(
        grid(caption, head, rows, len(head) - 1) if rows else None, note(words) if left else None
    )


def _whole_cells(part: FeaturePart) -> list[Part]:
    read = count(part.rows_read)
    return [
        read if part.rows_read == part.rows else f"{read} of {count(part.rows)}",
        figure(part.mean),
        figure(part.std),
        count(part.zero_rows),
        count(part.nan_rows + part.infinite_rows),
        count(part.duplicate_rows),
        "–" if part.rank is None or part.rank.effective is None else f"{part.rank.effective:.1f}",
        "–" if part.rank is None else count(part.rank.bound),
    ]


# how they are stored ----------------------------------------------------------------------------


def _stored(table: TableSummary) -> Html:
    head = ("field", "what it is", "layout", "shape of a row", "dtype", "size", "ratio")
    rows: list[list[Part]] = [
        [
            h("code", field.name),
            field.doc,
            f"{field.layout} · {field.compression}" if field.chunks else field.layout,
            "×".join(map(count, field.shape[1:])) or "–",
            field.dtype,
            size(field.stored_bytes),
            f"{field.ratio:.2f}×" if field.ratio else "–",
        ]
        for field in table.fields
    ]
    caption = (
        f"{count(len(rows))} fields, {size(table.stored_bytes)}; ratio: decoded to stored bytes"
    )
    absent = [f"{', '.join(names)} (from {option})" for option, names in table.absent.items()]
    return join(
        grid(caption, head, rows, 4), note(f"Not stored: {'; '.join(absent)}.") if absent else None
    )
