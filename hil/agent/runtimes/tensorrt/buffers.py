"""Reused memory: page-locked blocks for inputs, and buffers that grow and never shrink."""

from typing import Any, Dict, List, Tuple

import numpy as np

from ...protocol.arrays import dtype_of

ALIGNED = 256  # bytes, cuMemAlloc's alignment; a multiple of every dtype's alignment
SMALLEST = 4096
KEPT = 64 << 20


class Pool:
    """Page-locked blocks by size (a power of two), which are reused.

    Released blocks are kept up to ``KEPT`` bytes in total, or one larger block.
    """

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._free: Dict[int, List[Any]] = {}
        self._in_use: Dict[int, Any] = {}
        self._kept = 0

    def acquire(self, nbytes: int) -> Any:
        """Return a block of at least ``nbytes``."""
        size = SMALLEST
        while size < nbytes:
            size *= 2
        waiting = self._free.get(size)
        if waiting:
            self._kept -= size
            block = waiting.pop()
        else:
            block = self._cuda.pin(size)
        self._in_use[block.address] = block
        return block

    def release(self, block: Any) -> None:
        """Return a block to the pool; do nothing if ``close`` has already freed it."""
        if self._in_use.pop(block.address, None) is not block:
            return
        if self._kept and self._kept + block.nbytes > KEPT:
            block.free()
            return
        self._kept += block.nbytes
        self._free.setdefault(block.nbytes, []).append(block)

    def close(self) -> None:
        """Free all blocks."""
        for blocks in [*self._free.values(), list(self._in_use.values())]:
            for block in blocks:
                block.free()
        self._free.clear()
        self._in_use.clear()
        self._kept = 0


class GrowingBuffers:
    """Buffers by name, created by ``make(nbytes)`` and reused while they are large enough."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self.by_name: Dict[str, Any] = {}

    def need(self, name: str, nbytes: int) -> Any:
        """Return the buffer called ``name``, of at least ``nbytes``.

        A buffer of this name that is too small is freed and replaced.
        """
        existing = self.by_name.get(name)
        if existing is not None and existing.nbytes >= nbytes:
            return existing
        if existing is not None:
            del self.by_name[name]
            existing.free()  # before the new one is made: on a small board both may not fit
        self.by_name[name] = created = self._make(max(nbytes, ALIGNED))
        return created

    def close(self) -> None:
        """Free all buffers."""
        while self.by_name:
            self.by_name.popitem()[1].free()


def volume(shape: Tuple[int, ...], dtype: str) -> int:
    """Return the size of a tensor in bytes."""
    count = dtype_of(dtype).itemsize
    for dim in shape:
        count *= dim
    return int(count)


def view(block: Any, offset: int, shape: Tuple[int, ...], dtype: str) -> Any:
    """Return an array over the page-locked ``block`` from ``offset`` on."""
    nbytes = volume(shape, dtype)
    if not nbytes:
        return np.empty(shape, dtype_of(dtype))
    return block.array[offset : offset + nbytes].view(dtype_of(dtype)).reshape(shape)


def offsets(sizes: List[int]) -> Tuple[List[int], int]:
    """Return aligned offsets of tensors of these ``sizes`` in one block, and the block's size; all in bytes."""
    placed, end = [], 0
    for size in sizes:
        placed.append(end)
        end += -(-size // ALIGNED) * ALIGNED
    return placed, end
