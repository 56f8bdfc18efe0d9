"""Report the steps of a run that may take long: when a step begins and, after two seconds, what is left of it."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

SHORT = 2.0
"""Only a step that lasts longer than these seconds shows what is left."""

REDRAWN = 1.0
"""Seconds between two texts that replace each other on a terminal."""

KEPT = (2.0, 10.0, 30.0)
"""Seconds after which a step's remaining work is printed, where a printed line cannot be replaced.

After the last of these times, a line follows every 60 s.
"""

MINUTE = 60.0


class Step:
    """A step in progress: ``done`` of ``total`` units, and the longest time in seconds that it is expected to take.

    ``total`` and ``seconds`` are ``None`` if unknown.
    """

    def __init__(self, text: str, total: int | None = None, unit: str = "", seconds: float | None = None) -> None:
        self.text = text
        self.total = total
        self.unit = unit
        self.seconds = seconds
        self.done = 0

    def advance(self, units: int = 1) -> None:
        """Count ``units`` more as done."""
        self.done += units

    def counting(self, items: Iterable[T]) -> Iterator[T]:
        """Yield ``items``, and count each as done when the next is requested."""
        for item in items:
            yield item
            self.advance()

    def remaining(self, elapsed: float) -> str:
        """Return what was done in ``elapsed`` seconds and what is left, as text."""
        parts = [f"{self.text}: {_duration(elapsed)} so far"]
        if self.total is not None:
            parts.append(f"{min(self.done, self.total):,} of {self.total:,} {self.unit}".rstrip())
        if self.total is not None and 0 < self.done <= self.total:
            parts.append(f"about {_duration(elapsed / self.done * (self.total - self.done))} left")
        elif self.seconds is not None:
            left = self.seconds - elapsed
            parts.append(f"at most {_duration(left)} left" if left > 0 else "longer than expected")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 2 * MINUTE else f"{seconds / MINUTE:.0f} min"


class Progress:
    """Prints the steps of a run through ``line``, a function that prints one line.

    A subclass that can replace a line overrides ``replace``. Of nested steps, only the innermost shows what is left.
    """

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line = line
        self._open: list[Step] = []
        self._lock = threading.RLock()

    def __call__(self, text: str) -> None:
        """Print one line."""
        with self._lock:
            self._line(text)

    def begins(self, seconds: float | None) -> None:
        """For subclasses: is called before each step; ``seconds`` is its longest expected time, ``None`` if unknown."""

    def lasts(self) -> None:
        """For subclasses: is called each second while a step of unknown length lasts, from another thread."""

    def replace(self, text: str) -> bool:
        """For subclasses: replace the shown text by ``text``, which may be empty. Return whether that was possible."""
        del text
        return False

    @contextlib.contextmanager
    def step(
        self, text: str, *, total: int | None = None, unit: str = "", seconds: float | None = None, said: bool = True
    ) -> Iterator[Step]:
        """Print ``text`` and, while the ``with`` block takes longer than two seconds, what is left of it.

        ``Step.advance`` counts up to ``total``, in the unit ``unit``. ``seconds`` is the longest expected time. If
        ``said`` is false, ``text`` is not printed at the start.
        """
        step, over = Step(text, total, unit, seconds), threading.Event()
        self.begins(seconds)
        if said:
            self(text)
        self._open.append(step)
        # Without a total there is nothing new to report two seconds after the first line: skip that report.
        first = 1 if said and total is None else 0
        watcher = threading.Thread(target=self._watch, args=(step, over, first), daemon=True, name="hil progress")
        watcher.start()
        try:
            yield step
        finally:
            over.set()
            watcher.join()
            self._open.remove(step)

    def _watch(self, step: Step, over: threading.Event, reported: int) -> None:
        began, replaced = time.monotonic(), False
        wait = SHORT
        while not over.wait(wait):
            wait, elapsed = REDRAWN, time.monotonic() - began
            if self._open[-1:] != [step]:
                continue
            if step.seconds is None:
                self.lasts()
            text = step.remaining(elapsed)
            with contextlib.suppress(OSError, ValueError), self._lock:  # the terminal may be closed at the end
                replaced = self.replace(text)
                due = KEPT[reported] if reported < len(KEPT) else MINUTE * (reported - len(KEPT) + 1)
                if not replaced and elapsed >= due:
                    reported += 1
                    self._line(text)
        if replaced:
            with contextlib.suppress(OSError, ValueError), self._lock:
                self.replace("")


def as_progress(line: Callable[[str], None]) -> Progress:
    """Return ``line`` itself if it shows steps, else a ``Progress`` that prints through it."""
    return line if isinstance(line, Progress) else Progress(line)
