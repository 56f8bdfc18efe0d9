"""Time inferences host to host: warm up until times are stable, then run back to back or at a fixed period."""

import contextlib
import gc
import time
from array import array
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from .control import Control

WARMUP_RULE = "v1: at least warmup seconds, until medians of two windows agree within 5 %, at most 4 x warmup + 1 s"
AGREE = 0.05
WINDOW_RUNS = 5
SPIN = 5e-4
"""Seconds before a release in which the loop spins instead of sleeping: a sleep may end 0.1 ms late."""

READINGS = 200
"""The approximate number of times that a soak reads memory."""

WAIT_RULE = "v1: sleep until 0.5 ms before the release, then spin"

Call = Callable[[], Any]


class Warmup(NamedTuple):
    """Result of warming up; ``stable`` is False if the time limit ended the warm-up, or if no warm-up was requested."""

    runs: int
    seconds: float
    stable: bool

    @property
    def each(self) -> float:
        """The mean seconds of an inference; 0 if none was run."""
        return self.seconds / self.runs if self.runs else 0.0


class Window(NamedTuple):
    """When timing stops: once ``seconds`` and ``min_samples`` are both reached, at ``max_samples``, or at ``budget``.

    ``seconds`` and ``budget`` both count from the first inference; pauses for the control extend ``seconds``.
    """

    seconds: float
    min_samples: int
    max_samples: int
    budget: float


def warm_up(calls: Sequence[Call], seconds: float) -> Warmup:
    """Run ``calls`` in turn until ``WARMUP_RULE`` is met; run none if ``seconds`` is 0.

    A window of this rule lasts at least a quarter of ``seconds`` and at least ``WINDOW_RUNS`` runs.
    """
    clock = time.perf_counter
    began = clock()
    cap = 4 * seconds + 1
    medians: List[float] = []
    runs = 0
    while seconds > 0:
        window = array("d")
        opened = clock()
        while len(window) < WINDOW_RUNS or clock() - opened < seconds / 4:
            before = clock()
            calls[runs % len(calls)]()
            window.append(clock() - before)
            runs += 1
            if clock() - began > cap:
                return Warmup(runs, clock() - began, stable=False)
        medians.append(sorted(window)[len(window) // 2])
        if clock() - began >= seconds and len(medians) > 1 and _agree(medians[-1], medians[-2]):
            return Warmup(runs, clock() - began, stable=True)
    return Warmup(0, 0.0, stable=False)


def _agree(first: float, second: float) -> bool:
    return abs(first - second) <= AGREE * max(first, second)


def measure(
    calls: Sequence[Call],
    window: Window,
    clocks: Sequence[Callable[[], float]] = (),
    control: Optional[Control] = None,
    gap: float = float("inf"),
) -> Dict[str, "array[float]"]:
    """Time ``calls`` in turn and return the columns ``start`` and ``duration`` (seconds); no sample is dropped.

    ``clocks``, one for each call, add the column ``device``: the seconds that the call's latest run took on the device.
    After ``gap`` seconds, and then as ``control`` decides, the series pauses for the control. Pauses extend
    ``window.seconds``, but not ``window.budget``.
    """
    clock = time.perf_counter
    start, duration, device = array("d"), array("d"), array("d")
    with _no_collector():
        began = clock()  # after the last garbage collection, so that the series covers the requested seconds
        enough, latest, due = began + window.seconds, began + window.budget, began + gap
        pauses: List[Tuple[int, float]] = []
        done = 0
        while done < window.max_samples:
            at = done % len(calls)
            call = calls[at]
            before = clock()
            call()
            after = clock()
            start.append(before)
            duration.append(after - before)
            if clocks:
                device.append(clocks[at]())
            done += 1
            if after >= latest:
                break
            if after >= enough and done >= window.min_samples:
                # The first inference begins a moment after the clock was read, and so does the first after a pause.
                left = window.seconds - (after - start[0] - sum(start[at] - end for at, end in pauses))
                if left <= 0:
                    break
                enough = after + left
            if after >= due and control is not None:
                took, gap = control.pause(done, calls)
                pauses.append((done, after))
                enough, due = enough + took, after + took + gap
    series = {"start": start, "duration": duration}
    if clocks:
        series["device"] = device
    return series


@contextlib.contextmanager
def _no_collector() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Flight:
    """Keeps up to ``streams`` inferences in flight from one thread: waits for the oldest, then starts the next.

    The k-th inference is ``bounds[k % len(bounds)]``, which must be bound to slot ``k % streams``.
    """

    def __init__(self, bounds: Sequence[Any], streams: int) -> None:
        if len(bounds) % streams:
            raise ValueError("%d bound feeds are not a multiple of %d streams" % (len(bounds), streams))
        self.pairs = [(bound.start, bound.finish) for bound in bounds]
        self.streams = streams
        self.started = 0
        self.ended = 0

    def step(self) -> None:
        """Wait for the oldest inference if ``streams`` are in flight, then start one more."""
        if self.started - self.ended == self.streams:
            self.pairs[self.ended % len(self.pairs)][1]()
            self.ended += 1
        self.pairs[self.started % len(self.pairs)][0]()
        self.started += 1

    def land(self) -> None:
        """Wait for all inferences in flight."""
        while self.ended < self.started:
            self.pairs[self.ended % len(self.pairs)][1]()
            self.ended += 1


def fly(bounds: Sequence[Any], streams: int, window: Window) -> Dict[str, "array[float]"]:
    """Time as ``measure`` does, with ``streams`` inferences in flight; each duration is from start to completion.

    Every started inference is in the series, also those still in flight when the window ends.
    """
    clock = time.perf_counter
    flight = Flight(bounds, streams)
    pairs, count = flight.pairs, len(flight.pairs)
    start, duration = array("d"), array("d")
    with _no_collector():
        latest = clock() + window.budget
        started = ended = 0
        going = window.max_samples > 0
        while going or ended < started:
            if not going or started - ended == streams:
                pairs[ended % count][1]()
                after = clock()
                duration.append(after - start[ended])
                ended += 1
                if after >= latest or (after - start[0] >= window.seconds and started >= window.min_samples):
                    going = False
            if going:
                start.append(clock())
                pairs[started % count][0]()
                started += 1
                going = started < window.max_samples
    return {"start": start, "duration": duration}


def pace(
    calls: Sequence[Call], period: float, releases: int, budget: float, clocks: Sequence[Callable[[], float]] = ()
) -> Dict[str, Any]:
    """Time ``calls`` in turn; the k-th of ``releases`` starts at ``first + k * period`` seconds or later.

    Return the columns of ``measure``, and ``first``, the time of the first release. The columns have fewer than
    ``releases`` rows if ``budget`` seconds pass before. Fixed releases avoid "coordinated omission" (Tene 2013).
    """
    clock = time.perf_counter
    start, duration, device = array("d"), array("d"), array("d")
    with _no_collector():
        began = clock()
        first = began + max(SPIN, min(period, 0.1))
        for done in range(releases):
            at = done % len(calls)
            call = calls[at]
            _wait_until(first + done * period, clock)
            before = clock()
            call()
            after = clock()
            start.append(before)
            duration.append(after - before)
            if clocks:
                device.append(clocks[at]())
            if after - began >= budget:
                break
    series: Dict[str, Any] = {"start": start, "duration": duration, "first": first}
    if clocks:
        series["device"] = device
    return series


def _wait_until(release: float, clock: Callable[[], float]) -> None:
    ahead = release - clock() - SPIN
    if ahead > 0:
        time.sleep(ahead)
    while clock() < release:
        pass


class SoakLength(NamedTuple):
    """When a soak ends: after ``most`` inferences, when both ``seconds`` and ``fewest`` are reached, or at ``budget``.

    ``seconds`` and ``budget`` count from the start of the soak. If ``seconds`` is None, only ``most`` and ``budget``
    end it. It is extended to ``settled`` inferences if that takes at most ``longest`` seconds in all.
    """

    most: int
    seconds: Optional[float]
    fewest: int
    budget: float
    settled: int = 0
    longest: float = 0.0

    def is_over(self, done: int, elapsed: float) -> bool:
        """Return whether the soak ends after ``done`` inferences in ``elapsed`` seconds."""
        if done >= self.most or elapsed >= self.budget:
            return True
        if self.seconds is None or elapsed < self.seconds or done < self.fewest:
            return False
        return done >= self.settled or elapsed * self.settled > self.longest * done


def soak(
    calls: Sequence[Call],
    length: SoakLength,
    read: Callable[[], int],
    read_device: Optional[Callable[[], int]] = None,
) -> Dict[str, "array[Any]"]:
    """Run inferences for ``length``, and read memory at the start, at regular intervals and at the end.

    Return the columns ``t`` (seconds since the start), ``runs`` (inferences done), ``rss`` (from ``read``, bytes) and,
    with ``read_device``, ``device`` (bytes). There are about ``READINGS`` rows or a few times as many, but at most one
    before each inference and one at the end.
    """
    clock = time.perf_counter
    began = clock()
    interval = max(1, length.most // READINGS)
    pause = float("inf") if length.seconds is None else length.seconds / READINGS
    read_at = began
    table: Dict[str, array[Any]] = {"t": array("d"), "runs": array("q"), "rss": array("q")}
    if read_device is not None:
        table["device"] = array("q")
    for done in range(length.most + 1):
        now = clock()
        last = length.is_over(done, now - began)
        if last or done % interval == 0 or now - read_at >= pause:
            read_at = now
            table["t"].append(now - began)
            table["runs"].append(done)
            table["rss"].append(read())
            if read_device is not None:
                table["device"].append(read_device())
        if last:
            break
        calls[done % len(calls)]()
    return table
