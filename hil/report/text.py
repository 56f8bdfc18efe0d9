"""Text that others wrote, made safe for one line: a board's, a model's or a config's words stay words."""

from __future__ import annotations

import re

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters (a terminal would obey them) and marks that turn the direction of writing."""


def printable(text: str) -> str:
    """``text`` without anything that a terminal obeys; line ends stay."""
    return "\n".join(CONTROL.sub("\N{REPLACEMENT CHARACTER}", line.replace("\t", " ")) for line in text.split("\n"))


def one_line(text: str, longest: int) -> str:
    """``text`` on one line of at most ``longest`` letters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"
