"""Go on with an ingest that was interrupted, or refuse to, and say what is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from featurestore.errors import WriteError
from featurestore.ingest_shards import Shard
from featurestore.placing import is_published
from featurestore.progress import Progress
from featurestore.work import Claim, begun


def remove_remains(target: Path) -> None:
    """Remove what an ingest left that was killed when its store was published already."""
    folder = Claim.folder_of(target)
    if folder.is_dir() and (is_published(folder) or not (folder / "data").exists()):
        with suppress(WriteError):  # somebody is at work there
            claim = Claim(target)
            if not claim.has_begun:
                claim.discard()
            claim.release()


@contextmanager
def claimed(
    target: Path, progress: Progress, *, restart: bool, shard: Shard | None = None
) -> Iterator[Claim]:
    """The right to build a store at a target. What is finished when the block fails is kept.

    Args:
        restart: remove what an interrupted ingest has finished.
        shard: the right to do a shard; what is finished is kept when the block succeeds, too.

    Raises:
        WriteError: another process has it.
    """
    claim = Claim(target, shard)
    try:
        if restart and claim.has_begun:
            claim.discard()
            progress.note("begins anew; what was finished before is removed")
        yield claim
    except BaseException:
        _keep(claim, progress)
        raise
    else:
        if shard is None:
            claim.discard()
    finally:
        claim.release()


def _keep(claim: Claim, progress: Progress) -> None:
    """Say what is kept; a folder without a finished part is not."""
    parts = begun(claim).parts if claim.has_begun else 0
    if not parts:
        claim.discard()
        return
    progress.note(
        f"kept: {_parts(parts)} in {claim.folder}; the same command goes on from there, "
        "--restart begins anew"
    )


def _parts(number: int) -> str:
    return f"{number} finished {'part' if number == 1 else 'parts'}"


def check_begun(claim: Claim, identity: Mapping[str, Any]) -> None:
    """Refuse to go on with what was begun from another source, with other encoders or options.

    Raises:
        WriteError: says what differs.
    """
    if not claim.has_begun:
        claim.discard()  # what is left of a publication that was interrupted behind its rename
        return
    found = begun(claim)
    if not found.parts:
        claim.discard()
        return
    differing = list(differences(found.identity, dict(identity)))
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise WriteError(
            "an interrupted ingest to this target was begun otherwise: "
            f"{'; '.join(differing[:3])}{more}",
            where=str(claim.folder),
            hint="run the command that was interrupted, or pass --restart to give up what it finished "
            f"({_parts(found.parts)})",
        )


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """What differs between plain values, by their path."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield f"{path} was {_short(old)}, is {_short(new)}"


def _short(value: Any) -> str:
    text = "not there" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
