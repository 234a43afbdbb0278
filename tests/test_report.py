"""The table of one run: what it names, what it leaves out, and that 80 columns hold it."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from linker.report import run_table


def summary(model: str, *, mean_rank: float | None = None, **values: Any) -> dict[str, Any]:
    figures = {
        **{f"hits@{k}": 0.5 for k in (1, 5, 10, 20)},
        **{"mrr": 0.6, "mean_rank": mean_rank, "mentions": 1570, "retrieved": 1400},
    }
    return {
        **{"model": model, "protocol": "strict", "tie_rule": "expected", "denominator": "all"},
        **{"seed": 0, "valid": figures, "test": figures, "store": {"dataset": "made up"}},
        **values,
    }


def lines(shown: Any) -> list[str]:
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return capture.get().splitlines()


def headers(shown: Any) -> list[str]:
    return [column.header for column in shown.columns]


def test_the_mean_rank_has_a_column_where_some_split_has_one() -> None:
    assert "MR" not in headers(run_table(summary("text")))
    assert headers(run_table(summary("text", mean_rank=3.25)))[-2:] == ["MR", "n"]
    assert any("3.2" in line for line in lines(run_table(summary("text", mean_rank=3.25))))


def test_80_columns_hold_a_run_under_full_kb() -> None:
    full = summary("text", mean_rank=15.63, protocol="full-kb", entities=18_880)
    for split in ("valid", "test"):
        full[split] = {**full[split], "hits@3": 0.4}
    shown = lines(run_table(full))
    assert "…" not in "".join(shown)
    assert "protocol full-kb (18,880 entities)" in " ".join(" ".join(shown).split())


def test_n_is_what_the_figures_are_means_over() -> None:
    shown = run_table(summary("text", denominator="retrieved"))
    assert [list(column.cells) for column in shown.columns][-1] == ["1,400", "1,400"]
    assert list(list(run_table(summary("text")).columns)[-1].cells) == ["1,570", "1,570"]


def test_an_ablation_is_not_shown_as_the_whole_model() -> None:
    static = summary("drin", edges=["tt", "ii"], changed={"edge_update": "static"})
    assert str(run_table(static).caption).startswith("drin (tt ii edge_update=static); ")
    assert str(run_table(summary("drin", edges=[])).caption).startswith("drin (no edges); ")
    ghmfc = summary("ghmfc", changed={"heads": 4})
    assert str(run_table(ghmfc).caption).startswith("ghmfc (heads=4); ")
