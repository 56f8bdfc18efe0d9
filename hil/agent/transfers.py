"""Blobs that come and go: what the host may ask of the store, one method an ``op``."""

import os
from typing import Any, Dict, List, Tuple

from . import failure
from .blobs import Store
from .failure import Failure
from .supervisor import Supervisor

LOCK_POLL = 0.1
MAX_PIECE = 8 << 20

Reply = Tuple[Dict[str, Any], List[Any]]


class Transfers:
    """The operations of ``service.Service`` on blobs."""

    def __init__(self, supervisor: Supervisor, store: Store) -> None:
        self.supervisor = supervisor
        self.store = store

    def blob_begin(self, request: Dict[str, Any]) -> Reply:
        """Is the blob there, or how far did an earlier upload come?"""
        digest, size = request["digest"], int(request["size"])
        if self.store.use(digest) is not None:
            return {"ok": {"have": True, "offset": size}}, []
        offsets: List[int] = []

        def attempt() -> bool:
            found = self.store.begin(digest, size)
            if found is not None:
                offsets.append(found)
            return found is not None or self.store.use(digest) is not None

        try:
            self.supervisor.wait_until(attempt, 600.0, LOCK_POLL)
        except TimeoutError:
            raise Failure(
                failure.STORE, "another agent has been uploading %.12s for long" % digest, "run again"
            ) from None
        return {"ok": {"have": not offsets, "offset": offsets[0] if offsets else size}}, []

    def blob_append(self, request: Dict[str, Any]) -> Reply:
        """The next piece of an upload."""
        host = self.supervisor.host
        if host.pending > MAX_PIECE:
            raise Failure(failure.PROTOCOL, "a piece of %d bytes is too long" % host.pending)
        return {"ok": {"offset": self.store.append(request["digest"], request["offset"], host.take())}}, []

    def blob_commit(self, request: Dict[str, Any]) -> Reply:
        """Ends an upload."""
        self.store.commit(request["digest"])
        return {"ok": {}}, []

    def blob_read(self, request: Dict[str, Any]) -> Reply:
        """A piece of a blob; ``size`` is the whole blob's."""
        digest = request["digest"]
        size = os.path.getsize(self.store.need(digest))
        piece = self.store.read(digest, int(request["offset"]), min(int(request["length"]), MAX_PIECE))
        return {"ok": {"size": size}}, [piece]
