"""What is read of a run's JSON files, and of which kind each value is; more may stand there."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: A whole number that a column of figures can show.
Count = Annotated[int, Field(ge=0, lt=2**63)]

#: A value of an option.
Plain: TypeAlias = str | int | float | bool | None

#: A figure; None where there is none.
Figure = Annotated[float, Field(ge=-(10**12), le=10**12, allow_inf_nan=False)] | None

#: Name of a figure: ``hits@k``, ``recall@k`` and some others.
FigureName = Annotated[str, Field(pattern=r"^((hits|recall)@[0-9]{1,6}|[a-z_]+)$")]


class _Read(BaseModel):
    model_config = ConfigDict(strict=True)


class StoreLine(_Read):
    """Which store, in ``summary.json``; earlier versions did not record the sentences."""

    dataset: str
    sentences: dict[str, str] = {}


class StoreIdentity(StoreLine):
    """Which store, in ``environment.json``."""

    path: Annotated[str, Field(pattern=r"\S")]
    fingerprint: str
    entities: Count
    mentions: Count
    splits: dict[str, Count]
    fields: dict[str, str]


class Environment(_Read):
    """``environment.json``."""

    store: StoreIdentity


class FirstStageLine(_Read):
    """The first stage of protocol ``two-stage``; lists are those of an index."""

    method: str
    vectors: str
    fields: str | None
    retrieve: Count
    lists: Count = 0
    probe: Count = 0


class Summary(_Read):
    """``summary.json``."""

    model: str
    seed: Count | None
    protocol: str
    tie_rule: str
    denominator: str
    store: StoreLine
    text: str = "stored"
    candidates: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    stopped: str | None = None
    entities: Count = 0
    first_stage: FirstStageLine | None = None
    edges: list[str] = []
    options: dict[str, Plain | list[Plain]] = {}
    changed: dict[str, Plain | list[Plain]] = {}
    valid: dict[FigureName, Figure] = {}
    test: dict[FigureName, Figure] = {}

    @field_validator("valid", "test")
    @classmethod
    def _says_of_how_many(cls, figures: dict[str, float | None]) -> dict[str, float | None]:
        absent = [name for name in ("mentions", "retrieved") if figures.get(name) is None]
        if absent:
            raise ValueError(f"{' and '.join(absent)} missing")
        return figures


def levels(value: object) -> int:
    """How many lists and objects of a JSON value stand in each other."""
    levels, inside = 0, [value]
    while inside := [
        part
        for each in inside
        if isinstance(each, dict | list)
        for part in (each.values() if isinstance(each, dict) else each)
    ]:
        levels += 1
    return levels
