"""Blobs that come and go: what the host may ask of the store, one method an ``op``."""

import os
import time
from typing import Any, Dict, List, Optional, Tuple

from .. import failure
from ..failure import Failure
from ..supervisor import Supervisor
from .blobs import Store, checked
from .parallel_uploads import Lane, LaneLost, open_lanes

LOCK_POLL = 0.1
MAX_PIECE = 8 << 20
JOIN_SECONDS = 20.0
LANE_POLL = 0.005
LANE_WAIT = 1.0

Reply = Tuple[Dict[str, Any], List[Any]]


class Transfers:
    """The operations of ``service.Service`` on blobs."""

    def __init__(self, supervisor: Supervisor, store: Store) -> None:
        self.supervisor = supervisor
        self.store = store
        self.lanes: List[Lane] = []
        self._lanes_due: Optional[float] = None

    def blob_begin(self, request: Dict[str, Any]) -> Reply:
        """Is the blob there, or how far did an earlier upload come, and what is the digest of that?

        Without ``digest`` only whether one like it is there can be told. With ``anew`` nothing is gone on with.
        """
        name, digest, size = checked(request["name"]), request.get("digest"), int(request["size"])
        found: Dict[str, Any] = {"have": False, "like": False, "offset": size}

        def attempt() -> bool:
            if self._there(found, name, digest, size):
                return True
            offset = self.store.begin(name, size)
            if offset is None:
                return False
            if self._there(found, name, digest, size):  # the other agent has just finished
                self.store.forget(name)
            else:
                found["offset"] = offset
            return True

        if request.get("anew"):
            self.store.forget(name)
        try:
            self.supervisor.wait_until(attempt, 600.0, LOCK_POLL)
        except TimeoutError:
            raise Failure(
                failure.STORE, "another agent has been uploading %.12s for long" % name, "run again"
            ) from None
        if name in self.store.uploads:
            found["prefix"] = self.store.uploads[name].hasher.hexdigest()
        return {"ok": found}, []

    def _there(self, found: Dict[str, Any], name: str, digest: Optional[str], size: int) -> bool:
        if digest is None:
            found["like"] = self.store.has_like(name, size)
        else:
            found["have"] = self.store.use(digest) is not None
        return bool(found["like"] or found["have"])

    def blob_append(self, request: Dict[str, Any]) -> Reply:
        """The next piece of an upload."""
        piece = self._piece(request)
        if not 0 <= piece.pending <= MAX_PIECE:
            raise Failure(failure.PROTOCOL, "a piece of %d bytes is too long" % piece.pending)
        try:
            with self.store.appending(request["name"], request["offset"]) as upload:
                while piece.pending:
                    lent = upload.lend()
                    lent = lent[: min(piece.pending, len(lent))]
                    piece.take_into(lent)
                    upload.give(lent)
                return {"ok": {"offset": upload.offset}}, []
        except LaneLost as error:
            # Where the next piece starts is unknown from here on.
            self.close_lanes()
            raise Failure(failure.STORE, "a channel of the upload was lost: %s" % error, "run again") from None
        except Failure:
            self._skip(piece)
            raise

    def _skip(self, piece: Any) -> None:
        """The next piece starts behind this one all the same."""
        try:
            piece.drain()
        except LaneLost:
            self.close_lanes()

    def _piece(self, request: Dict[str, Any]) -> Any:
        """What has the bytes of a piece: the frame's body, or the lane that it names."""
        lane = request.get("lane")
        if lane is None:
            return self.supervisor.host
        if type(lane) is not int or not 0 <= lane < len(self.lanes):
            raise Failure(failure.PROTOCOL, "no lane has number %r" % (lane,))
        self.lanes[lane].pending = int(request["length"])
        return self.lanes[lane]

    def lanes_open(self, request: Dict[str, Any]) -> Reply:
        """Named pipes for the host's other channels to write into."""
        self.close_lanes()
        self.lanes = open_lanes(self.store.path("tmp"), int(request["count"]), self._wait_for_lane)
        return {"ok": {"paths": [lane.path for lane in self.lanes]}}, []

    def lanes_join(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """Waits for who writes into each."""
        self._lanes_due = time.monotonic() + JOIN_SECONDS
        try:
            for lane in self.lanes:
                lane.join()
        except (LaneLost, OSError) as error:
            self.close_lanes()
            raise Failure(failure.STORE, "a channel of the upload did not come: %s" % error) from None
        self._lanes_due = None
        return {"ok": {}}, []

    def lanes_close(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """Ends them."""
        self.close_lanes()
        return {"ok": {}}, []

    def close_lanes(self) -> None:
        """Ends them; does nothing where there are none."""
        lanes, self.lanes, self._lanes_due = self.lanes, [], None
        for lane in lanes:
            lane.close()

    def _wait_for_lane(self, fd: int) -> None:
        self.supervisor.step(LANE_POLL if fd < 0 else LANE_WAIT, 0, fd=None if fd < 0 else fd)
        self.supervisor.beat()
        if self._lanes_due is not None and time.monotonic() > self._lanes_due:
            raise LaneLost("nobody came within %g s" % JOIN_SECONDS)

    def blob_commit(self, request: Dict[str, Any]) -> Reply:
        """Ends an upload."""
        self.store.commit(request["name"], request["digest"])
        return {"ok": {}}, []

    def blob_read(self, request: Dict[str, Any]) -> Reply:
        """A piece of a blob; ``size`` is the whole blob's."""
        digest = request["digest"]
        size = os.path.getsize(self.store.need(digest))
        piece = self.store.read(digest, int(request["offset"]), min(int(request["length"]), MAX_PIECE))
        return {"ok": {"size": size}}, [piece]
