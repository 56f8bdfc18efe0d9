"""Feeds input to a local command and collects its output, with limits on its output and its time."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time

from hil.targets.words import SLICE, Tail

MOST = 64 << 20  # bytes of output, on this machine and over a network alike


def collect(process: subprocess.Popen[bytes], stdin: bytes, timeout: float) -> tuple[bytes, bytes] | None:
    """Send ``stdin`` to ``process``; return its stdout and the last MiB of its stderr.

    Returns ``None`` if the process runs longer than ``timeout`` seconds; the caller must kill it. All three streams
    must be pipes. Raises ``OverflowError`` if stdout exceeds 64 MiB.
    """
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise ValueError("the process needs pipes on all three standard streams")
    ends = time.monotonic() + timeout
    out, err, rest = bytearray(), Tail(), memoryview(stdin)
    with selectors.DefaultSelector() as ready:
        for stream in (process.stdout, process.stderr):
            ready.register(stream, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        ready.register(process.stdin, selectors.EVENT_WRITE)
        while ready.get_map():
            if time.monotonic() >= ends:
                return None
            for key, _ in ready.select(max(0.0, ends - time.monotonic())):
                if key.fileobj is process.stdin:
                    rest = _feed(key.fd, rest)
                    goes_on = bool(rest)
                else:
                    data = os.read(key.fd, SLICE)
                    goes_on = bool(data)
                    out.extend(data) if key.fileobj is process.stdout else err.add(data)
                if not goes_on:
                    ready.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]  # they were registered as streams
            if len(out) > MOST:
                raise OverflowError(f"more than {MOST >> 20} MiB of output")
    return _wait(process, ends, bytes(out), bytes(err))


def _feed(fd: int, rest: memoryview) -> memoryview:
    """Write as much of ``rest`` as the pipe accepts; return what remains, empty if the command closed its input."""
    with contextlib.suppress(BlockingIOError):
        try:
            return rest[os.write(fd, rest[:SLICE]) :]
        except BrokenPipeError:
            return rest[:0]
    return rest


def _wait(process: subprocess.Popen[bytes], ends: float, out: bytes, err: bytes) -> tuple[bytes, bytes] | None:
    try:
        process.wait(max(0.0, ends - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    return out, err
