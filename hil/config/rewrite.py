"""Set one key of a table in the text of a TOML file, and leave the rest of the text unchanged."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from hil.config.toml_text import parse
from hil.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = re.compile(r"[ \t]*\[[^\[].*")
WIDTH = 100
"""The longest line on which an array is written; a longer one has a line for each element."""


def with_strings(text: str, table: Sequence[str], key: str, values: Sequence[str]) -> str | None:
    """Return ``text``, a TOML file, with ``key = values`` in the table whose path of keys is ``table``.

    The values replace the key's present value, or are added at the table's end. Return ``None`` if ``text`` has no
    header of that table, or if more than this key would change. Raise ``UserError`` if ``text`` is not TOML.
    """
    expected: Any = parse(text, "hil.toml")
    at = expected
    for name in table:
        at = at.get(name) if isinstance(at, dict) else None
    if not isinstance(at, dict):
        return None
    at[key] = tuple(values)
    lines = text.split("\n")
    begin = next((number for number, line in enumerate(lines) if _path_of(line) == tuple(table)), None)
    if begin is None:
        return None
    after = (number for number in range(begin + 1, len(lines)) if _path_of(lines[number]) is not None)
    end = next(after, len(lines))
    present = next((n for n in range(begin + 1, end) if re.match(rf"[ \t]*{re.escape(key)}[ \t]*=", lines[n])), None)
    if present is None:
        while not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#"):
            end -= 1
        present, lengths = end, range(1)
    else:
        lengths = range(1, end - present + 1)
    for length in lengths:  # of the present value, which may span several lines
        changed = "\n".join([*lines[:present], *_written(key, values), *lines[present + length :]])
        if _parsed(changed) == expected:
            return changed
    return None


def _path_of(line: str) -> tuple[str, ...] | None:
    """Return the path of keys in ``line`` if it is the header of a table; ``None`` for any other line."""
    parsed = _parsed(line) if HEADER.fullmatch(line.rstrip("\r")) else None
    if parsed is None:
        return None
    keys = []
    while parsed:
        ((key, parsed),) = parsed.items()
        keys.append(key)
    return tuple(keys)


def _parsed(text: str) -> Any:
    try:
        return parse(text, "hil.toml")
    except UserError:
        return None


def _written(key: str, values: Sequence[str]) -> list[str]:
    texts = [json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") for value in values]
    line = f"{key} = [{', '.join(texts)}]"
    return [line] if len(line) <= WIDTH else [f"{key} = [", *(f"  {one}," for one in texts), "]"]
