"""The plan is arithmetic on a file of costs: every figure is followed by hand here, from made-up ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks import index
from benchmarks.cost_keys import OPTIONAL, Cost
from benchmarks.plan import COSTS, Plan, Sheet, cost_sheet, main, markdown
from benchmarks.plan_costs import Costs
from benchmarks.plan_limits import Limit, Means, first_limits, limits_of
from benchmarks.plan_sizes import DATASETS, Dataset
from benchmarks.plan_stages import (
    Choices,
    divided_seconds,
    ingest_memory,
    scratch_bytes,
    serial_seconds,
    stages_of,
    store_bytes,
    wall_seconds,
)
from benchmarks.saved import load
from featurestore.errors import ConfigError

DOCS = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"

DATA = Dataset(
    name="made up",
    mentions=100,
    entities=1_000,
    candidates=10,
    tested=50,
    mention_pictures=100,
    entity_pictures=400,
)

#: Milliseconds that are not 1, and bytes.
MS = {
    Cost.READ_ENTITY: 2.0,
    Cost.BERT_ENTITY: 10.0,
    Cost.RESNET: 100.0,
    Cost.DETECTOR: 500.0,
    Cost.COPY: 2_000.0,
    Cost.PUBLISH: 4_000.0,
    Cost.READ_DISK: 3_000.0,
    Cost.NGRAM: 0.01,
}
BYTES = {
    Cost.READ_ENTITY: 1_000,
    Cost.READ_MENTION: 2_000,
    Cost.WRITE_ENTITY_TEXT: 50_000,
    Cost.WRITE_MENTION_TEXT: 20_000,
    Cost.WRITE_MENTION_PICTURE: 180_000,
    Cost.ENCODERS: 1_000_000_000,
    Cost.TRAINING: 1_200_000_000,
}
MEANS = Means(memory=16e9, disk=1e12, hours=24)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "costs.json")


def written(path: Path, *, without: Cost | None = None, us: object = 1e3) -> Path:
    rows: list[dict[str, Any]] = [
        {
            "name": cost,
            "ours": True,
            "µs": 1e3 * MS[cost] if cost in MS else us,
            "bytes": BYTES.get(cost),
        }
        for cost in Cost
        if cost != without
    ]
    report = {"question": "", "conditions": [], "rows": rows}
    machine = {"processor": "made up", "cores": 2, "memory_gb": 16.0}
    path.write_text(json.dumps({"machine": machine, "benchmarks": {"costs": report}}))
    return path


def seconds(costs: Costs, choices: Choices = Choices()) -> dict[str, float]:  # noqa: B008
    stages = stages_of(DATA, costs, choices)
    return {f"{stage.work}: {stage.name}": stage.seconds for stage in stages}


# stages -----------------------------------------------------------------------------------------------


def test_a_stage_takes_its_rows_times_their_cost(file: Path) -> None:
    found = seconds(Costs.read(file))
    assert found["ingest: read the source"] == pytest.approx(1_000 * 0.002 + 100 * 0.001)
    assert found["candidates: seek (ngram)"] == pytest.approx(1_000 * 100 * 1e-5)
    for name, core_seconds in {
        "ingest: encode texts": 1_000 * 0.010 + 100 * 0.001,
        "ingest: open pictures": 500 * 0.001,
        "ingest: detect objects": 500 * 0.5,
        "ingest: run ResNet": (100 * 4 + 400 * 2) * 0.1,
        "ingest: run CLIP": (1_000 + 100 + 500) * 0.001,
        "an epoch: train": 100 * 0.001,
        "full-kb, DRIN: rank": 50 * 1_000 * 0.001,
    }.items():
        assert found[name] == pytest.approx(core_seconds / 2), name  # two cores


def test_publishing_and_assembling_take_the_bytes_of_the_store(file: Path) -> None:
    costs = Costs.read(file)
    gigabytes = store_bytes(DATA, costs) / 1e9
    found = seconds(costs)
    assert found["ingest: assemble"] == pytest.approx(gigabytes * 2)
    assert found["ingest: publish"] == pytest.approx(gigabytes * 4)


def test_a_store_beyond_memory_is_read_from_disk_to_be_assembled_and_published(file: Path) -> None:
    costs = replace(Costs.read(file), memory=1_000)
    gigabytes = store_bytes(DATA, costs) / 1e9
    found = seconds(costs)
    assert found["ingest: assemble"] == pytest.approx(gigabytes * (2 + 3))
    assert found["ingest: publish"] == pytest.approx(gigabytes * (4 + 3))


def test_workers_share_what_divides_and_wait_for_the_rest(file: Path) -> None:
    stages = stages_of(DATA, Costs.read(file), Choices())
    by_name = {stage.name: stage for stage in stages}
    alone = [by_name[name].seconds for name in ("read the source", "index ids", "publish")]
    assembling = by_name["assemble"].seconds
    shared = divided_seconds(stages, "ingest")
    assert serial_seconds(stages, "ingest", 1) == pytest.approx(sum(alone))
    assert wall_seconds(stages, "ingest", 1) == pytest.approx(sum(alone) + shared)
    assert wall_seconds(stages, "ingest", 8) == pytest.approx(sum(alone) + assembling + shared / 8)
    assert wall_seconds(stages, "an epoch", 8) == pytest.approx(by_name["train"].seconds / 8)


def test_an_accelerator_speeds_up_what_runs_on_it_and_reading_is_the_floor(file: Path) -> None:
    costs = Costs.read(file)
    plain, fast = seconds(costs), seconds(costs, Choices(encode=10, train=10))
    for name in ("ingest: encode texts", "ingest: detect objects", "ingest: run CLIP"):
        assert fast[name] == pytest.approx(plain[name] / 10)
    for name in ("ingest: open pictures", "ingest: publish", "candidates: seek (ngram)"):
        assert fast[name] == plain[name]
    assert fast["full-kb, text: rank"] == pytest.approx(plain["full-kb, text: rank"] / 10)
    assert fast["an epoch: train"] == plain["an epoch: train"]  # reading a mention takes 1 ms, too


# bytes ------------------------------------------------------------------------------------------------


def test_records_are_what_was_measured_and_where_they_stand(file: Path) -> None:
    costs = Costs.read(file)
    records = 1_000 * (50_000 + 24) + 100 * (20_000 + 180_000 + 48)
    assert store_bytes(DATA, costs) == DATA.view_bytes + records
    pooled = replace(DATA, pooled=True)
    assert store_bytes(pooled, costs) == pooled.view_bytes + 100 * 200_048
    assert DATA.view_bytes - pooled.view_bytes == 1_000 * 2 * 768 * 2


def test_several_workers_leave_their_shards_beside_the_store(file: Path) -> None:
    costs = Costs.read(file)
    exact = 1_100 * 2 * 512 * 4
    assert scratch_bytes(DATA, costs, 1) == exact
    assert scratch_bytes(DATA, costs, 2) == exact + store_bytes(DATA, costs)


def test_memory_of_ingest_grows_with_the_rows_of_the_source(file: Path) -> None:
    assert ingest_memory(DATA, Costs.read(file)) == 1e9 + 1_000 * 1_020 + 100 * 2_020


# limits -----------------------------------------------------------------------------------------------


def named(data: Dataset, costs: Costs, *, workers: int = 1, means: Means = MEANS) -> str:
    stages = stages_of(data, costs, Choices())
    return first_limits(limits_of(data, costs, stages, workers=workers, means=means))


def test_what_stops_the_work_is_named_before_what_makes_it_slow(file: Path) -> None:
    costs = Costs.read(file)
    large = replace(DATA, entities=3_000_000_000, entity_pictures=0)
    found = named(large, costs)
    assert found.startswith("stops: disk 208 ×, memory of ingest 191 ×, int32 rows 1.40 ×; slow: ")
    assert "int32" not in named(replace(large, entities=2_000_000_000), costs)


def test_where_all_suffices_the_nearest_limit_is_named(file: Path) -> None:
    costs = Costs.read(file)
    assert named(DATA, costs).startswith("nothing (nearest: memory of ingest 0.063 ×")
    slow = named(DATA, costs, means=replace(MEANS, hours=0.01))
    assert slow.startswith("slow: ingest (detect objects) ")


def test_serial_stages_are_a_limit_once_workers_wait_for_them(file: Path) -> None:
    costs = Costs.read(file)
    assert "serial stages of ingest" not in named(DATA, costs, workers=2)
    assert "serial stages of ingest" in named(DATA, costs, workers=1_000)


def test_no_more_than_two_slow_ones_are_named() -> None:
    limits = [Limit(name=name, share=share) for name, share in (("a", 4.0), ("b", 3.0), ("c", 2.0))]
    assert first_limits(limits) == "slow: a 4.00 ×, b 3.00 ×"


# files and the command ----------------------------------------------------------------------------------


def test_costs_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "costs.json", without=Cost.RESNET)
    with pytest.raises(ConfigError, match="lacks 'ResNet-152: a picture'"):
        Costs.read(path)
    with pytest.raises(ConfigError, match="no file of costs"):
        Costs.read(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="no number"):
        Costs.read(written(tmp_path / "words.json", us="quick"))


def test_a_text_encoder_that_was_not_measured_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "costs.json", without=Cost.MINILM_ENTITY)
    done = CliRunner().invoke(main, ["--costs", str(path), "--minilm"])
    assert done.exit_code == 2
    assert "'encode text, MiniLM-L6: an entity' was not measured" in done.output


def test_the_command_plans_for_entities_of_ones_own(file: Path) -> None:
    arguments = ["--costs", str(file), "--entities", "5000", "--mentions", "200", "--json"]
    done = CliRunner().invoke(main, [*arguments, "--workers", "4,1,4"])
    found = json.loads(done.output)
    assert found["workers"] == [1, 4]
    assert found["means"]["memory"] == 16e9
    (data,) = found["datasets"].values()
    assert (data["entities"], data["mention_pictures"]) == (5_000, 200)
    assert data["workers"]["4"]["wall_seconds"]["an epoch"] == pytest.approx(200 * 0.001 / 2 / 4)


def test_the_command_prints_every_table(file: Path) -> None:
    done = CliRunner().invoke(main, ["--costs", str(file)])
    assert done.exit_code == 0, done.output
    for words in ("machine-hours", "start to end", "disk and memory", "what breaks first"):
        assert words in done.output
    assert all(data.name in done.output for data in DATASETS)


@pytest.mark.parametrize("workers", ["", "0,8", "a"])
def test_workers_must_be_numbers(file: Path, workers: str) -> None:
    done = CliRunner().invoke(main, ["--costs", str(file), "--workers", workers])
    assert done.exit_code == 2


def test_the_docs_have_the_tables_of_the_saved_costs() -> None:
    costs = Costs.read(COSTS)
    plan = Plan(
        costs=costs,
        choices=Choices(),
        means=Means(memory=costs.memory, disk=2e12, hours=168),
        workers=(1, 8, 64),
        datasets=DATASETS,
    )
    fast = replace(
        plan,
        choices=Choices(encode=100, train=100),
        means=Means(memory=128e9, disk=20e12, hours=168),
    )
    page = DOCS.read_text(encoding="utf-8")
    for sheet in (cost_sheet(COSTS), index_sheet(), *plan.sheets(), fast.sheets()[-1]):
        assert markdown(sheet) in page, f"python -m benchmarks.plan --markdown: {sheet.title}"


def index_sheet() -> Sheet:
    saved = load([COSTS.with_name("index-2-cores.json")])["index"]
    rows = [(row["name"], [row.get(column) for column in index.COLUMNS]) for row in saved.rows]
    return Sheet(title="python -m benchmarks index", columns=index.COLUMNS, rows=rows)


def test_only_what_a_package_brings_may_be_absent() -> None:
    assert {Cost.MINILM_ENTITY, Cost.MINILM_MENTION} == OPTIONAL
