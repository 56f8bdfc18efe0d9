"""Report which session holds a store, without waiting for that session, and hold a free store for a short while."""

import contextlib
import fcntl
import json
import os
import time
from typing import Any, Dict, Iterator, Optional

from ..failure import short
from .lock import SessionLock, try_flock

GATE_SECONDS = 2.0


@contextlib.contextmanager
def held_if_free(root: str, claim: Dict[str, Any], *, holder_only: bool) -> Iterator[Optional[Dict[str, Any]]]:
    """Yield None if no other session holds the store ``root``, otherwise the facts of its holder (see ``holder``).

    Within the context, a free store is held for ``claim`` if possible, unless ``holder_only`` is true.
    """
    if not os.path.exists(os.path.join(root, "hold.lock")):
        yield None
        return
    try:
        owner = holder(root)
    except OSError as error:
        yield {"why": short(error, 200)}
        return
    lock = SessionLock(root)
    if owner is None and not holder_only:
        try:
            if not lock.attempt(claim):
                owner = lock.owner
        except OSError:  # a full disk, on which no other session can start either
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(root, "owner.json.new"))
    try:
        yield owner
    finally:
        lock.release()


def holder(root: str) -> Optional[Dict[str, Any]]:
    """Return ``who``, ``host``, ``pid`` and ``since`` of the session that holds the store; None if the store is free.

    If the holder is unknown, the result has only ``why``, the reason. Raise ``OSError`` if the store has no lock files.
    """
    # Every session takes the gate lock first, so that none finds the hold lock taken by this test.
    gate = os.open(os.path.join(root, "gate.lock"), os.O_RDWR | os.O_CLOEXEC)
    try:
        until = time.monotonic() + GATE_SECONDS
        while not try_flock(gate, fcntl.LOCK_EX):
            if time.monotonic() > until:
                return {"why": "its lock is not released"}
            time.sleep(0.005)
        hold = os.open(os.path.join(root, "hold.lock"), os.O_RDWR | os.O_CLOEXEC)
        try:
            if try_flock(hold, fcntl.LOCK_EX):
                return None
        finally:
            os.close(hold)
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(root, "owner.json")) as file:
                owner = json.load(file)
            return {key: owner[key] for key in ("who", "host", "pid", "since") if isinstance(owner.get(key), str)}
        return {"why": "it recorded no name"}
    finally:
        os.close(gate)
