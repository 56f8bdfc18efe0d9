"""Inputs that state which positions count: with a random mask, a model attends to nothing."""

from __future__ import annotations

import re

MASK = re.compile(r"mask", re.IGNORECASE)
IGNORED = re.compile(r"pad|ignore", re.IGNORECASE)
"""Masks that are true where a position does not count."""

SETTING = re.compile(r"^has_|_input$", re.IGNORECASE)
"""Names of settings and of images that have the word, such as those of Segment Anything."""

RANK = 2
"""The most axes of a mask of bytes: with more it is an image."""


def all_count(name: str, dtype: str, rank: int) -> tuple[float, float] | None:
    """Return the range with which all positions count for a mask of integers or booleans; ``None`` for other inputs."""
    whole = dtype == "bool" or "int" in dtype
    image = dtype == "uint8" and rank > RANK
    if not rank or not whole or image or not MASK.search(name) or SETTING.search(name):
        return None
    return (0, 0) if IGNORED.search(name) else (1, 1)
