"""One board, one user: a session holds the store by flock, which the kernel lets go when its holder dies.

``gate.lock`` is held for moments while deciding; ``hold.lock`` is shared by all agents of one session
(several of them where pytest-xdist runs) for as long as they live; ``turn.lock`` is held by one of
them while its engine works, so that they do not disturb each other's measurements.
"""

import fcntl
import json
import os
import time
from typing import Any, Dict, Optional

from ..failure import HELD, Failure


def open_lock(path: str) -> int:
    """A descriptor to flock; children never inherit it, so they cannot keep the lock alive."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_flock(fd: int, kind: int) -> bool:
    """Takes the lock if nobody stands in the way."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class SessionLock:
    """The lock of one agent in the store's folder ``root``."""

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
        """When the session took the target, by the target's own clock; 0 where its file does not tell a time."""
        at = self.owner.get("at")
        return float(at) if isinstance(at, (int, float)) else 0.0

    def attempt(self, claim: Dict[str, Any]) -> bool:
        """Takes the lock for ``claim`` (``token``, ``who``, ``host``, ``pid``) or joins agents of the same token.

        False while another session holds it; ``owner`` then tells whose it is.
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
            # Nobody slips in between: everyone who wants the lock has to pass the gate first.
            fcntl.flock(hold, fcntl.LOCK_SH)
            self._hold, hold = hold, -1
            return True
        finally:
            os.close(gate)
            if hold >= 0:
                os.close(hold)

    def refusal(self) -> Failure:
        """Says who holds the target, from where, since when."""
        owner = self.owner
        return Failure(
            HELD,
            "held by %s from host %s (process %s) since %s"
            % tuple(owner.get(key, "somebody") for key in ("who", "host", "pid", "since")),
            "wait for that session to end, or end it there",
        )

    def release(self) -> None:
        """Lets go; dying does the same."""
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
