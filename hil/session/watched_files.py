"""Watch the user's files during a run: they must not change, since the report names them by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


class Sources:
    """Files that a run reads more than once, each with the time, size and inode that it had at first."""

    def __init__(self) -> None:
        self._files: dict[Path, tuple[int, int, int] | None] = {}

    def watch(self, path: Path) -> None:
        """Start to watch the file ``path``, if that is not done yet. A path that is not a file is ignored."""
        if path not in self._files and path.is_file():
            self._files[path] = _state_of(path)

    def check(self) -> None:
        """Raise ``UserError`` if a watched file has changed."""
        for path, before in self._files.items():
            if _state_of(path) != before:
                raise UserError(f"{path.name} was changed while the run read it: do not change it, and run again")


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
