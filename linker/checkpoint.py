"""Checkpoints: tensors and plain values only, so that loading one never runs code from it.

A checkpoint is what ``torch.save`` writes, with a digest of that as the comment of the zip file, so
that anything that reads torch's files reads it. Weights are safetensors with a digest in the header.
Both are written whole or not at all, and never with a weight that is not finite.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import safetensors
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from safetensors.torch import load_file, save
from torch import Tensor, nn
from xxhash import xxh3_128, xxh3_128_hexdigest

from linker.atomic import replacing
from linker.diagnosis import not_finite_weights
from linker.run_folder import RunError

#: Stands before the digest at the end of a checkpoint, and before it in the header of weights.
_COMMENT, _HEADER = b"drin-fs xxh3_128 ", "xxh3_128"

#: What stands where the digest will stand while it is computed.
_NO_DIGEST = "0" * 32

#: Length of the comment in the last record of a zip file: the last two bytes where there is none.
_NO_COMMENT, _LENGTH = b"\0\0", len(_COMMENT) + len(_NO_DIGEST)

#: Key under which a checkpoint says how far the run was.
PLACE = "drin-fs"

#: What Lightning continues from, and its type.
_PARTS: Mapping[str, type] = {
    "state_dict": dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    PLACE: dict,
}

#: Bytes read at once.
_BLOCK = 1 << 20


class Place(NamedTuple):
    """How far a run was: finished epochs, and training batches done in the one after them."""

    epochs: int
    batches: int

    def __str__(self) -> str:
        if self.batches:
            return f"batch {self.batches} of epoch {self.epochs + 1}"
        return f"epoch {self.epochs}"


# weights ------------------------------------------------------------------------------------------


def save_weights(network: nn.Module, path: Path, *, description: Mapping[str, Any]) -> None:
    """Write the weights of a network as safetensors; ``description`` goes into the header as JSON.

    Raises:
        TrainingDiverged: a weight is not finite.
        WriteError: the disk is full or fails; what was at ``path`` is as it was.
    """
    weights = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    not_finite_weights(weights, where=str(path))
    metadata = {"drin-fs": json.dumps(description), _HEADER: _NO_DIGEST}
    data = _in_order(save(weights, metadata=metadata))
    digest = xxh3_128_hexdigest(data)
    with replacing(path) as temporary:
        temporary.write_bytes(data.replace(_NO_DIGEST.encode(), digest.encode(), 1))


def _in_order(data: bytes) -> bytes:
    """The same file with the metadata in the order of their keys: safetensors has one by chance."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at multiples of 8
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network with the weights of a file.

    Raises:
        RunError: no such file, a damaged one, or one of another network.
    """
    if not path.is_file():
        raise RunError(
            "the run has no best weights: no epoch was finished, or the file was removed",
            where=str(path),
            hint="train it, or continue it with --resume",
        )
    weights = _read_weights(path)
    _check_names(network, weights, path)
    network.load_state_dict(weights)


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        _check_weights_digest(path)
        return load_file(path)
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise RunError(
            f"damaged weights, or not ours ({_first_line(error)})",
            where=str(path),
            hint="put the file back from a copy, or train the run again with --overwrite",
        ) from error


def _check_weights_digest(path: Path) -> None:
    """Compare the file with the digest in its header, which was computed with zeros in its place."""
    with path.open("rb") as file:
        length = file.read(8)
        header = file.read(min(int.from_bytes(length, "little"), path.stat().st_size))
        digest = str(json.loads(header)["__metadata__"][_HEADER])
        hashed = xxh3_128(length + header.replace(digest.encode(), _NO_DIGEST.encode(), 1))
        while block := file.read(_BLOCK):
            hashed.update(block)
    if hashed.hexdigest() != digest:
        raise ValueError("the content does not have the digest that the header names")


def _check_names(network: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if wanted != found:
        differing = sorted(set(wanted.items()) ^ set(found.items()))
        name = differing[0][0]
        raise RunError(
            f"the weights are of another network: {name} is {found.get(name, 'absent')} in the "
            f"file and {wanted.get(name, 'absent')} in the network",
            where=str(path),
            hint="the configuration of the run, or the widths of the store, were changed",
        )


# checkpoints --------------------------------------------------------------------------------------


class CheckpointFiles(CheckpointIO):
    """How Lightning's trainer writes and reads the checkpoints of a run."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint with its digest.

        Raises:
            TrainingDiverged: a weight is not finite.
            WriteError: the disk is full or fails; what was at ``path`` is as it was.
        """
        for key in ("state_dict", "current_model_state"):  # the second with an average in the first
            not_finite_weights(checkpoint.get(key, {}), where=str(path))
        with replacing(Path(path)) as temporary, temporary.open("wb") as file:
            written = _Digested(file)
            torch.save(checkpoint, written)  # type: ignore[arg-type]  # a file that is written to
            written.end()

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See :func:`read_checkpoint`."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours, on the CPU.

    Raises:
        RunError: damaged, not a checkpoint of ours, or holding more than tensors and plain values.
    """
    try:
        _check_digest(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        for key, kind in _PARTS.items():
            if not isinstance(checkpoint[key], kind):
                raise ValueError(f"{key} is a {type(checkpoint[key]).__name__}")
    except pickle.UnpicklingError as error:
        refuse_checkpoint(
            path, "it holds more than tensors and plain values; none of it was run", error
        )
    except Exception as error:  # torch names no class for what a damaged file does to it
        refuse_checkpoint(path, _first_line(error), error)
    return checkpoint


def read_place(path: Path) -> Place:
    """How far the run was when a checkpoint of ours was written.

    Raises:
        RunError: as :func:`read_checkpoint`.
    """
    place = read_checkpoint(path)[PLACE]
    try:
        return Place(epochs=int(place["epochs"]), batches=int(place["batches"]))
    except (KeyError, TypeError, ValueError) as error:
        refuse_checkpoint(path, "it does not say how far the run was", error)


def refuse_checkpoint(path: Path, reason: str, error: Exception) -> NoReturn:
    """Raise the error for a checkpoint that a run cannot be continued from.

    Raises:
        RunError: always.
    """
    raise RunError(
        f"not a checkpoint to continue from ({reason})",
        where=str(path),
        hint="put the file back from a copy, or start the run again with --overwrite",
    ) from error


def _check_digest(path: Path) -> None:
    content = path.stat().st_size - len(_NO_COMMENT) - _LENGTH
    hashed = xxh3_128()
    with path.open("rb") as file:
        for start in range(0, content, _BLOCK):
            hashed.update(file.read(min(_BLOCK, content - start)))
        end = file.read()
    hashed.update(_NO_COMMENT)
    wanted = _comment(hashed.hexdigest())
    if end[: -len(_NO_DIGEST)] != wanted[: -len(_NO_DIGEST)]:
        raise ValueError("it does not end with its digest: cut off, or not written by drin-fs")
    if end != wanted:
        raise ValueError("damaged: its content does not have the digest that it ends with")


def _comment(digest: str) -> bytes:
    """The end of a zip file with the digest as its comment, from the length of the comment on."""
    return _LENGTH.to_bytes(2, "little") + _COMMENT + digest.encode()


def _first_line(error: Exception) -> str:
    text = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return text.partition("\n")[0] or type(error).__name__


class _Digested(io.RawIOBase):
    """The file that torch writes a checkpoint to; :meth:`end` puts the digest at its end.

    torch does not get over an error while it writes: it is told that all is well, and :meth:`end`
    raises the first one.
    """

    def __init__(self, file: io.BufferedWriter) -> None:
        super().__init__()
        self._file = file
        self._hashed = xxh3_128()
        self._failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        view = memoryview(data).cast("B")
        if self._failure is None:
            try:
                self._file.write(view)
                self._hashed.update(view)
            except OSError as error:
                self._failure = error
        return len(view)

    def end(self) -> None:
        """Write the digest.

        Raises:
            OSError: now, or at an earlier write.
        """
        if self._failure is not None:
            raise self._failure
        self._file.seek(-len(_NO_COMMENT), io.SEEK_CUR)
        self._file.write(_comment(self._hashed.hexdigest()))
        self._file.flush()
