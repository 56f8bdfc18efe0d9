"""Memory that supervisor and worker share, so that a tensor crosses one pipe and not two."""

import errno
import mmap
import os
import tempfile
from typing import Any

from ..failure import STORE_FULL, Failure

GRAIN = 1 << 20


class Segment:
    """A growing piece of shared memory behind a file descriptor.

    Both sides map it; after one side has grown it the other maps again (``reach``). Views of an older
    mapping stay valid, because the kernel keeps it until the last view is gone.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = 0
        self._map: Any = None
        self.reach(os.fstat(fd).st_size)

    @classmethod
    def create(cls, fallback: str) -> "Segment":
        """A new one: anonymous where the kernel and Python can, else an unlinked file (``fallback`` is a folder)."""
        if hasattr(os, "memfd_create"):  # novermin - Python 3.8
            return cls(os.memfd_create("hil", os.MFD_CLOEXEC))  # novermin - where it is there
        folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else fallback  # noqa: S108 - unlinked at once
        fd, path = tempfile.mkstemp(prefix="hil-", dir=folder)
        os.unlink(path)
        return cls(fd)

    def reserve(self, size: int) -> None:
        """Makes at least ``size`` bytes usable. Raises ``Failure`` when memory does not suffice."""
        if size <= self.size:
            return
        whole = -(-size // GRAIN) * GRAIN
        try:
            # Without it a full /dev/shm would raise SIGBUS at the first touch instead of an error here.
            os.posix_fallocate(self.fd, 0, whole)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG):
                raise
            raise Failure(STORE_FULL, "no memory for a message of %d bytes" % size, "send smaller batches") from None
        self.reach(whole)

    def reach(self, size: int) -> None:
        """Maps the first ``size`` bytes, which the other side has reserved."""
        if size > self.size:
            self._map = mmap.mmap(self.fd, size)
            self.size = size

    def view(self, at: int, size: int) -> memoryview:
        """``size`` bytes from ``at`` on; writable."""
        if at < 0 or size < 0 or at + size > self.size:
            raise ValueError("%d bytes at %d lie outside the %d that are shared" % (size, at, self.size))
        if size == 0:
            return memoryview(bytearray())
        return memoryview(self._map)[at : at + size]

    def close(self) -> None:
        """Gives the descriptor back; memory goes when the last view is gone."""
        self._map = None
        os.close(self.fd)
