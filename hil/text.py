"""Text that a model, a board, a tool or another person wrote, made safe where it enters.

Whatever shows it may then show it as it is: no terminal, no log viewer and no CI runner obeys anything in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

LONGEST = 1 << 16
"""Characters of one text; what is cut ends with an ellipsis."""
DEEPEST = 100
"""Levels of a nested value; more would meet Python's own limit."""
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, ESC and C1 among them
    "\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, or turns the direction
    "\U000e0000-\U000e0fff"  # invisible as well
    "\ud800-\udfff]"  # bytes that are not UTF-8
    r"|(?<!\S)::(?=[A-Za-z])|##(?=\[|vso\[)"  # where commands of GitHub's and Azure's runners start
)
NEWLINES = re.compile(r"\r\n?")
JOINED = re.compile(r"\s*\n\s*")
LOGS = frozenset({"log"})
"""Keys whose texts are logs: these keep their line ends."""


def clean(text: object, most: int = LONGEST) -> str:
    r"""``str(text)`` on one line, of at most ``most`` characters.

    What is unsafe stays visible as an escape: ``\x1b``, ``\n``, ``\u202e``. Clean text is returned unchanged.
    """
    line = str(text)
    if not line.isprintable() or ":" in line or "#" in line:
        line = UNSAFE.sub(_escaped, line)
    return line if len(line) <= most else line[: max(0, most - 1)] + "…"


def clean_lines(text: object, most: int = LONGEST) -> str:
    """As ``clean`` for a text of several lines: line ends and tabs stay, and nothing else is obeyed."""
    whole = NEWLINES.sub("\n", str(text)[: most + 1])
    lines = "\n".join("\t".join(clean(part, most) for part in line.split("\t")) for line in whole.split("\n"))
    return lines if len(lines) <= most else lines[: max(0, most - 1)] + "…"


def joined(text: str) -> str:
    """As ``clean``, with a space for each line end: a message of several lines stays readable on one."""
    return clean(JOINED.sub(" ", text)) if "\n" in text else clean(text)


def cleaned(value: Any, *, lines: bool = False, depth: int = 0) -> Any:
    """A JSON value with every text in it clean, the keys of its objects included.

    Texts keep their line ends under a key of ``LOGS`` alone (``lines``). Two keys that become equal stay apart by
    a number; what is nested deeper than any report or answer is cut off.
    """
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return clean_lines(value) if lines else clean(value)
    if isinstance(value, (Mapping, list, tuple)) and depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        found: dict[Any, Any] = {}
        for key, item in value.items():
            found[_apart(clean(key), found)] = cleaned(item, lines=lines or key in LOGS, depth=depth + 1)
        return found
    if isinstance(value, (list, tuple)):
        items = [cleaned(item, lines=lines, depth=depth + 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def _apart(key: str, taken: Mapping[str, Any]) -> str:
    number, name = 1, key
    while name in taken:
        number += 1
        name = f"{key} ({number})"
    return name


def _escaped(found: re.Match[str]) -> str:
    text = found[0]
    if text == "::":
        return r"\x3a:"
    if text == "##":
        return r"#\x23"
    return text.encode("ascii", "backslashreplace").decode("ascii") if text > "\x7f" else ascii(text)[1:-1]
