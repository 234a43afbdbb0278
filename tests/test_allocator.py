"""What is freed in a training stays with the process, and goes back when it ends."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: Prints the page faults of writing 64 MB that are allocated and freed again: before, within, after.
_PROGRAM = """
import ctypes, resource
from linker.allocator import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    memory = libc.malloc(64 << 20)
    ctypes.memset(memory, 1, 64 << 20)
    libc.free(memory)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = [faults()]
with keep_freed_memory():
    faults()
    found.append(faults())
print(*found, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_freed_memory_is_used_again_and_given_back_at_the_end() -> None:
    command = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    before, within, after = map(int, done.stdout.split())
    if before < 1000:
        pytest.skip("this glibc was told otherwise, or has huge pages")
    assert within < before / 10
    assert after > before / 2
