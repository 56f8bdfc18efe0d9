"""A blob on its way into the store: appended to a partial file that a later try can go on with."""

import fcntl
import hashlib
import os
from typing import Any, Callable, Optional

from .lock import open_lock, try_flock

CHUNK = 1 << 20
SYNC_EACH = 32 << 20  # so that the last fsync of a slow SD card stays short


def digest_of(path: str, beat: Optional[Callable[[], None]] = None) -> str:
    """SHA-256 of a file's bytes, read in pieces; ``beat`` is called after each."""
    return str(_hash_into(hashlib.sha256(), path, beat).hexdigest())


def _hash_into(hasher: Any, path: str, beat: Optional[Callable[[], None]] = None) -> Any:
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(CHUNK), b""):
            hasher.update(piece)
            if beat is not None:
                beat()
    return hasher


class Upload:
    """A blob on its way in; holds a lock on its partial file, so that two agents never write one at once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = open_lock(path)
        self.offset: int = 0
        self.unsynced = 0
        self.hasher = hashlib.sha256()

    def begin(self) -> bool:
        """Takes the lock and finds out how far an earlier upload came; False while another agent writes."""
        if not try_flock(self.fd, fcntl.LOCK_EX):
            return False
        if not os.path.exists(self.path) or os.stat(self.path).st_ino != os.fstat(self.fd).st_ino:
            os.close(self.fd)  # the other agent has finished meanwhile and renamed the file away
            self.fd = open_lock(self.path)
            return self.begin()
        _hash_into(self.hasher, self.path)
        self.offset = os.lseek(self.fd, 0, os.SEEK_END)
        return True

    def write(self, data: Any) -> None:
        """Appends; syncs now and then."""
        view = memoryview(data)
        while view:
            count = os.write(self.fd, view)
            self.hasher.update(view[:count])
            self.offset += count
            self.unsynced += count
            view = view[count:]
        if self.unsynced >= SYNC_EACH:
            os.fsync(self.fd)
            self.unsynced = 0

    def close(self) -> None:
        """Lets go of the file, which stays for a later try."""
        os.close(self.fd)
