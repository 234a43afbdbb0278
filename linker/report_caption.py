"""What one has to know to read a table of runs, in sentences. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from linker.report_conditions import Conditions
from linker.report_names import common_folder
from linker.report_rows import Row, RunsTable, Tested
from linker.report_words import ALL_ENTITIES, listed

#: Marks of a comparison, and the corrected p that each stands for; the smallest first.
MARKS: tuple[tuple[str, float], ...] = (("‡", 0.01), ("†", 0.05))

#: Rows that a caption names one by one (chosen here: more are a list, and no sentence).
_NAMED = 6


def caption(table: RunsTable) -> tuple[str, ...]:
    """The sentences below a table, each without its full stop. How columns are set off is a format's."""
    return (
        _figures(table),
        *([words] if (words := _conditions(table)) else []),
        *_mentions(table),
        *_seeds(table),
        *_numbers_of_runs(table),
        *_configurations(table),
        *(_tests(table, table.tested) if table.tested else []),
    )


def _figures(table: RunsTable) -> str:
    folder = common_folder([path for row in table.rows for path in row.runs])
    where = f"runs in {folder}; " if table.by == "run" and folder else ""
    cells = (cell for row in table.rows for found in row.cells.values() for cell in found.values())
    over = "runs" if table.by == "model" else "seeds"
    spread = f", mean ± sample standard deviation over {over}"
    return f"{where}hits and MRR in %{spread if any(c.std is not None for c in cells) else ''}"


def _conditions(table: RunsTable) -> str:
    """Those that all rows share; the others have columns."""
    shared: Conditions = table.rows[0].conditions
    words = {
        "protocol": f"protocol {shared.protocol}",
        "first_stage": f"first stage {shared.first_stage}" if shared.first_stage else "",
        "tie_rule": f"ties {shared.tie_rule}",
        "denominator": f"mentions {shared.denominator}",
        "candidates": _candidates(shared),
        "fingerprint": f"store {shared.store} ({shared.dataset}, fingerprint {shared.fingerprint[:8]})",
    }
    return ", ".join(text for key, text in words.items() if text and key not in table.differing)


def _candidates(shared: Conditions) -> str:
    if shared.candidates is None:
        return ""
    if shared.protocol in ALL_ENTITIES:
        return f"all {shared.candidates:,} entities"
    return f"{shared.candidates:,} candidates"


def _mentions(table: RunsTable) -> Iterator[str]:
    """How many mentions the figures are means over."""
    said = [f"{split}: {_counts(table.on(split), split)}" for split in table.splits]
    if said:
        yield "; ".join(said)


def _counts(rows: Sequence[Row], split: str) -> str:
    """``4,975 mentions``; of denominator retrieved ``4,925 of 4,975 mentions``."""
    found = dict.fromkeys(_counted(row, split) for row in rows)
    return " or ".join(found)


def _counted(row: Row, split: str) -> str:
    mentions = f"{row.mentions[split]:,} mentions"
    if row.conditions.denominator == "retrieved":
        return f"{row.retrieved[split]:,} of {mentions}"
    return mentions


def _seeds(table: RunsTable) -> Iterator[str]:
    """Which seeds, and what is not as it should be with them."""
    learnt = {row.name: [s for s in row.seeds if s is not None] for row in table.rows}
    learnt = {name: seeds for name, seeds in learnt.items() if seeds}
    if table.by == "run" or not learnt:
        return
    sets = {name: tuple(sorted(set(seeds))) for name, seeds in learnt.items()}
    if len(set(sets.values())) == 1:
        (seeds,) = set(sets.values())
        yield f"{_seed_words(seeds)}{' in every row that learns' if len(sets) < len(table.rows) else ''}"
    elif len(sets) <= _NAMED:
        each = "; ".join(f"{name} {_numbers(seeds)}" for name, seeds in sets.items())
        yield f"the seeds are not the same in all rows ({each})"
    else:
        sizes = sorted({len(seeds) for seeds in sets.values()})
        yield f"the seeds are not the same in all rows ({listed(map(str, sizes))} of them)"
    if table.by == "cell":
        twice = [name for name, seeds in learnt.items() if len(set(seeds)) < len(seeds)]
        if twice:
            yield f"one seed is there more than once, so that ± is too small: {_rows(twice)}"


def _numbers_of_runs(table: RunsTable) -> Iterator[str]:
    if len({len(row.runs) for row in table.rows}) > 1:
        yield "column n: the runs of a row"


def _seed_words(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds ({_numbers(seeds)})"


def _numbers(seeds: Sequence[int]) -> str:
    """``0–4, 7``"""
    parts = []
    for _, found in groupby(enumerate(seeds), key=lambda each: each[1] - each[0]):
        run = [seed for _, seed in found]
        parts.append(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)))
    return ", ".join(parts)


def _configurations(table: RunsTable) -> Iterator[str]:
    several = [f"{row.name} {row.configurations}" for row in table.rows if row.configurations > 1]
    if several:
        yield f"rows of several configurations, which ± is over as well: {_rows(several)}"


def _rows(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _tests(table: RunsTable, tested: Tested) -> Iterator[str]:
    if tested.comparisons:
        yield from _test(tested)
    several = any(len(row.runs) > 1 for row in table.rows)
    yield (
        f"intervals are {100 * tested.confidence:g} % bootstrap percentiles over mentions "
        f"({tested.resamples:,} resamples, seed {tested.seed}), not corrected; "
        + ("a mention's value is its mean over the seeds, and " if several else "")
        + "neither they nor p say what other seeds would give"
    )
    if tested.no_ranks:
        yield f"no interval where no ranks were recorded: {_rows(tested.no_ranks)}"
    if tested.unpaired:
        yield f"not compared, because scored on other mentions: {_rows(tested.unpaired)}"


def _test(tested: Tested) -> Iterator[str]:
    marks = ", ".join(f"{mark} p < {limit:g}" for mark, limit in reversed(MARKS))
    exact = ""
    if tested.exact == tested.comparisons:
        exact = ", all exact, because few mentions differ"
    elif tested.exact:
        exact = f", {tested.exact} exact, because few mentions differ"
    yield (
        f"{marks}: differs from {tested.baseline}, for better or worse; two-sided approximate "
        f"randomisation paired over mentions ({tested.resamples:,} resamples, seed "
        f"{tested.seed}{exact}), corrected by Holm for {_comparisons(tested.comparisons)}"
    )
    smallest = min(1.0, tested.comparisons / (1 + tested.resamples))
    if tested.exact < tested.comparisons and smallest > MARKS[0][1]:
        yield (
            f"so many comparisons make {smallest:.2g} the smallest p that so few resamples can give; "
            "more resamples, or one split, can give smaller"
        )


def _comparisons(count: int) -> str:
    return "one comparison" if count == 1 else f"the {count:,} comparisons of the table"
