"""Let one session at a time hold a store, by flock, which the kernel releases when the holder dies.

``hold.lock``: the session lock, shared by all agents of one session (several with pytest-xdist). ``gate.lock``: held
while an agent tries to take the session lock. ``turn.lock``: held by the one agent that builds, loads or runs an
engine.
"""

import fcntl
import json
import os
import time
from typing import Any, Dict, Optional

from ..failure import HELD, Failure


def open_lock(path: str) -> int:
    """Open a lock file, or create it, and return its descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_flock(fd: int, kind: int) -> bool:
    """Take the lock without waiting; ``kind`` is ``LOCK_SH`` or ``LOCK_EX``. Return whether it was free."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class SessionLock:
    """Takes, shares and releases the session lock of the store in the folder ``root``, for one agent."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.owner: Dict[str, Any] = {}
        self._hold: Optional[int] = None

    @property
    def held(self) -> bool:
        """Whether this agent holds or shares the lock."""
        return self._hold is not None

    @property
    def began(self) -> float:
        """When the session took the lock, in seconds since the epoch by the target's clock; 0 if not recorded."""
        at = self.owner.get("at")
        return float(at) if isinstance(at, (int, float)) else 0.0

    def attempt(self, claim: Dict[str, Any]) -> bool:
        """Take the lock for ``claim`` (``token``, ``who``, ``host``, ``pid``); return whether this agent has it now.

        Agents with the same token share the lock. ``owner`` is the claim that holds the lock. Raise ``Failure`` if this
        agent already holds the lock for another token.
        """
        if self.held:
            if self.owner.get("token") == claim["token"]:
                return True
            raise Failure(HELD, "this agent already holds the target for another session", "start another agent")
        gate = open_lock(os.path.join(self.root, "gate.lock"))
        hold = open_lock(os.path.join(self.root, "hold.lock"))
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            self.owner = self._read()
            if try_flock(hold, fcntl.LOCK_EX):
                self.owner = dict(claim, since=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), at=time.time())
                self._write(self.owner)
            elif self.owner.get("token") != claim["token"]:
                return False
            # The downgrade to a shared lock is not atomic, but nobody can take it meanwhile: we hold the gate.
            fcntl.flock(hold, fcntl.LOCK_SH)
            self._hold, hold = hold, -1
            return True
        finally:
            os.close(gate)
            if hold >= 0:
                os.close(hold)

    def refusal(self) -> Failure:
        """Return the failure that names who holds the target, from which host and since when; the caller raises it."""
        owner = self.owner
        return Failure(
            HELD,
            "held by %s from host %s (process %s) since %s"
            % tuple(owner.get(key, "unknown") for key in ("who", "host", "pid", "since")),
            "wait for that session to end, or end it there",
        )

    def release(self) -> None:
        """Release the lock; the death of this process does the same."""
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    def _read(self) -> Dict[str, Any]:
        try:
            with open(os.path.join(self.root, "owner.json")) as file:
                owner = json.load(file)
        except (OSError, ValueError):
            return {}
        return owner if isinstance(owner, dict) else {}

    def _write(self, owner: Dict[str, Any]) -> None:
        path = os.path.join(self.root, "owner.json")
        with open(path + ".new", "w") as file:
            json.dump(owner, file)
        os.replace(path + ".new", path)
