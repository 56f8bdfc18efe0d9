"""Recognize masks, the inputs that state which positions count, so that random values do not mask out all positions."""

from __future__ import annotations

import re

MASK = re.compile(r"mask", re.IGNORECASE)
IGNORED = re.compile(r"pad|ignore", re.IGNORECASE)
"""Names of masks that are true where a position does not count."""

SETTING = re.compile(r"^has_|_input$", re.IGNORECASE)
"""Names with the word "mask" that are settings or images, such as ``has_mask_input`` of Segment Anything."""

RANK = 2
"""The most axes of a mask of bytes: with more it is an image."""


def all_count(name: str, dtype: str, rank: int) -> tuple[float, float] | None:
    """Return the range, of a single value, with which all positions of a mask count: (1, 1) or, if inverted, (0, 0).

    Return ``None`` for an input that is not a mask of integers or booleans.
    """
    whole = dtype == "bool" or "int" in dtype
    image = dtype == "uint8" and rank > RANK
    if not rank or not whole or image or not MASK.search(name) or SETTING.search(name):
        return None
    return (0, 0) if IGNORED.search(name) else (1, 1)
