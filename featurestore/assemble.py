"""Make one store of the shards of an ingest: an ingest all of whose features stand in them already.

What shards cannot know is made here: ids, texts, candidates, columns, similarities. All else is copied,
compared with its checksums on the way. The store is published as that of any ingest, and the shards go.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from featurestore.assembled import Assembled
from featurestore.errors import ConfigError, InUse, WriteError
from featurestore.index_size import index_notes
from featurestore.ingest import (
    IngestSummary,
    Timed,
    identity_of,
    opened_source,
    summary_of,
    write_store,
)
from featurestore.ingest_shards import Kept, Shard, kept_shards, read_kept, shards_folder
from featurestore.options import IngestOptions, options_from
from featurestore.progress import Progress, Silent
from featurestore.resume import check_begun, claimed, differences, remove_remains
from featurestore.shard_plan import Sharding
from featurestore.target import check_target
from featurestore.work import Claim
from featurestore.writer import StoreWriter


class Hushed(Silent):
    """Passes notes on; the stages are of work that is done already."""

    def __init__(self, inner: Progress) -> None:
        self.note = inner.note  # type: ignore[method-assign]


#: Options that may name a file or folder.
_PATHS = ("text_encoder", "image_encoder", "clip", "detector_weights", "boxes")


def assemble(
    target: str | os.PathLike[str],
    *,
    source: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    max_file_size: int | None = None,
    progress: Progress | None = None,
) -> IngestSummary:
    """Make the store at ``target`` of its shards, which know the source and the options.

    Encoders are loaded on the CPU, to compare them with those of the shards; nothing is encoded.

    Args:
        source: where the dataset is now, if not where the shards read it.
        max_file_size: bytes; the features of entities go to files that are no larger (docs/sharded.md).

    Raises:
        ConfigError: not even one entity fits into a file of that size.
        WriteError: shards are missing, incomplete, at work, damaged, or made from another source, with
            other encoders or options than the others; or the target exists.
        SourceError, EncoderError: the source or an encoder is not there any more.
    """
    target = Path(target)
    timed = Timed(progress or Silent())
    remove_remains(target)
    check_target(target, overwrite=overwrite)
    of = _complete_set(target)
    with ExitStack() as stack:
        claim = stack.enter_context(claimed(target, timed, restart=False))
        claims = [stack.enter_context(_claimed_shard(target, shard)) for shard in Shard.all(of)]
        shards = [
            read_kept(shard, each.folder) for shard, each in zip(Shard.all(of), claims, strict=True)
        ]
        check_alike(shards)
        _note_threads(shards, timed)
        options = options_from(shards[0].run["options"])
        folder = Path(source) if source is not None else Path(shards[0].run["source"])
        _check_working_folder(options, Path(shards[0].run["working_folder"]))
        opened = stack.enter_context(opened_source(folder, claim, options, timed, encodes=False))
        identity = identity_of(opened, options)
        _check_same(shards[0].identity, identity, folder)
        check_begun(claim, identity)
        copying = stack.enter_context(ExitStack())
        steps = Assembled.steps(shards)
        stage = copying.enter_context(timed.stage(f"{of} shards", steps, "arrays"))
        writing = StoreWriter.on(
            claim,
            dtype=options.dtype,
            compression=options.compression,
            overwrite=overwrite,
            identity=identity,
            note=timed.note,
            salvage=Assembled(list(zip(shards, claims, strict=True)), stage),
            sharding=Sharding.at_most(max_file_size),
        )
        with writing as writer:
            counts, notes = write_store(opened, writer, folder, options, Timed(Hushed(timed)))
            copying.close()
        shutil.rmtree(shards_folder(target), ignore_errors=True)
        notes += index_notes(target, max_file_size, timed)
        return summary_of(target, opened, options, counts, notes, timed.seconds)


def shard_command(kept: Mapping[int, Kept], target: Path, shard: Shard) -> str:
    """What does a shard that is missing, as the others were done."""
    known = next((each.run for each in kept.values() if each.run), None)
    if known is None:
        return f"drin-fs ingest SOURCE -o {shlex.quote(str(target))} --shard {shard}"
    default = options_from({}).plain()
    changed = [
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in known["options"].items()
        if value != default.get(name)
    ]
    words = [shlex.quote(known["source"]), "-o", shlex.quote(str(target)), *changed]
    return f"drin-fs ingest {' '.join(words)} --shard {shard}"


def _complete_set(target: Path) -> int:
    """The n whose shards are all complete.

    Raises:
        WriteError: there is none, or more than one.
    """
    found = kept_shards(target)
    if not found:
        raise WriteError(
            "no shards of this store are here",
            where=str(shards_folder(target)),
            hint=f"make them: drin-fs ingest SOURCE -o {shlex.quote(str(target))} --shard 1/N, 2/N, …",
        )
    missing = {of: _missing(kept, of) for of, kept in found.items()}
    complete = [of for of, numbers in missing.items() if not numbers]
    if len(complete) == 1:
        return complete[0]
    if complete:
        raise WriteError(
            f"complete shards of more than one n: {', '.join(map(str, complete))}",
            where=str(shards_folder(target)),
            hint="remove the folders of those that you do not want",
        )
    of = min(missing, key=lambda each: len(missing[each]) / each)
    numbers = missing[of]
    first = Shard(number=numbers[0], of=of)
    named = ", ".join(str(Shard(number=number, of=of)) for number in numbers[:8])
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    raise WriteError(
        f"{len(numbers)} of {of} shards are not complete: {named}{more}",
        where=str(shards_folder(target)),
        hint=f"run {shard_command(found[of], target, first)}"
        + (", and so on" if len(numbers) > 1 else ""),
    )


def _missing(kept: Mapping[int, Kept], of: int) -> list[int]:
    return [n for n in range(1, of + 1) if n not in kept or kept[n].found is None]


@contextmanager
def _claimed_shard(target: Path, shard: Shard) -> Iterator[Claim]:
    try:
        claim = Claim(target, shard)
    except InUse as error:
        raise InUse(error.what, where=error.where, hint="wait for it, then assemble") from error
    try:
        yield claim
    finally:
        claim.release()


def check_alike(shards: list[Kept]) -> None:
    """Check that shards are of one source, with the same encoders and options.

    Raises:
        WriteError: says which one differs, and in what.
    """
    for kept in shards[1:]:
        found = list(differences(shards[0].identity, kept.identity))
        if found:
            raise WriteError(
                f"shard {kept.shard} was made otherwise than {shards[0].shard}: "
                f"{'; '.join(found[:3])}",
                where=str(kept.folder),
                hint="run it again as the others were, with --restart",
            )


def _check_same(made: Mapping[str, object], now: Mapping[str, object], source: Path) -> None:
    found = list(differences(dict(made), dict(now)))
    if found:
        raise WriteError(
            f"the source or an encoder is not what the shards were made with: {'; '.join(found[:3])}",
            where=str(source),
            hint="put it back, or run the shards again with --restart",
        )


def _note_threads(shards: list[Kept], timed: Timed) -> None:
    counts = sorted({kept.run["threads"] for kept in shards})
    if len(counts) > 1:
        timed.note(
            f"WARNING: shards were encoded with {', '.join(map(str, counts))} threads: on a CPU the last "
            "bits may not be those of an ingest in one piece (--threads makes them alike)"
        )


def _check_working_folder(options: IngestOptions, folder: Path) -> None:
    """Relative names start where the shards were done.

    Raises:
        ConfigError: one that was a file there is none here.
    """
    for option in _PATHS:
        name = getattr(options, option)
        if name is not None and (folder / name).exists() and not Path(name).exists():
            raise ConfigError(
                f"{name} is not here; the shards were made in another folder",
                where=f"--{option.replace('_', '-')}",
                hint=f"run the command in {folder}",
            )
