"""Keep the journal of a robot's releases: an operation is recorded before it starts, so that it is always finished.

Its files are prepared before the operation and only renamed during it, so that a full disk does not matter.
"""

import contextlib
import json
import os
import time
from typing import Any, Dict, List, Optional

from .releases import Releases, sync

OPERATION, HISTORY = "operation.json", "history.jsonl"
FORWARD, BACK, MARK = "forward", "back", "mark"
"""Files prepared in ``.hil``: the links to the new and to the old release, and the new release's health mark."""
HISTORY_TAIL = 64 << 10  # bytes of the history that are read


class Journal:
    """The journal of ``folder``: the unfinished operation, its prepared files, and the history of operations."""

    def __init__(self, folder: Releases) -> None:
        self.folder = folder

    def ready(self, operation: Dict[str, Any]) -> None:
        """Record ``operation``, prepare the files that it will rename, and remove the new release's health mark.

        Raise ``Failure`` if writing fails.
        """
        with self.folder.file_errors():
            for name, digest in ((FORWARD, operation["to"]), (BACK, operation["from"])):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.folder.own(name))
                if digest is not None:
                    os.symlink("releases/" + digest, self.folder.own(name))
            self._write(self.folder.own(MARK), b"")
            self._write(self.folder.own(OPERATION), json.dumps(operation, sort_keys=True).encode("ascii"))
            mark = self.folder.own("healthy", str(operation["to"]))
            if os.path.exists(mark):  # from an earlier run; it comes back once the release is healthy again
                os.replace(mark, self.folder.own(MARK))
            sync(self.folder.own("healthy"))
            sync(self.folder.own())

    def operation(self) -> Optional[Dict[str, Any]]:
        """Return the operation that is under way or was interrupted; None if there is neither."""
        return self.folder.table_at(self.folder.own(OPERATION)) or None

    def point(self, name: str) -> None:
        """Replace ``current`` by the prepared link ``name`` (FORWARD or BACK); if there is none, delete ``current``."""
        place = self.folder.path("current")
        try:
            os.replace(self.folder.own(name), place)
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)
        sync(self.folder.root)

    def mark(self, digest: str) -> None:
        """Mark the release ``digest`` as healthy by renaming the prepared mark; do nothing if there is no such mark."""
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.folder.own(MARK), self.folder.own("healthy", digest))
        sync(self.folder.own("healthy"))

    def unmark(self) -> None:
        """Delete the prepared health mark, since the release was not healthy."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder.own(MARK))

    def done(self, operation: Dict[str, Any], outcome: str, text: str) -> None:
        """End the operation: append its outcome to the history if the disk has room, and delete its files."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line: Dict[str, Any] = {"at": at, "outcome": outcome, "text": text[:500]}
        line.update({key: operation.get(key) for key in ("kind", "from", "to", "who", "host")})
        with contextlib.suppress(OSError), open(self.folder.own(HISTORY), "ab") as file:
            file.write(json.dumps(line, sort_keys=True).encode("ascii") + b"\n")
        for name in (OPERATION, FORWARD, BACK, MARK):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.folder.own(name))
        sync(self.folder.own())

    def history(self) -> List[Dict[str, Any]]:
        """Return the operations in the last ``HISTORY_TAIL`` bytes of the history, oldest first."""
        try:
            with open(self.folder.own(HISTORY), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - HISTORY_TAIL))
                lines = file.read().split(b"\n")
        except OSError:
            return []
        operations = []
        for line in lines:
            with contextlib.suppress(ValueError):  # a line that was cut off, by the seek above or by a full disk
                operation = json.loads(line.decode("ascii"))
                if isinstance(operation, dict):
                    operations.append(operation)
        return operations

    def _write(self, place: str, content: bytes) -> None:
        """Write a small file atomically."""
        with open(place + ".new", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(place + ".new", place)
