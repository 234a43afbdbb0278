"""Work shared out among new processes: results, errors, and that none is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from featurestore.errors import DataError
from linker.process_pool import ProcessLost, map_in_processes, threads_of_each


def squares(number: int) -> Callable[[int], tuple[int, int]]:
    return lambda task: (task * task, os.getpid())


def failing(number: int) -> Callable[[int], int]:
    def work(task: int) -> int:
        if task == 3:
            raise DataError("no good", where=f"task {task}", hint="another")
        return task

    return work


def unexpected(number: int) -> Callable[[int], int]:
    raise ZeroDivisionError("nobody expected this")


def killed(number: int) -> Callable[[int], int]:
    def work(task: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return task

    return work


class Waiting:
    """Tells that its process began, and never answers a second task."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, number: int) -> Callable[[int], int]:
        def work(task: int) -> int:
            (self.folder / str(task)).touch()
            if task:
                time.sleep(600)
            return task

        return work


def interrupt_after_one(results: Iterator[tuple[int, int]]) -> None:
    assert next(results)[0] == 0
    raise KeyboardInterrupt


def nobody_is_left() -> bool:
    return not multiprocessing.active_children()


@pytest.mark.parametrize("processes", [1, 3, 9])
def test_each_task_is_done_once_and_by_as_many_processes_as_there_is_work_for(
    processes: int,
) -> None:
    with closing(map_in_processes(squares, list(range(5)), processes=processes)) as results:
        found = dict(results)
    assert {task: result for task, (result, _) in found.items()} == {n: n * n for n in range(5)}
    assert len({process for _, process in found.values()}) <= min(processes, 5)
    assert os.getpid() not in {process for _, process in found.values()}
    assert nobody_is_left()


def test_an_error_of_a_process_is_raised_here_and_ends_all() -> None:
    with pytest.raises(DataError) as raised:
        list(map_in_processes(failing, list(range(8)), processes=2))
    assert str(raised.value) == "no good\n  where: task 3\n  next:  another"
    assert nobody_is_left()


def test_what_nobody_expected_comes_with_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: nobody expected this"):
        list(map_in_processes(unexpected, [1], processes=1))
    assert nobody_is_left()


def test_a_killed_process_is_an_error_that_says_so() -> None:
    with pytest.raises(ProcessLost, match="a process ended by signal 9 before its work was done"):
        list(map_in_processes(killed, [1, 2], processes=2))
    assert nobody_is_left()


def test_an_interrupt_of_the_caller_ends_processes_that_are_at_work(tmp_path: Path) -> None:
    begun = time.monotonic()
    with (
        pytest.raises(KeyboardInterrupt),
        closing(map_in_processes(Waiting(tmp_path), [0, 1, 2], processes=2)) as results,
    ):
        interrupt_after_one(results)
    assert nobody_is_left()
    assert time.monotonic() - begun < 300, "nobody waited for the sleepers"


def test_threads_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linker.process_pool.available_processors", lambda: 16)
    assert [threads_of_each(n) for n in (1, 3, 8, 40)] == [16, 5, 2, 1]
