"""Files on their way to a target's store and back: pieces of many in flight, verified on arrival."""

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
    from hil.targets.process import Lane
    from hil.targets.requests import Order

PIECE = 1 << 20  # less than what sshd lets be under way on a channel, so that all lanes are at work at once
OUTLINE_FROM = 32 << 20  # hashing less takes no time to speak of
LANES = 4
LANES_FROM = 32 << 20
FAR = 0.005  # seconds of a round trip: 2 MiB under way are 400 MB/s then
SETTLED = 3.0  # seconds: FAT, the coarsest of all, keeps every other one


def put(agent: AgentCalls, path: Path) -> str:
    """Brings a file into the agent's store unless it is there; returns its SHA-256.

    An upload that was interrupted goes on where it stopped, if what is there is the file's own beginning, and anew
    if it is not. Raises ``LabError`` when the store is full, ``UserError`` for a file that cannot be read.
    """
    with _blamed(path), path.open("rb") as file:
        found = os.fstat(file.fileno())
        name = outline_of(str(path)) if found.st_size >= OUTLINE_FROM else digest_of(path, found)
        digest = _known.get((path, identity(found))) if found.st_size >= OUTLINE_FROM else name
        state = _begin(agent, name, digest, found.st_size)
        if state["like"]:  # it may be there already: only its digest can tell
            digest = digest_of(path, found)
            state = _begin(agent, name, digest, found.st_size)
        if state["have"]:
            return str(digest)
        upload = _Upload(agent, file, name, found.st_size)
        upload.begin(state)
        upload.send()
        digest = upload.commit()
        _remember(path, os.fstat(file.fileno()), found, digest)
        return digest


def _begin(agent: AgentCalls, name: str, digest: str | None, size: int, *, anew: bool = False) -> dict[str, Any]:
    asked = {"name": name, "digest": digest, "size": size, "anew": anew}
    state: dict[str, Any] = agent.call("blob_begin", asked)[0]
    with agent.reading():
        if not (state["have"] or state["like"]):
            size_in(state["offset"], size)
            digest_in(state["prefix"])
        return dict(state, have=bool(state["have"]), like=bool(state["like"]))


class _Upload:
    """The file under way; hashed as it is read, since nothing needs its digest before the end."""

    def __init__(self, agent: AgentCalls, file: BufferedReader, name: str, size: int) -> None:
        self.agent, self.file, self.name, self.size = agent, file, name, size
        self.hasher = hashlib.sha256()
        self.offset = 0

    def begin(self, state: Mapping[str, Any]) -> None:
        """Goes on where an earlier upload stopped, if that was one of this file."""
        left = int(state["offset"])
        while left and (piece := self.file.read(min(left, PIECE))):
            self.hasher.update(piece)
            left -= len(piece)
        self.offset = self.file.tell()
        if self.hasher.hexdigest() != state["prefix"]:
            _begin(self.agent, self.name, None, self.size, anew=True)
            self.hasher, self.offset = hashlib.sha256(), self.file.seek(0)

    def send(self) -> None:
        """The rest of the file."""
        began = self.offset
        with lanes(self.agent, self.size - self.offset) as further:
            for _ in self.agent.ask_many(self.pieces(further)):
                pass
        self.agent.uploaded += self.offset - began

    def pieces(self, further: Sequence[Lane] = ()) -> Iterator[Order]:
        """What is sent, in order; over lanes only that it comes is, and it itself beside the frames."""
        lane = 0
        buffer = memoryview(bytearray(PIECE))  # one for all: fresh memory costs more than what is done with it
        while count := self.file.readinto(buffer):
            piece = buffer[:count]
            order = {"op": "blob_append", "name": self.name, "offset": self.offset}
            self.offset += count
            if further:
                further[lane].put(bytes(piece))
                yield {**order, "lane": lane, "length": count}, ()
                lane = (lane + 1) % len(further)
            else:
                yield order, [piece]
            self.hasher.update(piece)  # while it is on its way

    def commit(self) -> str:
        """Ends it; the digest of what was sent."""
        digest = self.hasher.hexdigest()
        self.agent.call("blob_commit", {"name": self.name, "digest": digest})
        return digest


@contextlib.contextmanager
def lanes(agent: AgentCalls, size: int) -> Iterator[list[Lane]]:
    """Further channels for ``size`` bytes where one alone would be slow: over a network with a long round trip.

    None where the target cannot have any: then the agent's own channel carries all.
    """
    opened: list[Lane] = []
    if not agent.remote or size < LANES_FROM:
        yield opened
        return
    try:
        with contextlib.suppress(LabError):  # a store without named pipes, a server that allows no more channels
            _open(agent, opened)
        yield opened
    finally:
        for lane in opened:
            lane.close()
        with contextlib.suppress(HilError):  # what went wrong before is told, not this
            agent.call("lanes_close")


def _open(agent: AgentCalls, opened: list[Lane]) -> None:
    """Fills ``opened`` where the way to the agent is long. Raises ``LabError`` with it empty again."""
    began = time.monotonic()
    paths = agent.call("lanes_open", {"count": LANES})[0]["paths"]
    if time.monotonic() - began < FAR:
        return
    try:
        for path in paths:
            opened.append(agent.lane(path))  # noqa: PERF401 - what was opened is closed where the next fails
        agent.call("lanes_join")
    except LabError:
        while opened:
            opened.pop().close()
        raise


@contextlib.contextmanager
def _blamed(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}: give a readable file") from None


def identity(found: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is written to or replaced."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def digest_of(path: Path, found: os.stat_result) -> str:
    """SHA-256 of a file that is as ``found`` says; hashed once in this process for as long as that is so.

    A file that was written just now may be written again within one tick of its clock: it is hashed every time.
    Raises ``OSError`` and ``UserError`` where it cannot be read.
    """
    digest = _known.get((path, identity(found))) or file_digest(path)
    _remember(path, path.stat(), found, digest)
    return digest


def _remember(path: Path, now: os.stat_result, before: os.stat_result, digest: str) -> None:
    """Keeps what was hashed between ``before`` and ``now``, unless the file may have changed meanwhile."""
    settled = abs(time.time() - max(now.st_mtime, now.st_ctime)) >= SETTLED
    if settled and identity(now) == identity(before):
        _known[path, identity(now)] = digest


_known: dict[tuple[Path, tuple[int, ...]], str] = {}


def get(agent: AgentCalls, digest: str, path: Path, size: int | None = None) -> None:
    """Brings a blob to ``path`` on the host, verified, whole or not at all; ``size`` is what it must have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    hasher = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in _pieces(agent, digest, size):
                hasher.update(piece)
                file.write(piece)
        if hasher.hexdigest() != digest:
            raise LabError(f"blob {digest[:12]} arrived damaged: on target {agent.target!r}: run again")
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)


def _pieces(agent: AgentCalls, digest: str, wanted: int | None) -> Iterator[memoryview]:
    """What the blob consists of: as many bytes as were announced first, and each piece as long as was asked for."""
    ok, _, first = agent.ask_raw(_wanted(digest, 0), [], PIECE)
    with agent.reading():
        size = size_in(ok["size"])
        _judge_size(size, size if wanted is None else wanted)
        _judge_size(len(first), min(PIECE, size))
    yield first.data
    rest = range(PIECE, size, PIECE)
    for offset, (_, _, piece) in zip(
        rest, agent.ask_many(((_wanted(digest, at), ()) for at in rest), PIECE), strict=True
    ):
        with agent.reading():
            _judge_size(len(piece), min(PIECE, size - offset))
        yield piece.data


def _judge_size(came: int, wanted: int) -> None:
    if came != wanted:
        raise ValueError(f"it has {came} bytes, not {wanted}")


def _wanted(digest: str, offset: int) -> dict[str, Any]:
    return {"op": "blob_read", "digest": digest, "offset": offset, "length": PIECE}
