"""Time the control, a fixed workload, in short windows before, between and after the inferences of a series."""

import time
from array import array
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..failure import short
from ..runtimes import runtime

WINDOW = 0.002
"""Seconds of a window: less than a scheduler's time slice, so that another process interrupts few windows.

An interrupted window takes as much of the control's share of the time as several others.
"""

FEWEST = 3
"""The fewest inferences of a window."""

LEAD = 0.001
"""Seconds before a window in which the workload runs unrecorded, at least once, because the caches are cold."""

SETTLE = 0.005
"""Seconds after a window in which the series' inferences, at least two, are discarded, because the caches are cold."""

AROUND = 6
"""The most windows before and after a series."""

MOST = 40
"""The most windows between the inferences of a series."""

Call = Callable[[], Any]


class Control:
    """The windows beside one series; they take at most about ``share`` of the series' ``seconds``.

    ``run`` runs the workload once. An error of the workload ends the control, not the series.

    Attributes:
        start, duration: of each inference of the workload that was recorded, in seconds.
        sizes: the number of inferences in each window.
        cuts: the numbers of the series' inferences before which a pause was made.
        spent: the seconds that the windows and the discarded inferences took.
        why_not: why there is no control; empty if there is one.
    """

    def __init__(self, run: Call, share: float, seconds: float, why_not: str = "") -> None:
        self._run = run
        self._left = share * seconds
        self.start, self.duration = array("d"), array("d")
        self.sizes: List[int] = []
        self.cuts: List[int] = []
        self.spent = 0.0
        self.why_not = why_not
        if not why_not and self._left < LEAD + WINDOW:
            self.why_not = "the series is too short for a control"
        self._cost = 0.0  # of a window, in seconds
        self._gap = float("inf")  # between pauses, in seconds
        self._settle = SETTLE

    def before(self) -> None:
        """Run the workload for the first time, and take the windows before a series."""
        if not self.why_not:
            self._guarded(self._before)

    def after(self) -> None:
        """Take the windows after a series."""
        if not self.why_not:
            self._guarded(partial(self._windows, AROUND))

    def report(self) -> Dict[str, Any]:
        """Return what the host is sent besides ``start`` and ``duration``."""
        return {"sizes": self.sizes, "cuts": self.cuts, "seconds": self.spent, "why_not": self.why_not}

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as problem:  # noqa: BLE001 - whatever a runtime raises
            self.why_not = "the control failed: %s" % short(problem, 500)

    def _before(self) -> None:
        began = time.perf_counter()
        self._run()
        times = [time.perf_counter()]
        for _ in range(FEWEST):
            self._run()
            times.append(time.perf_counter())
        each = min(last - first for first, last in zip(times, times[1:]))  # another process may interrupt one of them
        self._cost = max(LEAD, each) + max(WINDOW, FEWEST * each)
        self._spend(began)
        if self._left < self._cost:
            self.why_not = "an inference of the control takes %.2g s, too long for its share of the time" % each
        else:
            self._windows(max(1, min(AROUND, int(self._left / self._cost / 3))))

    def plan(self, each: float, seconds: float) -> float:
        """Return the seconds until the first pause of a series, whose inferences take about ``each`` seconds.

        ``seconds`` is the length of the series. Return infinity if no pause is possible, or if ``each`` is 0 (unknown).
        """
        if self.why_not or not each:
            return float("inf")
        self._settle = max(SETTLE, 2 * each)
        reserved = min(AROUND, len(self.sizes)) * self._cost
        pauses = min(MOST, int(max(0.0, self._left - reserved) / (self._cost + self._settle + each)))
        if pauses > 0:
            self._gap = seconds / (pauses + 1)
        return self._gap

    def pause(self, done: int, calls: Sequence[Call]) -> Tuple[float, float]:
        """Take a window, then discard inferences of the series until its caches are warm again.

        ``done`` inferences of the series were recorded; ``calls`` run its inferences, in turn. Return the seconds that
        the pause took, and the seconds until the next pause (infinity if there is no next pause). An exception of an
        inference of the series is raised.
        """
        began = time.perf_counter()
        self._guarded(self._window)
        number, settled = 0, time.perf_counter()
        while number < 2 or time.perf_counter() - settled < self._settle:
            calls[(done + number) % len(calls)]()
            number += 1
        self.cuts.append(done)
        took = self._spend(settled) - began
        over = self.why_not or self._left < self._cost + self._settle
        return took, float("inf") if over else self._gap

    def _windows(self, most: int) -> None:
        while most > 0 and self._left >= self._cost:
            self._window()
            most -= 1

    def _window(self) -> None:
        clock = time.perf_counter
        began = clock()
        self._run()
        while clock() - began < LEAD:
            self._run()
        size = 0
        opened = clock()
        while True:
            before = clock()
            self._run()
            after = clock()
            self.start.append(before)
            self.duration.append(after - before)
            size += 1
            if size >= FEWEST and after - opened >= WINDOW:
                break
        self.sizes.append(size)
        self._spend(began)

    def _spend(self, since: float) -> float:
        now = time.perf_counter()
        self.spent += now - since
        self._left -= now - since
        return now


class LoadedControl:
    """The engine of the control in this process, loaded when it is first needed."""

    def __init__(self) -> None:
        self._order: Any = None
        self._engine: Any = None
        self._run: Call = list

    def of(self, order: Optional[Mapping[str, Any]], seconds: float) -> Optional[Control]:
        """Return the control beside a series of ``seconds``; None if ``order`` is None. Raise nothing.

        ``order`` has ``runtime``, ``path`` and ``options`` of the control's engine, and ``share``; or ``why_not``, why
        there is no engine.
        """
        if order is None:
            return None
        why_not = str(order.get("why_not") or "")
        if not why_not:
            try:
                self._load([order[key] for key in ("runtime", "path", "options")])
            except Exception as problem:  # noqa: BLE001 - whatever a runtime raises
                why_not = "the control cannot be loaded: %s" % short(problem, 500)
        return Control(self._run, float(order.get("share") or 0), seconds, why_not)

    def _load(self, order: List[Any]) -> None:
        import numpy as np

        if self._order == order:
            return
        if self._engine is not None:
            self._engine.close()
            self._engine = self._order = None
        name, path, options = order
        engine = runtime(name).load(path, options)
        feed = {port.name: np.full(port.shape, 0.5, dtype=port.dtype) for port in engine.inputs}
        engine.check(feed)
        self._engine, self._run, self._order = engine, engine.bind(feed).run, order
