"""From a dump to a table of titles: forms, interruptions, memory, and the command."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard
from rich.console import Group

from cli.build.titles import left_out, view
from cli.main import main
from featurestore.construct import (
    bz2_blocks,
    dump_pieces,
    dump_tasks,
    entity_lines,
    gzip_members,
    line_pool,
)
from featurestore.construct.entity_lines import Broken
from featurestore.construct.made_up_dump import KnownEntity, write_made_up_dump
from featurestore.construct.titles import TitlesBuilt, build_titles
from featurestore.errors import ConfigError, SourceError, WriteError
from featurestore.lock import Lock
from featurestore.progress import Silent, Stage
from featurestore.sources.wikimel_entities import read_titles
from tests.snapshots import check_snapshot
from tests.terminal import shown

BELGIUM = KnownEntity(
    title="Belgium", description="country", aliases=("BE", "Belgique"), image="Flag of Belgium.svg",
    instance_of=("Q6256",),
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a small dump is many tasks and pieces."""
    monkeypatch.setattr(dump_tasks, "TASK", 50_000)
    monkeypatch.setattr(dump_pieces, "PIECE", 20_000)
    monkeypatch.setattr(bz2_blocks, "_PIECE", 10_000)
    monkeypatch.setattr(line_pool, "ALONE_SECONDS", 0)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dump") / "dump.json"
    made = write_made_up_dump(
        path,
        entities=120,
        seed=4,
        titles={"Q31": BELGIUM, "Q5": "Human"},
        titled=0.4,
        broken_every=9,
    )
    assert made.size > 500_000
    return path


def zstd(data: bytes) -> bytes:
    half = len(data) // 2  # two frames
    return zstandard.compress(data[:half]) + zstandard.compress(data[half:])


def two_streams(data: bytes) -> bytes:
    return bz2.compress(data[:300_001], 1) + bz2.compress(data[300_001:], 1)


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "json": bytes,
    "gz": gzip.compress,
    "bz2": lambda data: bz2.compress(data, 1),
    "streams.bz2": two_streams,
    "zst": zstd,
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, dump: Path, tmp_path: Path) -> Path:
    """The dump in one of the forms."""
    path = tmp_path / f"form.{request.param}"
    path.write_bytes(FORMS[request.param](dump.read_bytes()))
    return path


@pytest.fixture(scope="module")
def expected(dump: Path) -> dict[str, str]:
    """What the plainest way finds."""
    found: dict[str, str] = {}
    for line in dump.read_bytes().splitlines():
        try:
            entity = json.loads(line.rstrip(b","))
            title = entity["sitelinks"]["enwiki"]["title"]
            found.setdefault(entity["id"], title)
        except (ValueError, KeyError, TypeError):
            continue
    assert len(found) > 20
    return found


# forms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_form_gives_the_table_that_wikimel_reads(
    form: Path, expected: dict[str, str], tmp_path: Path, jobs: int
) -> None:
    target = tmp_path / "qid-entity.tsv"
    built = build_titles(str(form), target, jobs=jobs)
    assert read_titles(target) == expected
    assert list(read_titles(target))[:2] == ["Q31", "Q5"]
    assert (built.titles, built.entities) == (len(expected), 120)
    assert sum(built.broken.values()) == 120 // 9
    assert set(built.broken) == {"not a JSON object in one line", "no id", "not UTF-8", "not JSON"}
    assert built.read_bytes >= form.stat().st_size - 16
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_gzip_without_isal(
    dump: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzip_members, "find_spec", lambda name: None)
    path = tmp_path / "dump.gz"
    path.write_bytes(
        gzip.compress(dump.read_bytes()[:300_000]) + gzip.compress(dump.read_bytes()[300_000:])
    )
    built = build_titles(str(path), tmp_path / "t.tsv", jobs=2)
    assert built.reader == "zlib"
    assert read_titles(tmp_path / "t.tsv") == expected


def test_zstd_without_a_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump_pieces, "find_spec", lambda name: None)
    (tmp_path / "d.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(40))
    with pytest.raises(ConfigError, match="needs zstandard"):
        build_titles(str(tmp_path / "d.zst"), tmp_path / "t.tsv")


@pytest.mark.parametrize("jobs", [1, 2])
def test_other_processes_give_the_same_details(
    dump: Path, tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_pool, "ALONE_SECONDS", 0)
    target, details = tmp_path / "t.tsv", tmp_path / "d.jsonl"
    build_titles(str(dump), target, details=details, jobs=jobs)
    rows = [json.loads(line) for line in details.read_text().splitlines()]
    assert [f"{row['qid']}\t{row['title']}" for row in rows] == target.read_text().splitlines()
    assert rows[0] == {
        "qid": "Q31", "title": "Belgium", "label": "Belgium", "description": "country",
        "aliases": ["BE", "Belgique"], "image": "Flag of Belgium.svg", "instance_of": ["Q6256"],
    }  # fmt: skip


def test_an_item_that_comes_twice_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    line = '{"id":"Q%d","sitelinks":{"enwiki":{"title":"%s"}}}\n'
    path.write_text(line % (1, "One") + line % (2, "Two") + line % (1, "Uno"))
    built = build_titles(str(path), tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_text() == "Q1\tOne\nQ2\tTwo\n"
    assert built.broken == {"an item that came before": 1}
    assert built.examples[0].text == "Q1 Uno"


def test_a_line_too_long_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump_tasks, "LONGEST_LINE", 120_000)
    monkeypatch.setattr(entity_lines, "LONGEST_LINE", 120_000)
    line = '{"id":"Q%d","labels":"%s","sitelinks":{"enwiki":{"title":"T%d"}}}\n'
    text = "".join(
        line % (n, "x" * size, n) for n, size in enumerate([5, 400_000, 60_000, 7, 130_000], 1)
    )
    for name, data in (("d.json", text.encode()), ("d.gz", gzip.compress(text.encode()))):
        (tmp_path / name).write_bytes(data)
        built = build_titles(str(tmp_path / name), tmp_path / f"{name}.tsv")
        assert list(read_titles(tmp_path / f"{name}.tsv")) == ["Q1", "Q3", "Q4"]
        assert built.broken == {"longer than 64 MiB": 2}
        assert built.entities == 5


# damaged dumps --------------------------------------------------------------------------------------


def test_the_details_may_stand_on_another_disk_in_folders_that_are_made(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def on_two_disks(source: Path, target: Path) -> None:
        if ("other" in Path(source).parts) != ("other" in Path(target).parts):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target)

    titles, details = tmp_path / "a" / "b" / "t.tsv", tmp_path / "other" / "c" / "d.jsonl"
    with pytest.raises(SourceError):
        build_titles(str(tmp_path / "absent.json"), titles, details=details)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "replace", on_two_disks)
    built = build_titles(str(dump), titles, details=details)
    assert len(details.read_text().splitlines()) == built.titles
    assert [*details.parent.iterdir(), *titles.parent.iterdir()] == [details, titles]


@pytest.mark.parametrize("name", ["gz", "bz2", "zst"])
def test_a_cut_off_dump_is_an_error_and_no_table(dump: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"dump.{name}"
    data = FORMS[name](dump.read_bytes())
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(SourceError, match="the dump cannot be read further"):
        build_titles(str(path), tmp_path / "t.tsv")
    assert not (tmp_path / "t.tsv").exists()


def test_a_damaged_block_of_bzip2_is_an_error(dump: Path) -> None:
    data = bytearray(bz2.compress(dump.read_bytes(), 1))
    data[len(data) // 2] ^= 16
    with pytest.raises(bz2_blocks.Damaged):
        list(bz2_blocks.blocks(io.BytesIO(data), threads=2))


def test_the_mark_of_a_block_within_a_block_does_no_harm(
    dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = dump.read_bytes()
    data = bz2.compress(text, 1)
    true = bz2_blocks._marks

    def with_false(part: bytes) -> list[tuple[int, bool]]:
        found = true(part)
        return sorted([*found, *[(mark + 20_001, True) for mark, is_block in found if is_block]])

    monkeypatch.setattr(bz2_blocks, "_PIECE", len(data))
    monkeypatch.setattr(bz2_blocks, "_marks", with_false)
    assert b"".join(block.data for block in bz2_blocks.blocks(io.BytesIO(data), threads=2)) == text


def test_bzip2_is_read_from_any_of_its_blocks(dump: Path) -> None:
    text = dump.read_bytes()
    data = two_streams(text)
    all_blocks = list(bz2_blocks.blocks(io.BytesIO(data), threads=3))
    assert len(all_blocks) > 5
    assert b"".join(block.data for block in all_blocks) == text
    offset = 0
    for block in all_blocks:
        file = io.BytesIO(data)
        file.seek(block.first_bit // 8)
        again = bz2_blocks.blocks(file, first_bit=block.first_bit)
        assert b"".join(each.data for each in again) == text[offset:]
        offset += len(block.data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no entity in any of 0 lines"),
        (b"<xml>\n</xml>\n", "no entity in any of 2 lines; the first line is '<xml>'"),
        (b'{"id":"Q1","sitelinks":{}}\n', "none of 1 entities has a title on dewiki"),
    ],
)
def test_a_dump_without_titles_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "d.json").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        build_titles(str(tmp_path / "d.json"), tmp_path / "t.tsv", language="de")
    assert [p.name for p in tmp_path.iterdir()] == ["d.json"]


# interruptions --------------------------------------------------------------------------------------


class Stopping(Silent):
    """Ends the run after so many tasks."""

    def __init__(self, after: int, end: Callable[[], None]) -> None:
        self._left, self._end = after, end
        self.notes: list[str] = []

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        yield self

    def say(self, text: str) -> None:
        self._left -= 1
        if self._left == 0:
            self._end()

    def note(self, text: str) -> None:
        self.notes.append(text)


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_to_the_same_bytes(
    form: Path, dump: Path, tmp_path: Path
) -> None:
    jobs = 2 if form.suffix in (".json", ".zst") else 1

    def build(folder: Path, progress: Silent) -> Any:
        folder.mkdir(exist_ok=True)
        return build_titles(
            str(form), folder / "t.tsv", details=folder / "d.jsonl", checkpoint_seconds=0,
            jobs=jobs, progress=progress,
        )  # fmt: skip

    whole = build(tmp_path / "whole", Silent())
    for after in (4, 3):
        stopping = Stopping(after, interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "cut", stopping)
        assert "the same command goes on from there" in stopping.notes[-1]
        assert not (tmp_path / "cut" / "t.tsv").exists()
    last = build(tmp_path / "cut", Silent())
    assert last.resumed_at > 0
    for name in ("t.tsv", "d.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (last.titles, last.entities, last.skipped, last.broken, last.examples) == (
        whole.titles, whole.entities, whole.skipped, whole.broken, whole.examples,
    )  # fmt: skip
    assert last.json_bytes + last.resumed_at == whole.json_bytes == dump.stat().st_size


KILLED = """
import os, signal, sys
from pathlib import Path
from featurestore.construct import dump_tasks, title_work
from featurestore.construct.titles import TitlesBuilt, build_titles
dump_tasks.TASK = 50_000
where, after, dump, target = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
owner = os if where == "replace" else title_work.TitleWork
true, calls = getattr(owner, where), [0]
def dying(*args, **named):
    calls[0] += 1
    if calls[0] == after:
        os.kill(os.getpid(), signal.SIGKILL)
    return true(*args, **named)
setattr(owner, where, dying)
build_titles(dump, target, details=target.with_suffix(".jsonl"), checkpoint_seconds=0)
"""


@pytest.mark.parametrize(
    ("where", "after"),
    [("write", 1), ("write", 8), ("checkpoint", 5), ("replace", 3), ("publish", 1), ("discard", 2)],
)
def test_a_killed_run_goes_on_to_the_same_bytes(
    dump: Path, tmp_path: Path, where: str, after: int
) -> None:
    target = tmp_path / "t.tsv"
    command = [sys.executable, "-c", KILLED, where, str(after), str(dump), str(target)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    build_titles(str(dump), target, details=target.with_suffix(".jsonl"))
    build_titles(str(dump), tmp_path / "w.tsv", details=tmp_path / "w.jsonl")
    assert target.read_bytes() == (tmp_path / "w.tsv").read_bytes()
    assert target.with_suffix(".jsonl").read_bytes() == (tmp_path / "w.jsonl").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.jsonl", "t.tsv", "w.jsonl", "w.tsv"]


def test_between_the_two_files_the_first_is_in_its_place(
    dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, details = tmp_path / "t.tsv", tmp_path / "d.jsonl"
    true = os.replace

    def failing(source: Any, to: Any) -> None:
        if Path(to) == target:
            raise OSError(5, "Input/output error")
        true(source, to)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        with pytest.raises(WriteError):
            build_titles(str(dump), target, details=details)
    assert details.exists()
    again = build_titles(str(dump), target, details=details)
    assert len(target.read_text().splitlines()) == again.titles


def test_what_was_begun_otherwise_is_not_gone_on_with(dump: Path, tmp_path: Path) -> None:
    target = tmp_path / "t.tsv"
    with pytest.raises(KeyboardInterrupt):
        build_titles(str(dump), target, checkpoint_seconds=0, progress=Stopping(3, interrupt))
    with pytest.raises(WriteError, match="begun otherwise: language was en, is de") as raised:
        build_titles(str(dump), target, language="de")
    assert "--restart" in raised.value.hint
    assert build_titles(str(dump), target, restart=True).resumed_at == 0


def test_one_run_at_a_time(dump: Path, tmp_path: Path) -> None:
    lock = Lock(tmp_path / ".t.tsv.lock")
    with pytest.raises(WriteError, match="another process makes this table"):
        build_titles(str(dump), tmp_path / "t.tsv")
    lock.release()


def test_a_target_that_exists_is_kept(dump: Path, tmp_path: Path) -> None:
    target = tmp_path / "t.tsv"
    target.write_text("precious")
    with pytest.raises(WriteError, match="the target exists"):
        build_titles(str(dump), target)
    assert target.read_text() == "precious"
    build_titles(str(dump), target, overwrite=True)
    assert target.read_text() != "precious"
    with pytest.raises(ConfigError, match="the same file"):
        build_titles(str(dump), target, details=target)
    with pytest.raises(ConfigError, match="'EN\"' is no code of a language"):
        build_titles(str(dump), target, language='EN"')


# limits ---------------------------------------------------------------------------------------------


def test_a_limit_ends_early(form: Path, expected: dict[str, str], tmp_path: Path) -> None:
    built = build_titles(str(form), tmp_path / "t.tsv", limit=7)
    assert read_titles(tmp_path / "t.tsv") == dict(list(expected.items())[:7])
    assert built.json_bytes < 400_000


MEMORY = """
import resource, sys
from pathlib import Path
from featurestore.construct.titles import TitlesBuilt, build_titles
build_titles(sys.argv[1], Path(sys.argv[2]), overwrite=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("name", ["json", "gz"])
def test_memory_does_not_grow_with_the_dump(dump: Path, tmp_path: Path, name: str) -> None:
    peaks = []
    lines = dump.read_bytes().splitlines()[1:40]
    for times in (20, 200):
        path = tmp_path / f"{times}.{name}"
        with gzip.open(path, "wb", 1) if name == "gz" else path.open("wb") as file:
            for turn in range(times):
                for place, line in enumerate(lines):
                    number = b'"id":"Q%d"' % (turn * 100 + place + 1)
                    line = line.replace(b'"id":"', number + b',"was":"', 1)
                    file.write(line.rstrip(b",") + b"\n")
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(path), str(tmp_path / "t.tsv")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout))
        size = sum(map(len, lines)) * times
    assert size > 60_000_000
    assert peaks[1] - peaks[0] < 45_000  # kB; the larger dump has more than that


# the command ----------------------------------------------------------------------------------------


def test_standard_input_is_a_dump(dump: Path, expected: dict[str, str], tmp_path: Path) -> None:
    for name in ("json", "bz2"):
        target = tmp_path / f"{name}.tsv"
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "build", "titles", "-", "-o", str(target), "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, _ = process.communicate(FORMS[name](dump.read_bytes()), timeout=120)
        assert process.returncode == 0
        assert json.loads(out)["titles"] == len(expected)
        assert read_titles(target) == expected


def test_the_command_says_what_it_wrote_and_what_not(
    dump: Path, expected: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "t.tsv"
    assert main(["build", "titles", str(dump), "-o", str(target), "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{len(expected)} titles of 120 entities: {target}\n")
    assert "broken: 4 × not a JSON object in one line\n  at byte " in captured.err
    assert "broken: 3 × not UTF-8" in captured.err
    assert "without a title" in captured.err
    assert "MB/s of JSON" in captured.err
    assert main(["build", "titles", str(dump), "-o", str(target), "--json"]) == 1
    assert main(["build", "titles", str(tmp_path / "no"), "-o", str(target)]) == 3
    assert "error: there is no such dump" in capsys.readouterr().err


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    """A killed run leaves nobody behind who would write or hold memory."""
    path = tmp_path / "d.json"
    write_made_up_dump(path, entities=60, seed=1, titled=1.0)
    script = tmp_path / "run.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from featurestore.construct import dump_tasks, line_pool\n"
        "from featurestore.construct.titles import build_titles\n"
        "from featurestore.progress import Silent\n"
        "class P(Silent):\n"
        "    def say(self, text):\n"
        "        import multiprocessing\n"
        "        children = multiprocessing.active_children()\n"
        "        if children:\n"
        "            print(*[c.pid for c in children], flush=True)\n"
        "            time.sleep(60)\n"
        "    def stage(self, *a):\n"
        "        import contextlib\n"
        "        return contextlib.nullcontext(self)\n"
        "if __name__ == '__main__':\n"
        "    dump_tasks.TASK, line_pool.ALONE_SECONDS = 50_000, 0\n"
        f"    build_titles({str(path)!r}, Path({str(tmp_path / 't.tsv')!r}), jobs=2, progress=P())\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    with process.stdout as out:
        children = [int(word) for word in out.readline().split()]
    assert children
    process.kill()
    process.wait(60)
    deadline = time.monotonic() + 60
    while any(_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_alive(child) for child in children)


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


# made-up dumps --------------------------------------------------------------------------------------


def test_equal_arguments_write_equal_dumps(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for suffix in ("json", "json.gz"):
            write_made_up_dump(tmp_path / f"{name}.{suffix}", entities=20, seed=3, broken_every=5)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    other = write_made_up_dump(tmp_path / "c.json", entities=20, seed=5, broken_every=5)
    assert (tmp_path / "c.json").read_bytes() != (tmp_path / "a.json").read_bytes()
    assert sum(other.broken.values()) == 4


def test_a_made_up_dump_without_broken_lines_is_json(tmp_path: Path) -> None:
    made = write_made_up_dump(tmp_path / "d.json", entities=30, titles={"Q31": BELGIUM})
    entities = json.loads((tmp_path / "d.json").read_bytes())
    assert len(entities) == len({entity["id"] for entity in entities}) == made.entities == 30
    assert sum("enwiki" in entity["sitelinks"] for entity in entities) == made.titles
    assert made.size == (tmp_path / "d.json").stat().st_size
    end = write_made_up_dump(tmp_path / "e.json", entities=10**9, size=100_000, array=False)
    assert 100_000 <= end.size < 200_000


def test_the_benchmark_compares_equal_titles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import dump as question
    from benchmarks.data import TINY, Workspace

    report = question.measure(Workspace(tmp_path, TINY, Silent()))
    figures = {row.name: row.figures for row in report.rows}
    assert {question.OURS, question.PLAIN} <= figures.keys()
    assert (question.IJSON in figures) != (question.IJSON in report.left_out)
    monkeypatch.setattr(question, "_by_lines", lambda dump, target: target.write_text("Q1\tx\n"))
    with pytest.raises(question.Disagreement, match=question.PLAIN):
        question.measure(Workspace(tmp_path, TINY, Silent()))


@pytest.mark.parametrize("width", [80, 120])
def test_what_the_command_shows(width: int) -> None:
    built = TitlesBuilt(
        target="own/entities/qid-entity.tsv",
        details="own/qid-details.jsonl",
        titles=1_234_567,
        entities=9_876_543,
        skipped={"properties": 12_000, "without a title": 8_629_973},
        broken={"not JSON": 2, "not UTF-8": 1},
        examples=(
            Broken("not JSON", 1_000_000_007, '{"id":"Q1","labels":\x1b[31m{'),
            Broken("not JSON", 2_000_000_011, '{"id":[link=x]'),
            Broken("not UTF-8", 3, '{"id":"Q9","title":"\\xff"}'),
        ),
        read_bytes=7_000_000_000,
        json_bytes=98_000_000_000,
        resumed_at=0,
        seconds=1234.5,
        reader="bzip2 on 16 threads",
        jobs=16,
    )
    text = shown(Group(left_out(built), view(built)), width=width)
    check_snapshot(f"build-titles-{width}", text)
