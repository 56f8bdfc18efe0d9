"""Frames over a byte stream; over file descriptors, with or without a limit to one's patience."""

import os
import select
import time
from typing import Any, Optional

from .wire import HEAD, MAGIC, MAX_BODY, Closed, Header, Silent, WireError, decode_head, decode_header, encode

MAX_BANNER = 1 << 16
PIECE = 1 << 20
SMALL = 1 << 16  # a body up to this size is joined to its head: one system call is cheaper than a copy


class Frames:
    """Frames over a stream of bytes; a subclass gives ``_fill`` and ``_write``.

    ``pending`` is how many bytes of the last frame's body nobody has taken yet. With ``patience`` (seconds) a
    stream on which nothing moves for that long raises ``Silent``; without it reads and writes wait for ever.
    ``came`` is when bytes were last read, ``moved`` when they were read or written (``time.monotonic``): who reads and
    who writes may be two threads, and what moves for one is a sign of life for the other. ``closed`` is set before
    the stream is taken away from both.
    """

    def __init__(self, patience: Optional[float] = None, max_body: int = MAX_BODY) -> None:
        self.patience = patience
        self.max_body = max_body
        self.pending = 0
        self.came = self.moved = time.monotonic()
        self.closed = False
        self._started = False

    def _fill(self, view: memoryview, *, closing: bool = False) -> bool:
        """Fills ``view``; False only if ``closing`` is set and the stream ended before its first byte."""
        raise NotImplementedError

    def _write(self, view: memoryview) -> None:
        """Writes all of ``view``."""
        raise NotImplementedError

    def find_start(self) -> bytes:
        """Reads past a login banner to the first frame; returns the banner. Call once, before ``receive``."""
        seen = bytearray()
        byte = bytearray(1)
        while not seen.endswith(MAGIC):
            if len(seen) >= MAX_BANNER:
                raise WireError("no frame within %d bytes; the stream starts with %r" % (MAX_BANNER, bytes(seen[:200])))
            if not self._fill(memoryview(byte), closing=True):
                raise Closed("the stream ended before the first frame: %r" % bytes(seen[-200:]))
            seen += byte
        self._started = True
        return bytes(seen[: -len(MAGIC)])

    def receive(self) -> Header:
        """Reads one frame up to its body; ``pending`` is the body's length in bytes.

        Raises ``Closed`` at the end of the stream, ``WireError`` for anything that is not a frame.
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
        """Reads the next ``len(view)`` bytes of the body straight into ``view`` (contiguous bytes)."""
        if len(view) > self.pending:
            raise WireError("the body has %d bytes left, %d were asked for" % (self.pending, len(view)))
        self._fill(view)
        self.pending -= len(view)

    def take(self) -> bytearray:
        """The rest of the body; memory grows with what arrives, not with what was announced."""
        data = bytearray()
        while self.pending:
            piece = bytearray(min(self.pending, PIECE))
            self.take_into(memoryview(piece))
            data += piece
        return data

    def drain(self) -> None:
        """Reads and forgets the rest of the body."""
        scratch = memoryview(bytearray(min(self.pending, PIECE)))
        while self.pending:
            self.take_into(scratch[: self.pending])

    def send(self, header: Header, *chunks: Any) -> None:
        """Writes one frame; ``chunks`` are contiguous byte buffers that make up the body."""
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
    """Frames over a pair of file descriptors, which ``patience`` makes non-blocking."""

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
            self._judge_open()
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
            self._judge_open()
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
                raise Silent("nothing moved for %g s" % self.patience)

    def _judge_open(self) -> None:
        if self.closed:
            raise Closed("this side closed the stream")
