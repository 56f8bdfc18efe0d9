"""The user's files during a run: what was judged must be what the report names by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


class Sources:
    """Files that a run reads more than once, as they were at first sight: time, size and inode."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, int, int] | None] = {}

    def watch(self, path: Path) -> None:
        """Notes how ``path`` is now; what is no file (a folder, a callable) is left to its data set."""
        if path not in self._seen and path.is_file():
            self._seen[path] = _look(path)

    def check(self) -> None:
        """Raises ``UserError`` if a file that was noted is not what it was."""
        for path, before in self._seen.items():
            if _look(path) != before:
                raise UserError(f"{path.name} was changed while the run read it: leave it alone and run again")


def _look(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
