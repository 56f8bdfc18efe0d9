"""Make text safe to show on a page, in a table or in a CI log: with its line ends, or on one line."""

from __future__ import annotations

from hil.text import clean, clean_lines


def printable(text: str) -> str:
    """Return ``text`` with terminal control characters escaped. Line ends and tabs stay."""
    return clean_lines(text)


def one_line(text: str, longest: int) -> str:
    """Return ``text`` on one line of at most ``longest`` characters. Each run of whitespace becomes one space."""
    return clean(" ".join(text.split()), longest)
