"""Who holds a store, told without holding it; and holding it for a moment where nobody does."""

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
def held_meanwhile(root: str, claim: Dict[str, Any], *, holder_only: bool) -> Iterator[Optional[Dict[str, Any]]]:
    """None while nobody else holds the store ``root`` (we do, where it was ever held), else the one who does.

    Writes nothing into a store that nobody ever held: there is nobody to keep out.
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
        except OSError:  # a full disk, where no session can begin either
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(root, "owner.json.new"))
    try:
        yield owner
    finally:
        lock.release()


def holder(root: str) -> Optional[Dict[str, Any]]:
    """Who holds the store, without holding it: whoever wants it passes the gate first, which is ours for a moment."""
    gate = os.open(os.path.join(root, "gate.lock"), os.O_RDWR | os.O_CLOEXEC)
    try:
        until = time.monotonic() + GATE_SECONDS
        while not try_flock(gate, fcntl.LOCK_EX):
            if time.monotonic() > until:
                return {"why": "its lock is not let go of"}
            time.sleep(0.005)
        hold = os.open(os.path.join(root, "hold.lock"), os.O_RDWR | os.O_CLOEXEC)
        try:
            if try_flock(hold, fcntl.LOCK_EX):
                return None
        finally:
            os.close(hold)
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(root, "owner.json")) as file:
                told = json.load(file)
            return {key: told[key] for key in ("who", "host", "pid", "since") if isinstance(told.get(key), str)}
        return {"why": "it left no name"}
    finally:
        os.close(gate)
