"""TensorRT's log, kept with bounded size: failures quote its errors, the report shows it."""

from collections import deque
from typing import Any, Deque, Dict, List, Tuple

LIMIT = 64 << 10  # bytes of text
LINE = 2000  # characters of one message
KEPT = 50  # errors, and as many warnings
VERBOSE = 4  # ILogger.Severity; thousands of lines per build, of no use to a reader
LETTERS = {0: "F", 1: "E", 2: "W", 3: "I"}


class Journal:
    """Messages by severity (0 internal error … 3 info).

    ``text`` has the newest lines, up to ``LIMIT`` bytes. ``errors`` and ``warnings`` have the first ``KEPT`` messages
    of their severity.
    """

    def __init__(self) -> None:
        self._lines: Deque[str] = deque()
        self._size = 0
        self._dropped = 0
        self._by_severity: Dict[int, List[str]] = {0: [], 1: [], 2: []}

    def add(self, severity: int, text: str) -> None:
        """Store a message, except a verbose one (severity above 3); never raise."""
        if severity >= VERBOSE:
            return
        line = "[%s] %s" % (LETTERS.get(severity, "?"), str(text)[:LINE])
        stored = self._by_severity.get(severity)
        if stored is not None and len(stored) < KEPT:
            stored.append(str(text)[:LINE])
        self._lines.append(line)
        self._size += len(line.encode("utf-8", "replace")) + 1
        while self._size > LIMIT and len(self._lines) > 1:
            self._size -= len(self._lines.popleft().encode("utf-8", "replace")) + 1
            self._dropped += 1

    def clear(self) -> None:
        """Drop all messages."""
        Journal.__init__(self)

    def text(self) -> str:
        """Return the log, oldest line first, at most ``LIMIT`` bytes plus a line that counts dropped lines."""
        head = "(%d earlier lines left out)\n" % self._dropped if self._dropped else ""
        return head + "\n".join(self._lines)

    def errors(self, limit: int = 1500) -> str:
        """Return the distinct errors as one line of at most ``limit`` characters; empty if there are no errors."""
        return " | ".join(_unique(self._by_severity[0] + self._by_severity[1]))[:limit]

    def warnings(self) -> List[str]:
        """Return at most 20 distinct warnings among the first ``KEPT`` warnings, in order."""
        return _unique(self._by_severity[2])[:20]


def _unique(lines: List[str]) -> List[str]:
    distinct: Dict[str, None] = {}
    for line in lines:
        distinct.setdefault(" ".join(line.split()))
    return list(distinct)


_LOGS: List[Tuple[Any, Any]] = []


def of(trt: Any) -> Any:
    """Return this process's only ``ILogger`` for TensorRT, which is a ``Journal`` too and is never freed."""
    for module, existing in _LOGS:
        if module is trt:
            return existing

    class Log(trt.ILogger, Journal):  # type: ignore[misc]  # a class of a module that is known only at run time
        """Stores TensorRT's messages."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            Journal.__init__(self)

        def clear(self) -> None:
            Journal.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            """Store a message; the signature is TensorRT's."""
            self.add(int(severity), msg)

    logger = Log()
    _LOGS.append((trt, logger))
    return logger
