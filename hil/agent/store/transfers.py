"""Answer the host's requests that upload and download blobs, each in the method with the name of its ``op``."""

import os
import time
from typing import Any, Dict, List, Optional, Tuple

from .. import failure
from ..failure import Failure
from ..supervisor import Supervisor
from .blobs import Store, valid_digest
from .parallel_uploads import PipeLost, UploadPipe, open_pipes

LOCK_POLL = 0.1
MAX_PIECE = 8 << 20
JOIN_SECONDS = 20.0
OTHER_UPLOAD = 600.0  # seconds to wait for another agent that uploads the same blob
JOIN_POLL = 0.005
PIPE_WAIT = 1.0

Reply = Tuple[Dict[str, Any], List[Any]]


class Transfers:
    """The part of ``service.Service`` that transfers blobs. A ``Reply`` is the answer's header and body."""

    def __init__(self, supervisor: Supervisor, store: Store) -> None:
        self.supervisor = supervisor
        self.store = store
        self.pipes: List[UploadPipe] = []
        self._join_deadline: Optional[float] = None

    def blob_begin(self, request: Dict[str, Any]) -> Reply:
        """Start or resume an upload of ``size`` bytes; with ``restart``, delete the open upload of this name first.

        With a ``digest`` in the request, the reply's ``have`` states whether that blob is stored; otherwise ``like``
        states whether a blob of this size and outline (``outline_of``) is stored. The upload continues at ``offset``,
        which is ``size`` for a stored blob; ``prefix`` is the digest of the bytes before ``offset``. Raise ``Failure``
        if another agent is still uploading the blob after ``OTHER_UPLOAD`` seconds.
        """
        name, digest, size = valid_digest(request["name"]), request.get("digest"), int(request["size"])
        state: Dict[str, Any] = {"have": False, "like": False, "offset": size}

        def attempt() -> bool:
            if self._is_stored(state, name, digest, size):
                return True
            offset = self.store.begin(name, size)
            if offset is None:
                return False
            if self._is_stored(state, name, digest, size):  # another agent has just finished it
                self.store.forget(name)
            else:
                state["offset"] = offset
            return True

        if request.get("restart"):
            self.store.forget(name)
        try:
            self.supervisor.wait_until(attempt, OTHER_UPLOAD, LOCK_POLL)
        except TimeoutError:
            raise Failure(
                failure.STORE, "another agent is still uploading %.12s after %g s" % (name, OTHER_UPLOAD), "run again"
            ) from None
        if name in self.store.uploads:
            state["prefix"] = self.store.uploads[name].hasher.hexdigest()
        return {"ok": state}, []

    def _is_stored(self, state: Dict[str, Any], name: str, digest: Optional[str], size: int) -> bool:
        if digest is None:
            state["like"] = self.store.has_like(name, size)
        else:
            state["have"] = self.store.use(digest) is not None
        return bool(state["like"] or state["have"])

    def blob_append(self, request: Dict[str, Any]) -> Reply:
        """Append the next piece to an upload, and return the new ``offset`` in bytes.

        Raise ``Failure`` if the piece is too long, its channel is lost, or the store refuses it.
        """
        source = self._source(request)
        if not 0 <= source.pending <= MAX_PIECE:
            raise Failure(failure.PROTOCOL, "a piece of %d bytes is too long" % source.pending)
        try:
            with self.store.appending(request["name"], request["offset"]) as upload:
                while source.pending:
                    buffer = upload.free_buffer()
                    buffer = buffer[: min(source.pending, len(buffer))]
                    source.take_into(buffer)
                    upload.write(buffer)
                return {"ok": {"offset": upload.offset}}, []
        except PipeLost as error:
            # Where the next piece starts is unknown now.
            self.close_pipes()
            raise Failure(failure.STORE, "a channel of the upload was lost: %s" % error, "run again") from None
        except Failure:
            self._skip(source)
            raise

    def _skip(self, source: Any) -> None:
        """Read and discard the rest of a piece that could not be stored."""
        try:
            source.drain()
        except PipeLost:
            self.close_pipes()

    def _source(self, request: Dict[str, Any]) -> Any:
        """Return where to read a piece's bytes: from the pipe whose number the request has, else from the frame."""
        number = request.get("pipe")
        if number is None:
            return self.supervisor.host
        if type(number) is not int or not 0 <= number < len(self.pipes):
            raise Failure(failure.PROTOCOL, "no pipe has number %r" % (number,))
        self.pipes[number].pending = int(request["length"])
        return self.pipes[number]

    def pipes_open(self, request: Dict[str, Any]) -> Reply:
        """Create ``count`` named pipes (at most ``MOST_PIPES``), one for each further channel of the host.

        Return their ``paths``. Pipes that are still open are closed first.
        """
        self.close_pipes()
        self.pipes = open_pipes(self.store.path("tmp"), int(request["count"]), self._wait_for_pipe)
        return {"ok": {"paths": [pipe.path for pipe in self.pipes]}}, []

    def pipes_join(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - the signature of every operation
        """Wait until each pipe has its writer. Raise ``Failure`` after ``JOIN_SECONDS``."""
        self._join_deadline = time.monotonic() + JOIN_SECONDS
        try:
            for pipe in self.pipes:
                pipe.join()
        except (PipeLost, OSError) as error:
            self.close_pipes()
            raise Failure(failure.STORE, "a channel of the upload did not open: %s" % error, "run again") from None
        self._join_deadline = None
        return {"ok": {}}, []

    def pipes_close(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - the signature of every operation
        """Close the pipes."""
        self.close_pipes()
        return {"ok": {}}, []

    def close_pipes(self) -> None:
        """Close all pipes, if any are open."""
        pipes, self.pipes, self._join_deadline = self.pipes, [], None
        for pipe in pipes:
            pipe.close()

    def _wait_for_pipe(self, fd: int) -> None:
        self.supervisor.step(JOIN_POLL if fd < 0 else PIPE_WAIT, 0, fd=None if fd < 0 else fd)
        self.supervisor.beat()
        if self._join_deadline is not None and time.monotonic() > self._join_deadline:
            raise PipeLost("no writer opened it within %g s" % JOIN_SECONDS)

    def blob_commit(self, request: Dict[str, Any]) -> Reply:
        """Finish an upload as ``Store.commit`` does."""
        self.store.commit(request["name"], request["digest"])
        return {"ok": {}}, []

    def blob_read(self, request: Dict[str, Any]) -> Reply:
        """Return a piece of a blob as the body; ``size`` is the length of the whole blob in bytes."""
        digest = request["digest"]
        size = os.path.getsize(self.store.need(digest))
        piece = self.store.read(digest, int(request["offset"]), min(int(request["length"]), MAX_PIECE))
        return {"ok": {"size": size}}, [piece]
