"""Write one upload into the store: append bytes to a partial file, which a later attempt can resume."""

import fcntl
import hashlib
import os
import queue
import threading
from typing import Any, Callable, Optional

from .lock import open_lock, try_flock

CHUNK = 1 << 20
PIECE = 1 << 18  # bytes; small enough to be in the processor's cache when it is hashed and written
BUFFERS = 16  # of ``PIECE`` bytes each, between the thread that reads from the host and the one that writes to disk
WAIT = 0.5  # seconds
SYNC_EACH = 32 << 20  # bytes between fsyncs, so that the last one stays short on a slow SD card


def digest_of(path: str, beat: Optional[Callable[[], None]] = None) -> str:
    """Return the SHA-256 of a file, read in pieces; ``beat`` is called after each piece."""
    return str(_hash_into(hashlib.sha256(), path, beat).hexdigest())


def outline_of(path: str) -> str:
    """Return the outline of a file: the SHA-256 of its size, its first MiB and its last MiB."""
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
    """One upload, written by a thread.

    It locks its partial file. An error of the thread is raised by the next ``free_buffer``, ``write`` or ``end``; while
    these wait, ``beat`` is called repeatedly.
    """

    def __init__(self, path: str, beat: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.fd = open_lock(path)
        self.offset: int = 0
        self.hasher = hashlib.sha256()
        self.beat = beat
        self._free: "queue.Queue[memoryview]" = queue.Queue()
        self._filled: "queue.Queue[Optional[memoryview]]" = queue.Queue()
        self._buffers = 0
        self._error: Optional[OSError] = None
        self._thread: Optional[threading.Thread] = None

    def begin(self) -> bool:
        """Take the lock, read the bytes of an earlier attempt into ``hasher``, and set ``offset`` to their number.

        Return whether the lock was taken: False if another agent holds it.
        """
        if not try_flock(self.fd, fcntl.LOCK_EX):
            return False
        if not os.path.exists(self.path) or os.stat(self.path).st_ino != os.fstat(self.fd).st_ino:
            # The other agent has finished and renamed the file, so we hold a lock on the wrong file.
            former, self.fd = self.fd, open_lock(self.path)
            os.close(former)
            return self.begin()
        _hash_into(self.hasher, self.path, self.beat)
        self.offset = os.lseek(self.fd, 0, os.SEEK_END)
        return True

    def free_buffer(self) -> memoryview:
        """Return a buffer for the next bytes; fill it from its start and pass the filled part to ``write``."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_queued, daemon=True)
            self._thread.start()
        if self._buffers < BUFFERS and self._free.empty():
            self._buffers += 1
            return memoryview(bytearray(PIECE))
        return self._next_free()

    def write(self, filled: memoryview) -> None:
        """Append ``filled``, the first bytes of a buffer from ``free_buffer``."""
        self._raise()
        self.hasher.update(filled)
        self.offset += len(filled)
        self._filled.put(filled)

    def end(self) -> None:
        """Wait until all bytes are written and synced."""
        self._finish()
        self._raise()
        os.fsync(self.fd)

    def close(self) -> None:
        """Close the partial file, which stays for a later attempt."""
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

    def _next_free(self) -> memoryview:
        while True:
            self._raise()
            try:
                return self._free.get(timeout=WAIT)
            except queue.Empty:
                self.beat()

    def _write_queued(self) -> None:
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
