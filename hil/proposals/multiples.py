"""Find the number that the size of a dimension must be a multiple of, by trial runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Runs = Callable[[Mapping[str, int]], bool]

MULTIPLES = (2, 4, 8, 16, 32, 64, 128)
"""Multiples that are tried for a dynamic dimension, in ascending order."""


def multiples_of(sizes: Mapping[str, int], runs: Runs) -> dict[str, int]:
    """Return the number of which each dimension must be a multiple: the smallest in ``MULTIPLES`` that runs.

    Dimensions are left out if the next greater size runs, or if no multiple runs.
    """
    if not sizes or runs({dimension: size + 1 for dimension, size in sizes.items()}):
        return {}
    divisors = {dimension: math.gcd(size, MULTIPLES[-1]) for dimension, size in sizes.items()}
    small = {dimension: one if one >= MULTIPLES[-2] else sizes[dimension] for dimension, one in divisors.items()}
    if small != sizes and runs(small):
        found = _smallest(small, runs)
        if found and runs({dimension: size + found.get(dimension, 0) for dimension, size in sizes.items()}):
            return found
    return _smallest(sizes, runs)


def _smallest(sizes: Mapping[str, int], runs: Runs) -> dict[str, int]:
    """Return what ``multiples_of`` does, by increasing one size at a time, beginning with ``sizes``, which run."""
    found: dict[str, int] = {}
    for dimension, size in sizes.items():
        if runs({**sizes, dimension: size + 1}):
            continue
        for multiple in MULTIPLES:
            if size % multiple == 0 and runs({**sizes, dimension: size + multiple}):
                found[dimension] = multiple
                break
    return found
