"""The rows of an interrupted run, one per line of a file, for the next run to continue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Row = dict[str, Any]


class Kept:
    """The rows stored in the file ``path``, whose first line records ``made_with``, the options of the run.

    A last line that is incomplete is dropped. Raise ``SystemExit`` if the file records other options.
    """

    def __init__(self, path: Path, made_with: Mapping[str, Any]) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        read = [json.loads(line) for line in lines if line.endswith("\n")]
        if read and read[0] != made_with:
            raise SystemExit(
                f"{path}: its rows were made with {read[0]}, but this run uses {dict(made_with)}: use another file"
            )
        self.rows: list[Row] = read[1:]
        path.write_text("".join(json.dumps(one) + "\n" for one in (made_with, *self.rows)), encoding="utf-8")

    def add(self, row: Row) -> None:
        """Append a row."""
        self.rows.append(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
