"""Memory that is used again: page-locked blocks for inputs, and buffers that grow and never shrink."""

from typing import Any, Dict, List, Tuple

import numpy as np

ALIGNED = 256  # as cuMemAlloc aligns; every dtype's alignment divides it
SMALLEST = 4096
KEPT = 64 << 20


class Pool:
    """Page-locked blocks by size (a power of two), since locking pages takes longer than most inferences.

    Blocks given back are kept up to ``KEPT`` bytes, or one that is larger; the rest is freed, and closing frees
    those that are still out too.
    """

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._free: Dict[int, List[Any]] = {}
        self._out: Dict[int, Any] = {}
        self._kept = 0

    def take(self, nbytes: int) -> Any:
        """A block of at least ``nbytes``."""
        size = SMALLEST
        while size < nbytes:
            size *= 2
        waiting = self._free.get(size)
        if waiting:
            self._kept -= size
            block = waiting.pop()
        else:
            block = self._cuda.pin(size)
        self._out[block.address] = block
        return block

    def give(self, block: Any) -> None:
        """Takes a block back; one that closing has freed already is none."""
        if self._out.pop(block.address, None) is not block:
            return
        if self._kept and self._kept + block.nbytes > KEPT:
            block.free()
            return
        self._kept += block.nbytes
        self._free.setdefault(block.nbytes, []).append(block)

    def close(self) -> None:
        """Frees all it has made."""
        for blocks in [*self._free.values(), list(self._out.values())]:
            for block in blocks:
                block.free()
        self._free.clear()
        self._out.clear()
        self._kept = 0


class Grown:
    """Buffers by name, made by ``make(nbytes)``: the one that is there is used again while it is large enough."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self.held: Dict[str, Any] = {}

    def need(self, name: str, nbytes: int) -> Any:
        """A buffer of at least ``nbytes``, and never of none: an empty tensor has an address too."""
        there = self.held.get(name)
        if there is not None and there.nbytes >= nbytes:
            return there
        if there is not None:
            del self.held[name]
            there.free()  # before the new one is made: on a small board both may not fit
        self.held[name] = made = self._make(max(nbytes, ALIGNED))
        return made

    def close(self) -> None:
        """Frees them."""
        while self.held:
            self.held.popitem()[1].free()


def volume(shape: Tuple[int, ...], dtype: str) -> int:
    """Bytes of a tensor."""
    count = np.dtype(dtype).itemsize
    for dim in shape:
        count *= dim
    return int(count)


def view(block: Any, offset: int, shape: Tuple[int, ...], dtype: str) -> Any:
    """An array over page-locked memory; an empty one owns its own."""
    nbytes = volume(shape, dtype)
    if not nbytes:
        return np.empty(shape, dtype)
    return block.array[offset : offset + nbytes].view(dtype).reshape(shape)


def offsets(sizes: List[int]) -> Tuple[List[int], int]:
    """Where tensors of these ``sizes`` lie in one block, aligned, and the block's size."""
    placed, end = [], 0
    for size in sizes:
        placed.append(end)
        end += -(-size // ALIGNED) * ALIGNED
    return placed, end
