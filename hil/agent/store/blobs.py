"""Keep files on the target as blobs: named by SHA-256, written atomically, evicted when least recently used.

Layout of the folder: ``blobs/DIGEST``, ``partial/DIGEST`` (unfinished uploads), ``engines/KEY.json``, ``timing/`` and
``calibration/`` (caches), ``tmp/``, lock files. A blob's modification time is the time of its last use.
"""

import contextlib
import errno
import os
import re
import shutil
import time
from typing import Any, Callable, Dict, Iterator, Optional, Set, Tuple

from ..failure import PROTOCOL, STORE, STORE_FULL, Failure
from .upload import PIECE, Upload, digest_of, outline_of

DIGEST = re.compile(r"[0-9a-f]{64}")
STALE = 24 * 3600.0  # seconds after which a partial or temporary file is deleted


def file_version(path: str) -> Tuple[int, ...]:
    """Return inode, size (bytes) and times (ns) of a file. They differ after the file was written or replaced."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def valid_digest(digest: Any) -> str:
    """Return ``digest``, which becomes a file name. Raise ``Failure`` unless it is a SHA-256 in lower-case hex."""
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise Failure(PROTOCOL, "%.80r is not a SHA-256 digest" % (digest,))
    return digest


class Store:
    """The store in the folder ``root``, with at most ``limit`` bytes of blobs.

    Blobs in ``used`` (digests) and blobs used after ``since`` (seconds since the epoch) are never evicted. ``beat`` is
    called repeatedly while a blob is hashed.
    """

    def __init__(self, root: str, limit: float = 4 * 2.0**30) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self.limit = limit
        self.used: Set[str] = set()
        self.since = time.time()
        self.uploads: Dict[str, Upload] = {}
        self._verified: Dict[str, Tuple[int, ...]] = {}
        self.beat: Callable[[], None] = lambda: None
        try:
            for name in ("blobs", "partial", "engines", "tmp"):
                os.makedirs(self.path(name), mode=0o700, exist_ok=True)
        except OSError as error:
            raise self.trouble(error) from None

    def path(self, *parts: str) -> str:
        """Return a path inside the store."""
        return os.path.join(self.root, *parts)

    def blob(self, digest: str) -> str:
        """Return the path of a blob, whether or not it exists. Raise ``Failure`` for an invalid digest."""
        return self.path("blobs", valid_digest(digest))

    def trouble(self, error: OSError) -> Failure:
        """Return the failure for ``error``, with the store's path and advice; the caller raises it."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(self.root).free if os.path.isdir(self.root) else 0
            return Failure(
                STORE_FULL,
                "the disk of the store %s is full (%d MiB free)" % (self.root, free >> 20),
                "free space there, or set store to a folder on a larger disk",
            )
        return Failure(STORE, "the store %s cannot be used: %s" % (self.root, error), "set store to a folder you own")

    def use(self, digest: str) -> Optional[str]:
        """Return the blob's path and mark it as used by this session; None if it is not in the store."""
        path = self.blob(digest)
        try:
            whole = self._is_verified(digest, path)
            os.utime(path)
            if whole:
                self._verified[digest] = file_version(path)
        except FileNotFoundError:
            return None
        self.used.add(digest)
        return path

    def _is_verified(self, digest: str, path: str) -> bool:
        """Return whether this agent has hashed the blob and its file has not changed since."""
        return self._verified.get(digest) == file_version(path)

    def need(self, digest: str) -> str:
        """Return the blob's path as ``use`` does. Raise ``Failure`` if the blob is not in the store."""
        path = self.use(digest)
        if path is None:
            raise Failure(STORE, "blob %s is not in the store %s" % (digest[:12], self.root), "upload it first")
        return path

    def begin(self, name: str, size: int) -> Optional[int]:
        """Start or resume an upload of ``size`` bytes; return the offset (bytes) to continue at.

        Return None while another agent writes this upload. ``name`` is the blob's digest, or its outline if the digest
        is not known yet. Raise ``Failure`` if the store is full or cannot be written.
        """
        valid_digest(name)
        if name not in self.uploads:
            self.make_room(size)
            try:
                upload = Upload(self.path("partial", name), self.beat)
                begun = False
                try:
                    begun = upload.begin()
                finally:
                    if not begun:
                        upload.close()
                if not begun:
                    return None
            except OSError as error:
                raise self.trouble(error) from None
            self.uploads[name] = upload
        if self.uploads[name].offset > size:
            self.forget(name)
            return self.begin(name, size)
        return self.uploads[name].offset

    def has_like(self, outline: str, size: int) -> bool:
        """Return whether a blob of ``size`` bytes has this outline (``outline_of``)."""
        for entry in os.scandir(self.path("blobs")):
            with contextlib.suppress(FileNotFoundError):  # evicted by another agent meanwhile
                if entry.stat().st_size == size and outline_of(entry.path) == outline:
                    return True
        return False

    def append(self, name: str, offset: int, data: Any) -> int:
        """Append ``data`` to an upload and return the new offset in bytes. Raise ``Failure`` as ``appending`` does."""
        with self.appending(name, offset) as upload:
            for at in range(0, len(data), PIECE):
                piece = memoryview(data)[at : at + PIECE]
                buffer = upload.free_buffer()[: len(piece)]
                buffer[:] = piece
                upload.write(buffer)
            return upload.offset

    @contextlib.contextmanager
    def appending(self, name: str, offset: int) -> Iterator[Upload]:
        """Yield the upload ``name`` for its next bytes. An ``OSError`` deletes the upload and becomes a ``Failure``.

        Raise ``Failure`` if there is no such upload, or ``offset`` is not its length so far.
        """
        upload = self.uploads.get(name)
        if upload is None or upload.offset != offset:
            raise Failure(PROTOCOL, "there is no upload of %.12s that continues at byte %r" % (name, offset))
        try:
            yield upload
        except OSError as error:
            self.forget(name)
            raise self.trouble(error) from None

    def commit(self, name: str, digest: Optional[str] = None) -> None:
        """Finish an upload: compare its digest, fsync it and move it to the blobs.

        ``digest`` is required if ``name`` is an outline. If this fails, delete the upload and raise ``Failure``.
        """
        digest, upload = valid_digest(name if digest is None else digest), self.uploads.get(name)
        if upload is None:
            raise Failure(PROTOCOL, "no upload of %.12s is under way" % name)
        if upload.hasher.hexdigest() != digest:
            self.forget(name)
            raise Failure(STORE, "the upload of %s arrived damaged and was deleted" % digest[:12], "run again")
        try:
            upload.end()
            os.replace(upload.path, self.blob(digest))
            self._sync_folder("blobs")
        except OSError as error:
            self.forget(name)
            raise self.trouble(error) from None
        del self.uploads[name]
        upload.close()
        self.use(digest)

    def forget(self, name: str) -> None:
        """Abandon an upload and delete its partial file."""
        upload = self.uploads.pop(name, None)
        if upload is not None:
            with contextlib.suppress(OSError):  # a partial file that stays is rejected by its digest later
                os.unlink(upload.path)
            upload.close()

    def adopt(self, path: str) -> str:
        """Move a finished file from ``tmp/`` to the blobs and return its digest. Raise ``Failure`` if that fails."""
        try:
            digest = digest_of(path, self.beat)
            self.make_room(os.path.getsize(path))
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            os.replace(path, self.blob(digest))
            self._sync_folder("blobs")
        except OSError as error:
            raise self.trouble(error) from None
        self.use(digest)
        return digest

    def read(self, digest: str, offset: int, length: int) -> bytes:
        """Return at most ``length`` bytes of a blob from byte ``offset`` on. Raise ``Failure`` if it is not stored."""
        with open(self.need(digest), "rb") as file:
            file.seek(offset)
            return file.read(length)

    def verify(self, digest: str) -> str:
        """Return a blob's path if its bytes match its digest. Otherwise delete the blob and raise ``Failure``.

        An unchanged blob that this agent has verified before is not hashed again.
        """
        path = self.need(digest)
        before = file_version(path)
        if self._verified.get(digest) == before:
            return path
        if digest_of(path, self.beat) != digest:
            os.unlink(path)
            raise Failure(STORE, "blob %s was damaged in the store and has been deleted" % digest[:12], "run again")
        self._verified[digest] = before
        return path

    def make_room(self, size: int) -> None:
        """Evict least recently used blobs until ``size`` more bytes fit within ``limit``.

        Partial and temporary files older than ``STALE`` are deleted too. Raise ``Failure`` if the blobs that may be
        evicted do not free enough.
        """
        self._drop_stale()
        entries = []
        for entry in os.scandir(self.path("blobs")):
            with contextlib.suppress(FileNotFoundError):  # evicted by another agent meanwhile
                status = entry.stat()
                entries.append((status.st_mtime, status.st_size, entry.name))
        total = sum(length for _, length, _ in entries) + size
        for touched, length, name in sorted(entries):
            if total <= self.limit:
                return
            if name not in self.used and touched < self.since:
                with contextlib.suppress(FileNotFoundError):  # as above
                    os.unlink(self.blob(name))
                total -= length
        if total > self.limit:
            raise Failure(
                STORE_FULL,
                "the store %s is limited to %d MiB, this session needs %d MiB"
                % (self.root, self.limit / 2**20, total / 2**20),
                "raise store_size",
            )

    def _drop_stale(self) -> None:
        for folder in ("partial", "tmp"):
            for entry in os.scandir(self.path(folder)):
                with contextlib.suppress(FileNotFoundError):  # deleted by another agent meanwhile
                    stale = not entry.is_dir() and entry.stat().st_mtime < time.time() - STALE
                    if stale and entry.name not in self.uploads:
                        os.unlink(entry.path)

    def _sync_folder(self, name: str) -> None:
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
