"""Find the line of each key in a TOML file, which tomllib does not report.

The text must have been parsed by tomllib, since this reader does not validate it. Grammar: https://toml.io/en/v1.0.0.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from typing import TYPE_CHECKING

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Sequence

Path = tuple["str | int", ...]

BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
SPACE = re.compile(r"[ \t]*")
BARE = re.compile(r"[A-Za-z0-9_-]+")
BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
LITERAL = re.compile(r"'[^'\n]*'")
# One or two quotes before a closing """ belong to the text.
STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|' r"'''.*?'''(?:'{0,2})|" + f"{BASIC.pattern}|{LITERAL.pattern}", re.DOTALL
)
SCALAR = re.compile(r"[^,\]}#\r\n]+")


class Lines:
    """The lines of all tables, keys and array elements: ``Lines(text).of(("models", "digits", "path"))``."""

    def __init__(self, text: str) -> None:
        """Read ``text``, which must be valid TOML."""
        self._text = text
        self._starts = [match.end() for match in re.finditer("\n", text)]
        self._written: dict[Path, int] = {}
        self._implied: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}
        self._read()

    def of(self, keys: Sequence[str | int]) -> int:
        """Return the line, from 1, of the longest prefix of ``keys`` that the text contains; 1 if there is none."""
        for end in range(len(keys), 0, -1):
            path = tuple(keys[:end])
            line = self._written.get(path) or self._implied.get(path)
            if line is not None:
                return line
        return 1

    def paths(self) -> frozenset[Path]:
        """Return the path of every table, key and array element."""
        return frozenset(self._written) | frozenset(self._implied)

    def _read(self) -> None:
        table: Path = ()
        position = self._skip(BLANK, 0)
        while position < len(self._text):
            if self._text[position] == "[":
                table, position = self._header(position)
            else:
                position = self._pair(table, position)
            position = self._skip(BLANK, position)

    def _header(self, position: int) -> tuple[Path, int]:
        double = self._text.startswith("[[", position)
        keys, end = self._keys(position + 1 + double)
        path: Path = ()
        for key in keys[:-1]:
            path = self._note((*path, key), position, implied=True)
        path = (*path, keys[-1])
        if double:
            self._note(path, position, implied=True)
            index = self._lengths.get(path, 0)
            self._lengths[path] = index + 1
            path = (*path, index)
        self._written.setdefault(path, self._line(position))
        return path, end + 1 + double

    def _note(self, path: Path, position: int, *, implied: bool) -> Path:
        """Record the line of a path and return the path; for an array of tables, with the index of its last table."""
        (self._implied if implied else self._written).setdefault(path, self._line(position))
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, table: Path, position: int) -> int:
        keys, end = self._keys(position)
        for depth in range(1, len(keys)):
            self._note((*table, *keys[:depth]), position, implied=True)
        path = (*table, *keys)
        self._note(path, position, implied=False)
        return self._value(path, self._skip(SPACE, end + 1))

    def _keys(self, position: int) -> tuple[tuple[str, ...], int]:
        keys: list[str] = []
        while True:
            position = self._skip(SPACE, position)
            match = BARE.match(self._text, position) or BASIC.match(self._text, position)
            match = match or LITERAL.match(self._text, position)
            if match is None:
                raise ValueError(f"no key at character {position}")
            raw = match[0]
            keys.append(tomllib.loads(f"key = {raw}")["key"] if raw[0] in "\"'" else raw)
            position = self._skip(SPACE, match.end())
            if not self._text.startswith(".", position):
                return tuple(keys), position
            position += 1

    def _value(self, path: Path, position: int) -> int:
        """Skip a value, record the paths inside it, and return the position after it."""
        opening = self._text[position]
        if opening not in "[{":
            match = STRING.match(self._text, position) or SCALAR.match(self._text, position)
            if match is None:
                raise ValueError(f"no value at character {position}")
            return match.end()
        index = 0
        position = self._skip(BLANK, position + 1)
        while self._text[position] not in "]}":
            if opening == "{":
                position = self._pair(path, position)
            else:
                inner = (*path, index)
                self._written.setdefault(inner, self._line(position))
                position, index = self._value(inner, position), index + 1
            position = self._skip(BLANK, position)
            if self._text[position] == ",":
                position = self._skip(BLANK, position + 1)
        return position + 1

    def _skip(self, pattern: re.Pattern[str], position: int) -> int:
        match = pattern.match(self._text, position)
        return match.end() if match else position

    def _line(self, position: int) -> int:
        return bisect_right(self._starts, position) + 1
