"""Frames over a byte stream, and over a pair of file descriptors with an optional timeout."""

import os
import select
import time
from typing import Any, Optional

from .wire import HEAD, MAGIC, MAX_BODY, Closed, Header, Silent, WireError, decode_head, decode_header, encode

MAX_BANNER = 1 << 16
PIECE = 1 << 20
SMALL = 1 << 16  # a body up to this size is copied behind its head: a copy is cheaper than a second system call


class Frames:
    """Frames over a byte stream; a subclass implements ``_fill`` and ``_write``. One thread may read, another write.

    Attributes:
        patience: seconds without a transferred byte after which a read or write raises ``Silent``; None: no limit.
        pending: unread bytes of the last frame's body.
        came, moved: ``time.monotonic`` of the last read, and of the last read or write.
        closed: set before the stream is closed.
    """

    def __init__(self, patience: Optional[float] = None, max_body: int = MAX_BODY) -> None:
        self.patience = patience
        self.max_body = max_body
        self.pending = 0
        self.came = self.moved = time.monotonic()
        self.closed = False
        self._started = False

    def _fill(self, view: memoryview, *, closing: bool = False) -> bool:
        """Fill ``view``. Return False only if ``closing`` is set and the stream ended before the first byte."""
        raise NotImplementedError

    def _write(self, view: memoryview) -> None:
        """Write all of ``view``."""
        raise NotImplementedError

    def find_start(self) -> bytes:
        """Read to the start of the first frame and return the bytes before it (a login banner).

        Call this once, before ``receive``. Raise ``WireError`` if no frame starts within ``MAX_BANNER`` bytes,
        ``Closed`` if the stream ends before.
        """
        banner = bytearray()
        byte = bytearray(1)
        while not banner.endswith(MAGIC):
            if len(banner) >= MAX_BANNER:
                raise WireError(
                    "no frame within %d bytes; the stream starts with %r" % (MAX_BANNER, bytes(banner[:200]))
                )
            if not self._fill(memoryview(byte), closing=True):
                raise Closed("the stream ended before the first frame: %r" % bytes(banner[-200:]))
            banner += byte
        self._started = True
        return bytes(banner[: -len(MAGIC)])

    def receive(self) -> Header:
        """Read one frame's header and return it; ``pending`` is then its body's length in bytes.

        An unread body of the previous frame is discarded. Raise ``Closed`` at the end of the stream, ``WireError`` for
        anything that is not a whole frame.
        """
        self.drain()
        head = bytearray(HEAD.size)
        at = 0
        if self._started:
            head[: len(MAGIC)] = MAGIC
            at = len(MAGIC)
            self._started = False
        if not self._fill(memoryview(head)[at:], closing=at == 0):
            raise Closed("the stream ended")
        header_size, body = decode_head(bytes(head), self.max_body)
        data = bytearray(header_size)
        self._fill(memoryview(data))
        header = decode_header(bytes(data))
        self.pending = body
        return header

    def take_into(self, view: memoryview) -> None:
        """Read the next ``len(view)`` bytes of the body into ``view`` (contiguous bytes).

        Raise ``WireError`` if the body has fewer bytes left.
        """
        if len(view) > self.pending:
            raise WireError("the body has %d bytes left, %d were requested" % (self.pending, len(view)))
        self._fill(view)
        self.pending -= len(view)

    def take(self) -> bytearray:
        """Read and return the rest of the body."""
        data = bytearray()
        while self.pending:
            piece = bytearray(min(self.pending, PIECE))
            self.take_into(memoryview(piece))
            data += piece
        return data

    def drain(self) -> None:
        """Read and discard the rest of the body."""
        scratch = memoryview(bytearray(min(self.pending, PIECE)))
        while self.pending:
            self.take_into(scratch[: self.pending])

    def send(self, header: Header, *chunks: Any) -> None:
        """Write one frame; ``chunks`` are contiguous byte buffers that make up the body.

        Raise ``WireError``, before anything is written, if header or body exceed their limits.
        """
        body = sum(len(chunk) for chunk in chunks)
        if body > self.max_body:
            raise WireError("the body has %d bytes, the limit is %d" % (body, self.max_body))
        head = encode(header, body)
        if body <= SMALL:
            self._write(memoryview(b"".join((head, *chunks))))
            return
        self._write(memoryview(head))
        for chunk in chunks:
            self._write(memoryview(chunk))


class Channel(Frames):
    """Frames over a pair of file descriptors; with ``patience`` both are made non-blocking."""

    def __init__(self, read_fd: int, write_fd: int, patience: Optional[float] = None, max_body: int = MAX_BODY) -> None:
        super().__init__(patience, max_body)
        self.read_fd = read_fd
        self.write_fd = write_fd
        if patience is not None:
            os.set_blocking(read_fd, False)
            os.set_blocking(write_fd, False)

    def _fill(self, view: memoryview, *, closing: bool = False) -> bool:
        at = 0
        while at < len(view):
            self._check_open()
            try:
                count = os.readv(self.read_fd, [view[at:]])
            except BlockingIOError:
                self._await(self.read_fd, select.POLLIN)
                continue
            except OSError as error:
                raise Closed("the other side went away: %s" % error.strerror) from None
            if count == 0:
                if closing and at == 0:
                    return False
                raise WireError("the stream ended in the middle of a frame")
            at += count
            self.came = self.moved = time.monotonic()
        return True

    def _write(self, view: memoryview) -> None:
        at = 0
        while at < len(view):
            self._check_open()
            try:
                at += os.write(self.write_fd, view[at:])
                self.moved = time.monotonic()
            except BlockingIOError:
                self._await(self.write_fd, select.POLLOUT)
            except OSError as error:
                raise Closed("the other side went away: %s" % error.strerror) from None

    def _await(self, fd: int, event: int) -> None:
        if self.patience is None:
            return
        poller = select.poll()
        poller.register(fd, event)
        began = time.monotonic()
        left = self.patience
        while not poller.poll(left * 1000):
            left = max(began, self.moved) + self.patience - time.monotonic()
            if left <= 0:
                raise Silent("no data was transferred for %g s" % self.patience)

    def _check_open(self) -> None:
        if self.closed:
            raise Closed("this side closed the stream")
