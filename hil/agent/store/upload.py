"""A blob on its way into the store: appended to a partial file that a later try can go on with."""

import fcntl
import hashlib
import os
import queue
import threading
from typing import Any, Callable, Optional

from .lock import open_lock, try_flock

CHUNK = 1 << 20
PIECE = 1 << 18  # still in the processor's cache when it is hashed and written
BUFFERS = 16  # of ``PIECE`` bytes each, between who reads from the host and who writes to the disk
WAIT = 0.5  # seconds
SYNC_EACH = 32 << 20  # so that the last fsync of a slow SD card stays short


def digest_of(path: str, beat: Optional[Callable[[], None]] = None) -> str:
    """SHA-256 of a file's bytes, read in pieces; ``beat`` is called after each."""
    return str(_hash_into(hashlib.sha256(), path, beat).hexdigest())


def outline_of(path: str) -> str:
    """What can be told of a file's content without reading all of it: SHA-256 of its size, beginning and end.

    Files of other outlines differ. Those of the same may differ as well: it is no file's digest.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        ends = file.read(CHUNK)
        file.seek(max(0, size - CHUNK))
        ends += file.read(CHUNK)
    return hashlib.sha256(b"outline %d " % size + ends).hexdigest()


def _hash_into(hasher: Any, path: str, beat: Optional[Callable[[], None]] = None) -> Any:
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(CHUNK), b""):
            hasher.update(piece)
            if beat is not None:
                beat()
    return hasher


class Upload:
    """A blob on its way in; holds a lock on its partial file, so that two agents never write one at once.

    A thread of its own writes and syncs: a slow card is busy while the next bytes come. What goes wrong there is
    raised by the next call. ``beat`` is called now and then by whoever waits for the thread.
    """

    def __init__(self, path: str, beat: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.fd = open_lock(path)
        self.offset: int = 0
        self.hasher = hashlib.sha256()
        self.beat = beat
        self._free: "queue.Queue[memoryview]" = queue.Queue()
        self._filled: "queue.Queue[Optional[memoryview]]" = queue.Queue()
        self._lent = 0
        self._error: Optional[OSError] = None
        self._thread: Optional[threading.Thread] = None

    def begin(self) -> bool:
        """Takes the lock and finds out how far an earlier upload came; False while another agent writes."""
        if not try_flock(self.fd, fcntl.LOCK_EX):
            return False
        if not os.path.exists(self.path) or os.stat(self.path).st_ino != os.fstat(self.fd).st_ino:
            # The other agent has finished meanwhile and renamed the file away.
            former, self.fd = self.fd, open_lock(self.path)
            os.close(former)
            return self.begin()
        _hash_into(self.hasher, self.path, self.beat)
        self.offset = os.lseek(self.fd, 0, os.SEEK_END)
        return True

    def lend(self) -> memoryview:
        """Memory for the next bytes, to be filled from its beginning on and given back by ``give``."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, daemon=True)
            self._thread.start()
        if self._lent < BUFFERS and self._free.empty():
            self._lent += 1
            return memoryview(bytearray(PIECE))
        return self._patiently(self._free)

    def give(self, filled: memoryview) -> None:
        """Takes the next bytes: the beginning of what was lent."""
        self._raise()
        self.hasher.update(filled)
        self.offset += len(filled)
        self._filled.put(filled)

    def end(self) -> None:
        """Waits until everything is written, and synced."""
        self._finish()
        self._raise()
        os.fsync(self.fd)

    def close(self) -> None:
        """Lets go of the file, which stays for a later try."""
        self._finish()
        os.close(self.fd)

    def _finish(self) -> None:
        if self._thread is not None:
            self._filled.put(None)
            while self._thread.is_alive():
                self._thread.join(WAIT)
                self.beat()
            self._thread = None

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _patiently(self, source: "queue.Queue[memoryview]") -> memoryview:
        while True:
            self._raise()
            try:
                return source.get(timeout=WAIT)
            except queue.Empty:
                self.beat()

    def _write(self) -> None:
        unsynced = 0
        for filled in iter(self._filled.get, None):
            try:
                unsynced += self._write_one(filled)
                if unsynced >= SYNC_EACH:
                    os.fsync(self.fd)
                    unsynced = 0
            except OSError as error:
                self._error = error
                return
            self._free.put(memoryview(filled.obj))

    def _write_one(self, filled: memoryview) -> int:
        view = filled
        while view:
            view = view[os.write(self.fd, view) :]
        return len(filled)
