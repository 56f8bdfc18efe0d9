"""The worker that was asked what it can import, kept for the next engine that may be loaded into it."""

from typing import Any, Dict, Optional

from .crew import Hand
from .supervisor import Supervisor


class Bench:
    """At most one idle worker that has imported the runtimes, which takes a second on a board.

    It serves one engine and no second one, never what has to be fresh (cold start, memory), and is gone before
    anything that must not find it there: a fresh worker, whose machine is measured, and a build, which needs memory.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._idle: Optional[Hand] = None

    def keep(self, hand: Hand, libraries: Dict[str, Any]) -> None:
        """Keeps ``hand`` unless it opened a GPU: it would be one more client there, with a context of its own."""
        self.clear()
        facts = libraries.get("facts") or {}
        if any((known or {}).get("gpu") for known in facts.values()):
            self.supervisor.dismiss(hand)
        else:
            self._idle = hand

    def worker(self, *, fresh: bool) -> Hand:
        """A worker for one engine."""
        idle, self._idle = self._idle, None
        if idle is None:
            return self.supervisor.hire()
        if fresh or not idle.alive or idle.process.poll() is not None:
            self.supervisor.dismiss(idle)
            return self.supervisor.hire()
        return idle

    def clear(self) -> None:
        """Ends the idle worker, if there is one."""
        idle, self._idle = self._idle, None
        if idle is not None:
            self.supervisor.dismiss(idle)
