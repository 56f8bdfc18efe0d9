"""TensorRT's log: kept bounded, so that failures can quote its errors and the report can show it."""

from collections import deque
from typing import Any, Deque, Dict, List, Tuple

LIMIT = 64 << 10  # bytes of text
LINE = 2000  # characters of one message
KEPT = 50  # errors, and as many warnings
VERBOSE = 4  # ILogger.Severity; thousands of lines a build, of no use to a reader
LETTERS = {0: "F", 1: "E", 2: "W", 3: "I"}


class Journal:
    """Messages by severity (0 internal error … 3 info); the oldest go first, errors and warnings are kept apart."""

    def __init__(self) -> None:
        self._lines: Deque[str] = deque()
        self._size = 0
        self._dropped = 0
        self._said: Dict[int, List[str]] = {0: [], 1: [], 2: []}

    def add(self, severity: int, text: str) -> None:
        """Takes a message; never raises, since native code is the caller."""
        if severity >= VERBOSE:
            return
        line = "[%s] %s" % (LETTERS.get(severity, "?"), str(text)[:LINE])
        kept = self._said.get(severity)
        if kept is not None and len(kept) < KEPT:
            kept.append(str(text)[:LINE])
        self._lines.append(line)
        self._size += len(line.encode("utf-8", "replace")) + 1
        while self._size > LIMIT and len(self._lines) > 1:
            self._size -= len(self._lines.popleft().encode("utf-8", "replace")) + 1
            self._dropped += 1

    def clear(self) -> None:
        """Forgets everything: a new build begins."""
        Journal.__init__(self)

    def text(self) -> str:
        """The log, newest lines last, at most ``LIMIT`` bytes and a line that says how many are left out."""
        head = "(%d earlier lines left out)\n" % self._dropped if self._dropped else ""
        return head + "\n".join(self._lines)

    def errors(self, limit: int = 1500) -> str:
        """The error messages, each once, as one line of at most ``limit`` characters; empty where there is none."""
        return " | ".join(_unique(self._said[0] + self._said[1]))[:limit]

    def warnings(self) -> List[str]:
        """The first warnings, each once."""
        return _unique(self._said[2])[:20]


def _unique(lines: List[str]) -> List[str]:
    seen: Dict[str, None] = {}
    for line in lines:
        seen.setdefault(" ".join(line.split()))
    return list(seen)


_LOGS: List[Tuple[Any, Any]] = []


def of(trt: Any) -> Any:
    """The process's ``ILogger``, a ``Journal`` too. TensorRT wants one that outlives all its objects, so it stays."""
    for module, known in _LOGS:
        if module is trt:
            return known

    class Log(trt.ILogger, Journal):  # type: ignore[misc]  # a class of a module that is known only at run time
        """Hands TensorRT's messages to the journal."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            Journal.__init__(self)

        def clear(self) -> None:
            Journal.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            """TensorRT's own signature."""
            self.add(int(severity), msg)

    made = Log()
    _LOGS.append((trt, made))
    return made
