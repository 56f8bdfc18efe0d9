"""The store on the target: blobs by SHA-256, written beside, fsynced, renamed; least recently used go first.

Layout of the folder: ``blobs/DIGEST``, ``partial/DIGEST`` (an upload that may go on), ``engines/KEY.json``,
``timing/`` and ``calibration/`` (small caches that a build may do without), ``tmp/`` and the lock files. A
blob's modification time is the time of its last use.
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
STALE = 24 * 3600.0


def identity(path: str) -> Tuple[int, ...]:
    """What changes when a file is written to or replaced; times in nanoseconds."""
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def checked(digest: Any) -> str:
    """``digest`` if it is one; it becomes a file name, so nothing else may pass. Raises ``Failure``."""
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise Failure(PROTOCOL, "%.80r is not a SHA-256 digest" % (digest,))
    return digest


class Store:
    """The folder ``root``; holds at most ``limit`` bytes of blobs.

    ``used`` are the digests that this session needs; they are never evicted, nor is anything another
    agent of the same session touched since ``since`` (seconds since the epoch). ``beat`` is called now and
    then while a blob is hashed, which takes long for a large one on a slow card.
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
        """A path inside the store."""
        return os.path.join(self.root, *parts)

    def blob(self, digest: str) -> str:
        """Where the blob lies, or would."""
        return self.path("blobs", checked(digest))

    def trouble(self, error: OSError) -> Failure:
        """A failed write as one message that names the store and says what to do."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(self.root).free if os.path.isdir(self.root) else 0
            return Failure(
                STORE_FULL,
                "the disk of the store %s is full (%d MiB free)" % (self.root, free >> 20),
                "free space there, or set store to a folder on a larger disk",
            )
        return Failure(STORE, "the store %s cannot be used: %s" % (self.root, error), "set store to a folder of yours")

    def use(self, digest: str) -> Optional[str]:
        """The blob's path, marked as used by this session; None where it is not there."""
        path = self.blob(digest)
        try:
            whole = self._is_verified(digest, path)
            os.utime(path)
            if whole:
                self._verified[digest] = identity(path)
        except FileNotFoundError:
            return None
        self.used.add(digest)
        return path

    def _is_verified(self, digest: str, path: str) -> bool:
        """Whether this agent has hashed the blob and nobody has touched it since."""
        return self._verified.get(digest) == identity(path)

    def need(self, digest: str) -> str:
        """Like ``use``, but raises ``Failure`` where the blob is not there."""
        path = self.use(digest)
        if path is None:
            raise Failure(STORE, "blob %s is not in the store %s" % (digest[:12], self.root), "upload it first")
        return path

    def begin(self, name: str, size: int) -> Optional[int]:
        """Starts or resumes an upload of ``size`` bytes; returns the offset to go on at, None while another writes.

        ``name`` is the digest, or the outline where the digest will be known only at the end.
        """
        checked(name)
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
        """Whether a blob here has this outline, and so may be the file that is asked for."""
        for entry in os.scandir(self.path("blobs")):
            with contextlib.suppress(FileNotFoundError):  # evicted by another agent meanwhile
                if entry.stat().st_size == size and outline_of(entry.path) == outline:
                    return True
        return False

    def append(self, name: str, offset: int, data: Any) -> int:
        """Writes the next piece; returns the new offset."""
        with self.appending(name, offset) as upload:
            for at in range(0, len(data), PIECE):
                piece = memoryview(data)[at : at + PIECE]
                lent = upload.lend()[: len(piece)]
                lent[:] = piece
                upload.give(lent)
            return upload.offset

    @contextlib.contextmanager
    def appending(self, name: str, offset: int) -> Iterator[Upload]:
        """The upload that stands at ``offset``, for its next bytes. A full disk leaves nothing half-written."""
        upload = self.uploads.get(name)
        if upload is None or upload.offset != offset:
            raise Failure(PROTOCOL, "no upload of %.12s stands at byte %r" % (name, offset))
        try:
            yield upload
        except OSError as error:
            self.forget(name)
            raise self.trouble(error) from None

    def commit(self, name: str, digest: Optional[str] = None) -> None:
        """Ends an upload: verified, fsynced, renamed. A wrong digest deletes it and raises ``Failure``.

        ``digest`` is needed where ``name`` is none.
        """
        digest, upload = checked(name if digest is None else digest), self.uploads.get(name)
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
        """Drops an upload and its partial file."""
        upload = self.uploads.pop(name, None)
        if upload is not None:
            with contextlib.suppress(OSError):  # it may be gone; what stays is judged by whoever goes on with it
                os.unlink(upload.path)
            upload.close()

    def adopt(self, path: str) -> str:
        """Moves a finished file of the store (``tmp/…``) in among the blobs; returns its digest."""
        digest = digest_of(path, self.beat)
        try:
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
        """At most ``length`` bytes of a blob from ``offset`` on."""
        with open(self.need(digest), "rb") as file:
            file.seek(offset)
            return file.read(length)

    def verify(self, digest: str) -> str:
        """The blob's path after its bytes were hashed again; a damaged one is deleted and raises ``Failure``.

        Hashed once, unless somebody else touched the file since: a large one takes long on a slow card.
        """
        path = self.need(digest)
        before = identity(path)
        if self._verified.get(digest) == before:
            return path
        if digest_of(path, self.beat) != digest:
            os.unlink(path)
            raise Failure(STORE, "blob %s was damaged in the store and is deleted" % digest[:12], "run again")
        self._verified[digest] = before
        return path

    def make_room(self, size: int) -> None:
        """Evicts least recently used blobs until ``size`` more bytes fit under ``limit``. Raises ``Failure``."""
        self._drop_stale()
        entries = []
        for entry in os.scandir(self.path("blobs")):
            status = entry.stat()
            entries.append((status.st_mtime, status.st_size, entry.name))
        total = sum(length for _, length, _ in entries) + size
        for touched, length, name in sorted(entries):
            if total <= self.limit:
                return
            if name not in self.used and touched < self.since:
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
                if (
                    not entry.is_dir()
                    and entry.stat().st_mtime < time.time() - STALE
                    and entry.name not in self.uploads
                ):
                    os.unlink(entry.path)

    def _sync_folder(self, name: str) -> None:
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
