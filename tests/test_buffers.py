"""Memory of batches: given out again when nothing holds it, and never before."""

from __future__ import annotations

import gc
import pickle

import numpy as np
import pytest
import torch

from linker.buffers import Buffers

FLOAT = np.dtype(np.float32)
LARGE = (600, 1000)  # 2.4 MB


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_given_out_again_once_nothing_holds_it() -> None:
    buffers = Buffers()
    first = buffers.array(LARGE, FLOAT)
    place = address(first)
    del first
    assert address(buffers.array((500, 1000), FLOAT)) == place
    assert address(buffers.array((1100, 1000), np.dtype(np.float16))) == place


@pytest.mark.parametrize("hold", ["array", "tensor", "part of the tensor", "its gradient graph"])
def test_memory_that_something_holds_is_left_alone(hold: str) -> None:
    buffers = Buffers()
    array = buffers.array(LARGE, FLOAT)
    array[:] = 1
    tensor = torch.from_numpy(array)
    weight = torch.ones(LARGE, requires_grad=True)
    held = {
        "array": array,
        "tensor": tensor,
        "part of the tensor": tensor[3:5].view(-1),
        "its gradient graph": weight * tensor,
    }[hold]
    place = address(array)
    del array, tensor
    gc.collect()
    other = buffers.array(LARGE, FLOAT)
    assert address(other) != place
    other[:] = 2
    if hold == "its gradient graph":
        held.sum().backward()
        held = weight.grad
    assert (np.asarray(held) == 1).all()


def test_buffers_grow_with_what_is_asked_for_and_do_not_pile_up() -> None:
    buffers = Buffers()
    for rows in (600, 900, 1400, 2000):
        del_me = buffers.array((rows, 1000), FLOAT)
        assert del_me.shape == (rows, 1000)
        del del_me
    assert len(buffers._free) == 1


def test_small_arrays_are_left_to_the_allocator() -> None:
    buffers = Buffers()
    del_me = buffers.array((3, 4), FLOAT)
    assert del_me.shape == (3, 4)
    del del_me
    assert buffers._free == []


def test_buffers_pickle_without_their_memory() -> None:
    buffers = Buffers()
    buffers.array(LARGE, FLOAT)
    assert len(pickle.dumps(buffers)) < 200
    assert pickle.loads(pickle.dumps(buffers)).array(LARGE, FLOAT).shape == LARGE
