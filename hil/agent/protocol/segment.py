"""Memory shared by supervisor and worker, so that a tensor crosses one pipe instead of two."""

import errno
import mmap
import os
import tempfile
from typing import Any

from ..failure import STORE_FULL, Failure

GRAIN = 1 << 20  # bytes; sizes are rounded up to a multiple of it


class Segment:
    """Shared memory of growing size behind a file descriptor, mapped by both sides.

    After one side has grown it (``reserve``), the other maps it again (``reach``). Views of an older mapping stay
    valid.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = 0
        self._map: Any = None
        self.reach(os.fstat(fd).st_size)

    @classmethod
    def create(cls, fallback: str) -> "Segment":
        """Return an empty segment, in anonymous memory (Python 3.8 or later) or an unlinked file.

        The file is in ``/dev/shm`` or, if that is not writable, in the folder ``fallback``.
        """
        if hasattr(os, "memfd_create"):  # novermin - Python 3.8
            return cls(os.memfd_create("hil", os.MFD_CLOEXEC))  # novermin - checked above
        folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else fallback  # noqa: S108 - unlinked at once
        fd, path = tempfile.mkstemp(prefix="hil-", dir=folder)
        os.unlink(path)
        return cls(fd)

    def reserve(self, size: int) -> None:
        """Grow the segment to at least ``size`` bytes, if it is smaller. Raise ``Failure`` if memory is exhausted."""
        if size <= self.size:
            return
        whole = -(-size // GRAIN) * GRAIN
        try:
            # Without this, a full /dev/shm would raise SIGBUS at the first access instead of an error here.
            os.posix_fallocate(self.fd, 0, whole)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
                raise
            raise Failure(STORE_FULL, "no memory for a message of %d bytes" % size, "send smaller batches") from None
        self.reach(whole)

    def reach(self, size: int) -> None:
        """Map the first ``size`` bytes, which the other side has reserved; do nothing if they are mapped already."""
        if size > self.size:
            self._map = mmap.mmap(self.fd, size)
            self.size = size

    def view(self, at: int, size: int) -> memoryview:
        """Return a writable view of ``size`` bytes at offset ``at``. Raise ``ValueError`` if outside the segment."""
        if at < 0 or size < 0 or at + size > self.size:
            raise ValueError("%d bytes at %d lie outside the %d that are shared" % (size, at, self.size))
        if size == 0:
            return memoryview(bytearray())
        return memoryview(self._map)[at : at + size]

    def close(self) -> None:
        """Close the descriptor. The memory is freed when its last view is deleted."""
        self._map = None
        os.close(self.fd)
