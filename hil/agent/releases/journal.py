"""What is being done to a robot's releases: noted before, so that whatever is killed, the next one can end it.

What has to succeed on a full disk is made ready before anything is touched, and then only renamed.
"""

import contextlib
import json
import os
import time
from typing import Any, Dict, List, Optional

from .releases import Releases, sync

OPERATION, HISTORY = "operation.json", "history.jsonl"
FORWARD, BACK, MARK = "forward", "back", "mark"
"""What is made ready in ``.hil``: the links to the new and to the old release, the mark of the new one."""
TOLD = 64 << 10  # bytes of the history that are read


class Journal:
    """The operation on ``folder`` that is under way, its links, and what was done there before."""

    def __init__(self, folder: Releases) -> None:
        self.folder = folder

    def ready(self, operation: Dict[str, Any]) -> None:
        """Notes what is about to be done, and makes ready what must not fail afterwards."""
        with self.folder.file_errors():
            for name, digest in ((FORWARD, operation["to"]), (BACK, operation["from"])):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.folder.own(name))
                if digest is not None:
                    os.symlink("releases/" + digest, self.folder.own(name))
            self._write(self.folder.own(MARK), b"")
            self._write(self.folder.own(OPERATION), json.dumps(operation, sort_keys=True).encode("ascii"))
            mark = self.folder.own("healthy", str(operation["to"]))
            if os.path.exists(mark):  # until it is seen to be healthy this time
                os.replace(mark, self.folder.own(MARK))
            sync(self.folder.own("healthy"))
            sync(self.folder.own())

    def operation(self) -> Optional[Dict[str, Any]]:
        """What is being done, or was when its process was killed."""
        found = self.folder.table_at(self.folder.own(OPERATION))
        return found or None

    def point(self, name: str) -> None:
        """Replaces ``current`` by the link that was made ready as ``name``; takes it away where there is none."""
        place = self.folder.path("current")
        try:
            os.replace(self.folder.own(name), place)
        except FileNotFoundError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)
        sync(self.folder.root)

    def mark(self, digest: str) -> None:
        """The release was seen to be healthy."""
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.folder.own(MARK), self.folder.own("healthy", digest))
        sync(self.folder.own("healthy"))

    def unmark(self) -> None:
        """The release was not seen to be healthy: no mark of an earlier time speaks for it."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder.own(MARK))

    def done(self, operation: Dict[str, Any], outcome: str, text: str) -> None:
        """Nothing is under way any more; ``outcome`` goes into the history as far as there is room."""
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
        """What was done there, oldest first, of late."""
        try:
            with open(self.folder.own(HISTORY), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TOLD))
                lines = file.read().split(b"\n")
        except OSError:
            return []
        found = []
        for line in lines:
            with contextlib.suppress(ValueError):  # one that was cut off, by us or by a full disk
                one = json.loads(line.decode("ascii"))
                if isinstance(one, dict):
                    found.append(one)
        return found

    def _write(self, place: str, content: bytes) -> None:
        """A small file, whole or not at all."""
        with open(place + ".new", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(place + ".new", place)
