"""A question in a process of its own: none inherits the memory, the threads and the libraries of another.

What a step takes was found to depend on what ran before it in the same process.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.data import Sizes, Workspace
from benchmarks.report import Report
from cli.console import stderr
from cli.progress import progress_on


def measure_here(name: str, folder: Path, sizes: Sizes, threads: int | None) -> Report:
    """The report of a benchmark, a file of ``benchmarks/``.

    Args:
        folder: where data is made, and used again.
        threads: of torch; None = as many as torch takes.
    """
    # said at each fork once Lance was imported; nothing of it runs in those processes
    warnings.filterwarnings("ignore", "lance is not fork-safe", UserWarning)
    if threads:
        torch.set_num_threads(threads)
    workspace = Workspace(folder, sizes, progress_on(stderr()))
    report: Report = import_module(f"benchmarks.{name.replace('-', '_')}").measure(workspace)
    return report


def measure_alone(name: str, folder: Path, sizes: Sizes, threads: int | None) -> Report:
    """The same, in a new process that ends with it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure_here, name, folder, sizes, threads).result()
