"""Define the agent's error, as it is raised and as it is sent to the host."""

from typing import Any, Dict

PROTOCOL = "protocol"
DEADLINE = "deadline"
DIED = "died"
ENGINE = "engine"
BUILD = "build"
UNSUPPORTED = "unsupported"
HELD = "held"
STORE = "store"
STORE_FULL = "store_full"
CONTAINER = "container"
MISSING = "missing"
RELEASE = "release"
INTERNAL = "internal"


class Failure(Exception):
    """A failed request: ``kind`` is a constant of this module; ``advice`` is what to do next, or an empty text."""

    def __init__(self, kind: str, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.advice = advice

    def reply(self) -> Dict[str, Any]:
        """Return the failure as the ``error`` object of a reply."""
        return {"kind": self.kind, "message": self.message, "advice": self.advice}


def short(text: object, limit: int = 2000) -> str:
    """Return ``text`` on one line; if it is longer than ``limit`` characters, `` … `` replaces the middle."""
    line = " ".join(str(text).split())
    if len(line) <= limit:
        return line
    return line[: limit // 2] + " … " + line[-limit // 2 :]
