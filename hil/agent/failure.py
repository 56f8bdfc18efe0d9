"""What the agent answers when it cannot do what it was asked."""

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
    """``kind`` is one of this module's names, ``message`` says what happened, ``advice`` what to do next."""

    def __init__(self, kind: str, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.advice = advice

    def reply(self) -> Dict[str, Any]:
        """The failure as it crosses the wire."""
        return {"kind": self.kind, "message": self.message, "advice": self.advice}


def short(text: object, limit: int = 2000) -> str:
    """``text`` on one line, cut in the middle when longer than ``limit`` characters."""
    line = " ".join(str(text).split())
    if len(line) <= limit:
        return line
    return line[: limit // 2] + " … " + line[-limit // 2 :]
