"""Escape unsafe characters in text from models, boards, tools and other people.

Text is escaped where it enters, so that it can be shown unchanged everywhere. Escaped text contains no control sequence
of a terminal or log viewer, and no command of a CI runner.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

LONGEST = 1 << 16
"""The maximum length of one text in characters. A longer text is cut and ends with an ellipsis."""
DEEPEST = 100
"""The maximum number of levels of a nested value. More could exceed Python's recursion limit."""
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, ESC and C1 among them
    "\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, or change the direction
    "\U000e0000-\U000e0fff"  # invisible as well
    "\ud800-\udfff]"  # bytes that are not UTF-8
    r"|(?<!\S)::(?=[A-Za-z])|##(?=\[|vso\[)"  # the start of a command of GitHub's or Azure's CI runner
)
NEWLINES = re.compile(r"\r\n?")
JOINED = re.compile(r"\s*\n\s*")
NUMBERS = frozenset({int, float, bool, type(None)})
"""Types of JSON values without text."""
LOGS = frozenset({"log"})
"""Keys of a JSON document whose texts are logs. These texts keep their line ends."""


def clean(text: object, most: int = LONGEST) -> str:
    r"""Return ``str(text)`` on one line of at most ``most`` characters; a longer text is cut and ends with ``…``.

    Unsafe characters become visible escapes such as ``\x1b``, ``\n``, ``\u202e``. All others stay as they are.
    """
    line = str(text)
    if not line.isprintable() or ":" in line or "#" in line:
        line = UNSAFE.sub(_escaped, line)
    return line if len(line) <= most else line[: max(0, most - 1)] + "…"


def clean_lines(text: object, most: int = LONGEST) -> str:
    """Return ``str(text)`` escaped and cut as by ``clean``, but with tabs and line ends. Each line end becomes LF."""
    whole = NEWLINES.sub("\n", str(text)[: most + 1])
    lines = "\n".join("\t".join(clean(part, most) for part in line.split("\t")) for line in whole.split("\n"))
    return lines if len(lines) <= most else lines[: max(0, most - 1)] + "…"


def joined(text: str) -> str:
    """Return ``clean`` of the text, with each line end and the white space around it replaced by one space."""
    return clean(JOINED.sub(" ", text)) if "\n" in text else clean(text)


def cleaned(value: Any, *, lines: bool = False, depth: int = 0) -> Any:
    """Return a JSON value with every text in it escaped by ``clean``, including the keys of objects.

    Texts below a key in ``LOGS`` keep their line ends; with ``lines``, all texts do. Tables and lists more than
    ``DEEPEST`` levels deep become ``…``; ``depth`` is the level of ``value``. Other types than JSON's are returned
    unchanged.
    """
    if type(value) in NUMBERS or isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return clean_lines(value) if lines else clean(value)
    if isinstance(value, (Mapping, list, tuple)) and depth >= DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        table: dict[Any, Any] = {}
        for key, item in value.items():
            table[_unused_key(clean(key), table)] = cleaned(item, lines=lines or key in LOGS, depth=depth + 1)
        return table
    if isinstance(value, (list, tuple)):
        items = [cleaned(item, lines=lines, depth=depth + 1) for item in value]
        return items if isinstance(value, list) else tuple(items)
    return value


def _unused_key(key: str, table: Mapping[str, Any]) -> str:
    number, name = 1, key
    while name in table:
        number += 1
        name = f"{key} ({number})"
    return name


def _escaped(match: re.Match[str]) -> str:
    text = match[0]
    if text == "::":
        return r"\x3a:"
    if text == "##":
        return r"#\x23"
    return text.encode("ascii", "backslashreplace").decode("ascii") if text > "\x7f" else ascii(text)[1:-1]
