"""What a search found, as plain values and as a table."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from linker.markdown import plain
from linker.tune_study import EPOCHS, REASON, RUN, SECONDS, Work, is_interrupted

State: TypeAlias = Literal["complete", "pruned", "failed", "interrupted"]

#: Complete trials that importances need (chosen here: the best tenth is what they tell apart).
_ENOUGH = 10

#: Trials and reasons that the table shows (chosen here: they fit a screen).
_SHOWN, _REASONS = 10, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialLine:
    """``value``: the figure of the epoch whose weights are kept, or of the last epoch of a pruned
    trial; None of others. ``values``: of the searched keys. ``reason``: why it was not complete.
    ``run``: name of its folder; empty for an interrupted trial, whose run goes on under another number.
    """

    number: int
    state: State
    value: float | None
    values: dict[str, Any]
    epochs: int
    seconds: float
    reason: str
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A search. ``trials``: by their numbers. ``importances``: key → share of what the values of the
    keys explain (PED-ANOVA), the largest first; empty where too few trials are complete. ``next``: the
    command that trains the best configuration and scores it on the test split; empty without one."""

    metric: str
    runs: str
    store: str
    trials: tuple[TrialLine, ...]
    best: TrialLine | None
    importances: dict[str, float]
    next: str


def read_tuned(study: Study, work: Work) -> Tuned:
    """What a study holds of trials that ended."""
    trials = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    lines = tuple(_line(trial, work) for trial in trials)
    complete = [line for line in lines if line.state == "complete"]
    best = max(complete, key=lambda line: line.value or 0.0, default=None)
    return Tuned(
        metric=work.metric,
        runs=str(work.runs),
        store=str(work.store),
        trials=lines,
        best=best,
        importances=_importances(study) if len(complete) >= _ENOUGH else {},
        next=_next(work) if best else "",
    )


def _next(work: Work) -> str:
    runs, store = shlex.quote(str(work.runs)), shlex.quote(str(work.store))
    return f"drin-fs train {store} --config {runs}/best.yaml --seeds 0,1,2 -o {runs}/best"


def _line(trial: FrozenTrial, work: Work) -> TrialLine:
    states: dict[TrialState, State] = {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
    }
    parameters = {each.key: each for each in work.space.parameters}
    said = trial.user_attrs
    return TrialLine(
        number=trial.number,
        state="interrupted" if is_interrupted(trial) else states.get(trial.state, "failed"),
        value=trial.value,
        values={key: parameters[key].value(given) for key, given in trial.params.items()},
        epochs=int(said.get(EPOCHS, 0)),
        seconds=float(said.get(SECONDS, 0.0)),
        reason=str(said.get(REASON, "")),
        run="" if is_interrupted(trial) else str(said.get(RUN, "")),
    )


def _importances(study: Study) -> dict[str, float]:
    try:
        found = optuna.importance.get_param_importances(study)
    except (ValueError, RuntimeError):  # all figures are the same, say
        return {}
    return {key: float(share) for key, share in found.items()}


def trial_line(tuned: Tuned, number: int) -> str:
    """A line on a trial that ended."""
    trial = next(each for each in tuned.trials if each.number == number)
    values = told(trial.values)
    if trial.value is None:
        return f"trial {number}: {trial.state} ({plain(trial.reason)})  {values}"
    if trial.state == "pruned":
        return f"trial {number}: pruned {plain(trial.reason)}  {values}"
    best = "  best" if trial is tuned.best else ""
    return (
        f"trial {number}: {tuned.metric} {trial.value:.4f} in {trial.epochs} epochs, "
        f"{trial.seconds:,.1f} s  {values}{best}"
    )


def told(values: dict[str, Any]) -> str:
    """``lr=0.00313 model.layers=2``"""
    return " ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={plain(value)}"
        for key, value in values.items()
    )


def tuned_view(tuned: Tuned) -> Group:
    """The best trials as a table, and how the others ended."""
    return Group(_table(tuned), Text("\n".join(_notes(tuned))))


def _table(tuned: Tuned) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    heading = "MRR" if tuned.metric == "mrr" else tuned.metric
    grid.add_column("trial", justify="right", no_wrap=True)
    for column in (heading, "epochs", "seconds"):
        grid.add_column(column, justify="right", no_wrap=True)
    grid.add_column("options", overflow="fold")
    complete = [trial for trial in tuned.trials if trial.state == "complete"]
    for trial in sorted(complete, key=lambda each: -(each.value or 0.0))[:_SHOWN]:
        cells = (f"{100 * (trial.value or 0.0):.2f}", f"{trial.epochs}", f"{trial.seconds:,.1f}")
        grid.add_row(str(trial.number), *cells, Text(told(trial.values)))
    return grid


def _notes(tuned: Tuned) -> list[str]:
    counts = Counter(trial.state for trial in tuned.trials)
    counted = ", ".join(f"{number} {state}" for state, number in counts.items()) or "none ended"
    shown = min(counts["complete"], _SHOWN)
    lines = [
        f"{shown} best of {len(tuned.trials)} trials ({counted}); figures in %, of the validation "
        "split"
    ]
    if tuned.importances:
        shares = ", ".join(f"{key} {100 * share:.0f} %" for key, share in tuned.importances.items())
        lines.append(f"what counts most, roughly, of {counts['complete']} trials: {shares}")
    failed = [trial for trial in tuned.trials if trial.state == "failed"]
    lines += [f"trial {trial.number} failed: {plain(trial.reason)}" for trial in failed[:_REASONS]]
    if len(failed) > _REASONS:
        lines.append(f"and {len(failed) - _REASONS} more failed (--json tells all)")
    return lines
