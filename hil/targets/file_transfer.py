"""Transfers files to and from a target's store: in pieces, many in flight, verified on arrival."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.agent.store.upload import outline_of
from hil.errors import HilError, LabError, UserError
from hil.files.digests import file_digest
from hil.targets.answers import digest_in, size_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from io import BufferedReader

    from hil.targets.calls import AgentCalls
    from hil.targets.process import UploadChannel
    from hil.targets.requests import Order

PIECE = 1 << 20  # bytes; less than sshd's window of a channel, so that all channels are busy at once
OUTLINE_FROM = 32 << 20  # bytes; smaller files are hashed before the upload, which takes negligible time
CHANNELS = 4
CHANNELS_FROM = 32 << 20  # bytes
FAR = 0.005  # seconds of a round trip; sshd's window of 2 MiB then allows 400 MB/s
SETTLED = 3.0  # seconds; FAT, the file system with the coarsest clock, has a resolution of two seconds


def put(agent: AgentCalls, path: Path) -> str:
    """Upload a file to the agent's store unless it is there; return its SHA-256.

    An interrupted upload of this file resumes where it stopped. Raises ``LabError`` if the store is full, ``UserError``
    if the file cannot be read.
    """
    with _user_errors(path), path.open("rb") as file:
        stat = os.fstat(file.fileno())
        name = outline_of(str(path)) if stat.st_size >= OUTLINE_FROM else digest_of(path, stat)
        digest = _known.get((path, identity(stat))) if stat.st_size >= OUTLINE_FROM else name
        state = _begin(agent, name, digest, stat.st_size)
        if state["like"]:  # the store has a file with the same outline: compare digests
            digest = digest_of(path, stat)
            state = _begin(agent, name, digest, stat.st_size)
        if state["have"]:
            return str(digest)
        upload = _Upload(agent, file, name, stat.st_size)
        upload.begin(state)
        upload.send()
        digest = upload.commit()
        _remember(path, os.fstat(file.fileno()), stat, digest)
        return digest


def _begin(agent: AgentCalls, name: str, digest: str | None, size: int, *, restart: bool = False) -> dict[str, Any]:
    fields = {"name": name, "digest": digest, "size": size, "restart": restart}
    state: dict[str, Any] = agent.call("blob_begin", fields)[0]
    with agent.reading():
        if not (state["have"] or state["like"]):
            size_in(state["offset"], size)
            digest_in(state["prefix"])
        return dict(state, have=bool(state["have"]), like=bool(state["like"]))


class _Upload:
    """An upload in progress."""

    def __init__(self, agent: AgentCalls, file: BufferedReader, name: str, size: int) -> None:
        self.agent, self.file, self.name, self.size = agent, file, name, size
        self.hasher = hashlib.sha256()
        self.offset = 0

    def begin(self, state: Mapping[str, Any]) -> None:
        """Skip the bytes that an earlier upload has sent if this file begins with them; otherwise start over.

        ``state`` is the agent's answer: ``offset``, the number of these bytes, and ``prefix``, their SHA-256.
        """
        left = int(state["offset"])
        while left and (piece := self.file.read(min(left, PIECE))):
            self.hasher.update(piece)
            left -= len(piece)
        self.offset = self.file.tell()
        if self.hasher.hexdigest() != state["prefix"]:
            _begin(self.agent, self.name, None, self.size, restart=True)
            self.hasher, self.offset = hashlib.sha256(), self.file.seek(0)

    def send(self) -> None:
        """Send the rest of the file."""
        began = self.offset
        with upload_channels(self.agent, self.size - self.offset) as channels:
            for _ in self.agent.ask_many(self.pieces(channels)):
                pass
        self.agent.uploaded += self.offset - began

    def pieces(self, channels: Sequence[UploadChannel] = ()) -> Iterator[Order]:
        """Yield the requests of the rest of the file, in order.

        With ``channels``, the bytes of a piece go through one of the channels instead.
        """
        turn = 0
        buffer = memoryview(bytearray(PIECE))  # reused: allocating a new one costs more than sending it
        while count := self.file.readinto(buffer):
            piece = buffer[:count]
            order = {"op": "blob_append", "name": self.name, "offset": self.offset}
            self.offset += count
            if channels:
                channels[turn].put(bytes(piece))
                yield {**order, "pipe": turn, "length": count}, ()
                turn = (turn + 1) % len(channels)
            else:
                yield order, [piece]
            self.hasher.update(piece)  # hashed while the piece is in transit

    def commit(self) -> str:
        """Finish the upload; return the SHA-256 of the file."""
        digest = self.hasher.hexdigest()
        self.agent.call("blob_commit", {"name": self.name, "digest": digest})
        return digest


@contextlib.contextmanager
def upload_channels(agent: AgentCalls, size: int) -> Iterator[list[UploadChannel]]:
    """Yield additional channels to upload ``size`` bytes, and close them at the end of the context.

    The list is empty if channels would not help or cannot be opened.
    """
    opened: list[UploadChannel] = []
    if not agent.remote or size < CHANNELS_FROM:
        yield opened
        return
    try:
        with contextlib.suppress(LabError):  # a store without named pipes, a server that allows no more channels
            _open(agent, opened)
        yield opened
    finally:
        for channel in opened:
            channel.close()
        with contextlib.suppress(HilError):  # an earlier error matters more than this one
            agent.call("pipes_close")


def _open(agent: AgentCalls, opened: list[UploadChannel]) -> None:
    """Add ``CHANNELS`` channels to ``opened``; none if the round trip is shorter than ``FAR``.

    Raise ``LabError``, and leave ``opened`` empty, if a channel cannot be opened.
    """
    began = time.monotonic()
    paths = agent.call("pipes_open", {"count": CHANNELS})[0]["paths"]
    if time.monotonic() - began < FAR:
        return
    try:
        for path in paths:
            opened.append(agent.upload_channel(path))  # noqa: PERF401 - closed again if the next one fails
        agent.call("pipes_join")
    except LabError:
        while opened:
            opened.pop().close()
        raise


@contextlib.contextmanager
def _user_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: make it readable") from None


def identity(stat: os.stat_result) -> tuple[int, ...]:
    """Return device, inode, size and times of a file, which change when the file is written or replaced."""
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def digest_of(path: Path, stat: os.stat_result) -> str:
    """Return the SHA-256 of the file ``path``, whose status is ``stat``; cached by this status.

    Raises ``OSError`` or ``UserError`` if the file cannot be read.
    """
    digest = _known.get((path, identity(stat))) or file_digest(path)
    _remember(path, path.stat(), stat, digest)
    return digest


def _remember(path: Path, now: os.stat_result, before: os.stat_result, digest: str) -> None:
    """Cache ``digest``, unless the file may have changed while it was computed.

    ``before`` and ``now`` are the file's status before and after the computation.
    """
    settled = abs(time.time() - max(now.st_mtime, now.st_ctime)) >= SETTLED
    if settled and identity(now) == identity(before):
        _known[path, identity(now)] = digest


_known: dict[tuple[Path, tuple[int, ...]], str] = {}


def get(agent: AgentCalls, digest: str, path: Path, size: int | None = None) -> None:
    """Download a blob to ``path`` on the host, verified and written atomically; see ``AgentClient.get_blob``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    hasher = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in _pieces(agent, digest, size):
                hasher.update(piece)
                file.write(piece)
        if hasher.hexdigest() != digest:
            raise LabError(f"blob {digest[:12]} arrived damaged: on target {agent.target!r}: run again")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _pieces(agent: AgentCalls, digest: str, expected: int | None) -> Iterator[memoryview]:
    """Yield the blob's content in pieces. Raise ``LabError`` if the blob or a piece does not have the expected size."""
    ok, _, first = agent.ask_raw(_read_request(digest, 0), [], PIECE)
    with agent.reading():
        size = size_in(ok["size"])
        _check_size(size, size if expected is None else expected)
        _check_size(len(first), min(PIECE, size))
    yield first.data
    rest = range(PIECE, size, PIECE)
    for offset, (_, _, piece) in zip(
        rest, agent.ask_many(((_read_request(digest, at), ()) for at in rest), PIECE), strict=True
    ):
        with agent.reading():
            _check_size(len(piece), min(PIECE, size - offset))
        yield piece.data


def _check_size(size: int, expected: int) -> None:
    if size != expected:
        raise ValueError(f"{size} bytes instead of {expected}")


def _read_request(digest: str, offset: int) -> dict[str, Any]:
    return {"op": "blob_read", "digest": digest, "offset": offset, "length": PIECE}
