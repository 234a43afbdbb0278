"""Time contestants side by side, so that neither a drifting machine nor a predecessor favours one."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import median

import torch

#: What a contestant does in one round, given the number of the round: a batch, an epoch.
Act = Callable[[int], object]

#: What a turn happens in.
Around = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def fastest(self) -> float:
        return min(self.seconds)


def in_turn(
    acts: Mapping[str, Act],
    *,
    rounds: int,
    warmup: int = 1,
    fewer: Mapping[str, int] | None = None,
    around: Mapping[str, Around] | None = None,
) -> dict[str, Times]:
    """Run the contestants A B C, C A B, … and time each turn.

    Every round has an order of its own, equal for equal names: who comes after one that leaves threads
    or an empty cache behind would otherwise always be the same. What an act returns is dropped before the
    clock of the next starts; Python's garbage collector waits for the gaps.

    Args:
        rounds: counted turns of each.
        warmup: turns before that are not counted.
        fewer: contestants too slow for all rounds → how many they take part in, without warm-up.
        around: contestant → what each of its turns happens in; entered before the clock starts.
    """
    fewer, around = fewer or {}, around or {}
    taken: dict[str, list[float]] = {name: [] for name in acts}
    order = random.Random(0)
    for turn in range(-warmup, rounds):
        for name in order.sample(sorted(acts), len(acts)):
            if name in fewer and not 0 <= turn < fewer[name]:
                continue
            with around.get(name, nullcontext)():
                seconds = timed(acts[name], turn)
            if turn >= 0:
                taken[name].append(seconds)
    return {name: Times(tuple(seconds)) for name, seconds in taken.items()}


def timed(act: Act, turn: int = 0) -> float:
    """Seconds of one call."""
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter()
        result = act(turn)
        spent = time.perf_counter() - started
    finally:
        gc.enable()
    del result
    return spent


def ratio(slower: Times, faster: Times) -> float:
    """How many times as long ``slower`` takes: the median of the rounds, each with its neighbour.

    Contestants of the same number of rounds are compared round by round; others by their medians.
    """
    if len(slower.seconds) != len(faster.seconds):
        return slower.median / faster.median
    pairs = zip(slower.seconds, faster.seconds, strict=True)
    return median(a / b for a, b in pairs)


def finish(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
