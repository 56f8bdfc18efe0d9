"""Text for a page, a table or a pipeline: on as many lines as it has, or on one."""

from __future__ import annotations

from hil.text import clean, clean_lines


def printable(text: str) -> str:
    """``text`` without anything that a terminal obeys; line ends and tabs stay."""
    return clean_lines(text)


def one_line(text: str, longest: int) -> str:
    """``text`` on one line of at most ``longest`` letters, each run of spaces and line ends a single space."""
    return clean(" ".join(text.split()), longest)
