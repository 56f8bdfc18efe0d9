"""Timing inferences: warm up until stable, then each one host to host, back to back or at a fixed pace."""

import contextlib
import gc
import time
from array import array
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

WARMUP_RULE = "v1: at least warmup seconds, until medians of two windows agree within 5 %, at most 4 x warmup + 1 s"
AGREE = 0.05
WINDOW_RUNS = 5
SPIN = 5e-4
"""Seconds before a release in which the clock is asked instead of slept: a sleep may end a tenth of a ms late."""

WAIT_RULE = "v1: sleep until 0.5 ms before the release, then spin"

Call = Callable[[], Any]


class Warmup(NamedTuple):
    """How warming up went; ``stable`` is False when the cap came first."""

    runs: int
    seconds: float
    stable: bool


class Window(NamedTuple):
    """When timing may stop: after ``seconds`` and ``min_samples``, at ``max_samples``, or after ``budget`` seconds."""

    seconds: float
    min_samples: int
    max_samples: int
    budget: float


def warm_up(calls: Sequence[Call], seconds: float) -> Warmup:
    """Runs ``calls`` in turn by ``WARMUP_RULE``; a window lasts a quarter of ``seconds`` and five runs or more."""
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


def _agree(one: float, other: float) -> bool:
    return abs(one - other) <= AGREE * max(one, other)


def measure(
    calls: Sequence[Call], window: Window, clocks: Sequence[Callable[[], float]] = ()
) -> Dict[str, "array[float]"]:
    """Times ``calls`` in turn, every one of them; nothing is dropped.

    The loop around the timed call is kept to what a bare script would have, since it shows in the
    rate, and the garbage collector is off, since a collection would show in a sample. ``clocks``, one for
    each call, tell the last run's seconds on the device; they are read after the host's clock has stopped.
    """
    clock = time.perf_counter
    start, duration, device = array("d"), array("d"), array("d")
    with _no_collector():
        began = clock()  # after a last collection, so that the series spans all of the seconds asked for
        enough, latest = began + window.seconds, began + window.budget
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
            if after >= latest or (after >= enough and done >= window.min_samples):
                break
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
    """Up to ``lanes`` inferences under way at once, by one thread: the oldest is waited for, then the next starts.

    The k-th inference is ``bounds[k % len(bounds)]``, which must be bound to slot ``k % lanes``.
    """

    def __init__(self, bounds: Sequence[Any], lanes: int) -> None:
        if len(bounds) % lanes:
            raise ValueError("%d bound feeds do not go round %d lanes" % (len(bounds), lanes))
        self.turns = [(bound.start, bound.finish) for bound in bounds]
        self.lanes = lanes
        self.begun = 0
        self.ended = 0

    def step(self) -> None:
        """Waits for the oldest where all lanes are taken, then starts one more."""
        if self.begun - self.ended == self.lanes:
            self.turns[self.ended % len(self.turns)][1]()
            self.ended += 1
        self.turns[self.begun % len(self.turns)][0]()
        self.begun += 1

    def land(self) -> None:
        """Waits for all that is under way."""
        while self.ended < self.begun:
            self.turns[self.ended % len(self.turns)][1]()
            self.ended += 1


def fly(bounds: Sequence[Any], lanes: int, window: Window) -> Dict[str, "array[float]"]:
    """``measure`` with ``lanes`` inferences under way; a duration is from an inference's start to its completion.

    Every inference that was started is in the series, those that were still under way at the end too.
    """
    clock = time.perf_counter
    flight = Flight(bounds, lanes)
    turns, count = flight.turns, len(flight.turns)
    start, duration = array("d"), array("d")
    began = clock()
    enough, latest = began + window.seconds, began + window.budget
    with _no_collector():
        begun = ended = 0
        going = window.max_samples > 0
        while going or ended < begun:
            if not going or begun - ended == lanes:
                turns[ended % count][1]()
                after = clock()
                duration.append(after - start[ended])
                ended += 1
                if after >= latest or (after >= enough and begun >= window.min_samples):
                    going = False
            if going:
                start.append(clock())
                turns[begun % count][0]()
                begun += 1
                going = begun < window.max_samples
    return {"start": start, "duration": duration}


def pace(
    calls: Sequence[Call], period: float, releases: int, budget: float, clocks: Sequence[Callable[[], float]] = ()
) -> Dict[str, Any]:
    """Times ``calls`` in turn, the k-th of ``releases`` not before its release at ``first + k * period`` seconds.

    Release times are fixed before the first: one inference that ends late makes the next start late, and that lateness
    is part of the next one's response, which counts from its release. Were releases put off instead, a stall would
    show in one sample and not in the many that a camera would have sent meanwhile ("coordinated omission", Tene 2013).
    Returns the columns of ``measure`` and ``first``; fewer than ``releases`` rows where ``budget`` seconds were over.
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


def soak(
    calls: Sequence[Call],
    runs: int,
    read: Callable[[], int],
    budget: float,
    read_device: Optional[Callable[[], int]] = None,
) -> Dict[str, "array[Any]"]:
    """``runs`` inferences with memory read about 200 times on the way.

    Returns ``t`` (seconds since the start), ``runs`` (inferences done) and ``rss`` (bytes), one value a reading;
    ``device`` (bytes) too where ``read_device`` is given.
    """
    clock = time.perf_counter
    began = clock()
    each = max(1, runs // 200)
    table: Dict[str, array[Any]] = {"t": array("d"), "runs": array("q"), "rss": array("q")}
    if read_device is not None:
        table["device"] = array("q")
    for done in range(runs + 1):
        late = clock() - began >= budget
        if done % each == 0 or done == runs or late:
            table["t"].append(clock() - began)
            table["runs"].append(done)
            table["rss"].append(read())
            if read_device is not None:
                table["device"].append(read_device())
        if late or done == runs:
            break
        calls[done % len(calls)]()
    return table
