"""Defines the operations of a worker that measure its engine: times, throughput, layers and memory."""

import contextlib
import json
import os
import time
from abc import ABC, abstractmethod
from functools import partial
from math import gcd
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .. import failure
from ..failure import Failure
from ..machine import device_memory
from ..machine import process_memory as memory
from . import timed_loop
from .control import Control, LoadedControl

LARGEST_LISTING = 900 << 10  # bytes; a header has at most 1 MiB
LISTED_NODES = 1000
INFINITE = float("inf")

Answer = Tuple[Dict[str, Any], List[Any]]


class Measuring(ABC):
    """The operations of ``worker.Worker`` that measure its engine. ``Worker`` loads the engine and reads the feeds."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.peak = memory.Peak()
        self.runs = 0
        self.load_request: Dict[str, Any] = {}
        self.loaded_control = LoadedControl()

    @abstractmethod
    def _feeds(self, request: Dict[str, Any]) -> List[Dict[str, Any]]:
        """Return the request's feeds, checked against the engine's inputs."""

    def time(self, request: Dict[str, Any]) -> Answer:
        """Warm up, then time inferences back to back. Return all samples, with device times if the runtime has them.

        A control, if one is requested, is timed before, between and after them.
        """
        feeds = self._feeds(request)
        control = self.loaded_control.of(request.get("control"), request["warmup"] + request["seconds"])
        with self._bound(request, [(feed, 0) for feed in feeds]) as bounds:
            calls = [bound.run for bound in bounds]
            clocks = [bound.device_seconds for bound in bounds if bound.device_seconds is not None]
            clocks = clocks if len(clocks) == len(calls) else []
            with _around(control):
                self.peak.begin()
                warmup = timed_loop.warm_up(calls, request["warmup"])
                window = _window(request, warmup)
                gap = INFINITE if control is None else control.plan(warmup.each, window.seconds)
                series = timed_loop.measure(calls, window, clocks, control, gap)
                self.peak.end()
        return self._timed(request, feeds, warmup, series, control)

    def throughput(self, request: Dict[str, Any]) -> Answer:
        """Time inferences as ``time`` does, but with ``streams`` inferences in flight, and without device times.

        A control is timed only before and after the series. Raise ``Failure`` if the runtime or the loaded engine
        cannot have ``streams`` inferences in flight.
        """
        feeds, streams = self._feeds(request), int(request["streams"])
        if not 1 <= streams <= self.engine.slots:
            what = "the engine was loaded for %d inferences in flight, not %d" % (self.engine.slots, streams)
            raise Failure(failure.UNSUPPORTED, what, "set streams = 1 in [models.M.run], or use a runtime with streams")
        control = self.loaded_control.of(request.get("control"), request["warmup"] + request["seconds"])
        rounds = len(feeds) * streams // gcd(len(feeds), streams)  # until a feed is bound to the same slot again
        with self._bound(request, [(feeds[at % len(feeds)], at % streams) for at in range(rounds)]) as bounds:
            if any(bound.start is None or bound.finish is None for bound in bounds):
                what = "the runtime %s cannot keep several inferences in flight" % self.load_request["runtime"]
                raise Failure(failure.UNSUPPORTED, what, "set streams = 1 in [models.M.run]")
            with _around(control):
                self.peak.begin()
                flight = timed_loop.Flight(bounds, streams)
                warmup = timed_loop.warm_up([flight.step], request["warmup"])
                flight.land()
                series = timed_loop.fly(bounds, streams, _window(request, warmup))
                self.peak.end()
        return self._timed(request, feeds, warmup, series, control, streams)

    def pace(self, request: Dict[str, Any]) -> Answer:
        """Time inferences as ``time`` does, but start one every ``period`` seconds (later if the previous one is late).

        A second warm-up of ``warmup`` seconds has this period too. A control is timed only before and after the series.
        """
        feeds, period, releases = self._feeds(request), float(request["period"]), int(request["releases"])
        if not period > 0 or releases < 1:
            raise Failure(failure.PROTOCOL, "invalid pace: %r releases, %r s apart" % (releases, period))
        control = self.loaded_control.of(request.get("control"), request["warmup"] + period * releases)
        with self._bound(request, [(feed, 0) for feed in feeds]) as bounds:
            calls = [bound.run for bound in bounds]
            clocks = [bound.device_seconds for bound in bounds if bound.device_seconds is not None]
            with _around(control):
                self.peak.begin()
                warmup = timed_loop.warm_up(calls, request["warmup"])
                began = time.perf_counter()
                left = max(0.0, request["budget"] - warmup.seconds)
                settling = int(request["warmup"] / period)
                settled = timed_loop.pace(calls, period, settling, left) if settling else {"start": []}
                left = max(0.0, left - (time.perf_counter() - began))
                series = timed_loop.pace(calls, period, releases, left, clocks if len(clocks) == len(calls) else ())
                self.peak.end()
        first = series.pop("first")
        self.runs += len(settled["start"])
        answer, named = self._timed(request, feeds, warmup, series, control)
        answer["method"].update(scenario="paced", period=period, wait=timed_loop.WAIT_RULE, settle=request["warmup"])
        answer["pace"] = {"first": first, "period": period, "releases": releases}
        return answer, named

    def control(self, request: Dict[str, Any]) -> Answer:
        """Time the control alone, after a measurement of ``seconds``, such as a cold start."""
        control = self.loaded_control.of(request["control"], request["seconds"])
        if control is None:
            raise Failure(failure.PROTOCOL, "no control is requested")
        with _around(control):
            pass
        return {"control": control.report()}, sorted(_as_arrays(_columns(control)).items())

    @contextlib.contextmanager
    def _bound(self, request: Dict[str, Any], pairs: List[Tuple[Dict[str, Any], int]]) -> Iterator[List[Any]]:
        """Return a context with the binding of each pair of feed and slot (number of the inference in flight).

        With ``carry`` in the request, the feeds are steps of one sequence that begins with the states in the first
        feed.
        """
        carry = request.get("carry") or {}
        with contextlib.ExitStack() as stack:
            bounds = []
            if carry and any(slot for _, slot in pairs):
                what = "a model whose state goes from step to step can have only one inference in flight"
                raise Failure(failure.UNSUPPORTED, what, "set streams = 1 in [models.M.run]")
            if carry:
                recurrence = self.engine.recurrence(carry, {name: pairs[0][0][name] for name in carry})
                stack.callback(recurrence.close)
            for feed, slot in pairs:
                if carry:
                    step = {name: array for name, array in feed.items() if name not in carry}
                    bounds.append(recurrence.bind(step))
                else:
                    bounds.append(self.engine.bind(feed, slot))
                stack.callback(bounds[-1].close)
            yield bounds

    def _timed(  # noqa: PLR0913, PLR0917 - private: what all series share
        self,
        request: Dict[str, Any],
        feeds: List[Dict[str, Any]],
        warmup: Any,
        series: Dict[str, Any],
        control: Optional[Control],
        streams: int = 1,
    ) -> Answer:
        self.runs += warmup.runs + len(series["start"])
        method = self._method(feeds[0], request["warmup"])
        method["streams"] = streams
        if request.get("carry"):
            method["state"] = "carried from step to step"
        answer = {"warmup": warmup._asdict(), "method": method}
        if control is not None:
            answer["control"] = control.report()
            series = dict(series, **_columns(control))
        return answer, sorted(_as_arrays(series).items())

    def _method(self, feed: Dict[str, Any], warmup: float) -> Dict[str, Any]:
        first = self.engine.inputs[0].name if self.engine.inputs else None
        method = {
            "version": 1,
            "timed": "host-to-host",
            "scenario": "saturated",
            "runtime": self.load_request["runtime"],
            "batch": int(feed[first].shape[0]) if first is not None and feed[first].ndim else 1,
            "shapes": {name: list(array.shape) for name, array in sorted(feed.items())},
            "warmup": {"rule": timed_loop.WARMUP_RULE, "seconds": warmup},
            "streams": 1,
            "cuda_graph": False,
        }
        method.update(self.engine.method())
        return method

    def profile(self, request: Dict[str, Any]) -> Answer:
        """Return the slowest ``LISTED_NODES`` nodes with their mean seconds over ``runs`` inferences, by a profiler."""
        feed = self._feeds(request)[0]
        costs = self.engine.profile(feed, request["runs"])[:LISTED_NODES]
        return {"nodes": [dict(cost._asdict(), name=failure.short(cost.name, 500)) for cost in costs]}, []

    def layers(self, request: Dict[str, Any]) -> Answer:  # noqa: ARG002 - as every operation
        """Return the engine's ``layers``, shortened if a reply requires it; None if the runtime reports no layers.

        Raise ``Failure`` if no engine is loaded, or if even shortened layers do not fit.
        """
        if self.engine is None:
            raise Failure(failure.PROTOCOL, "no engine is loaded in this worker")
        return {"layers": _bounded(self.engine.layers())}, []

    def memory(self, request: Dict[str, Any]) -> Answer:  # noqa: ARG002 - as every operation
        """Return the memory of this process and of the machine, as ``process_memory.usage`` does."""
        return memory.usage(self.peak), []

    def soak(self, request: Dict[str, Any]) -> Answer:
        """Return readings of memory over many inferences.

        Host memory excludes the segment shared with the supervisor.

        GPU memory is that of this process (``by_process``) with ``watched`` in the request, otherwise that of all
        processes. ``trimmed`` is the result of ``process_memory.return_free_memory``.
        """
        feeds, watched = self._feeds(request), request.get("watched")
        read_device = None if self.engine.device_bytes() is None else self.engine.device_bytes
        if watched is not None:
            read_device = partial(_of_process, device_memory.open_device_memory(watched), os.getpid())
        with self._bound(request, [(feed, 0) for feed in feeds]) as bounds:
            calls = [bound.run for bound in bounds]
            segment = memory.shared()
            trimmed = memory.return_free_memory()
            self.peak.begin()
            length = timed_loop.SoakLength(*(request[name] for name in timed_loop.SoakLength._fields))
            table = timed_loop.soak(calls, length, lambda: memory.resident() - segment, read_device)
            self.peak.end()
        self.runs += table["runs"][-1]
        return {"by_process": watched is not None, "trimmed": trimmed}, sorted(_as_arrays(table).items())


@contextlib.contextmanager
def _around(control: Optional[Control]) -> Iterator[None]:
    """Return a context with windows of the control before and after it."""
    if control is not None:
        control.before()
    yield
    if control is not None:
        control.after()


def _columns(control: Control) -> Dict[str, Any]:
    return {"control_start": control.start, "control_duration": control.duration}


def _window(request: Dict[str, Any], warmup: Any) -> timed_loop.Window:
    budget = max(0.0, request["budget"] - warmup.seconds)
    return timed_loop.Window(request["seconds"], request["min_samples"], request["max_samples"], budget)


def _bounded(layers: Any) -> Any:
    """Shorten layer names, and drop the ONNX nodes if needed, so that the layers fit into a frame's header.

    Raise ``Failure`` if the shortened layers do not fit.
    """
    if layers is None:
        return None
    cut = [dict(layer, name=failure.short(layer["name"], 300)) for layer in layers]
    if len(json.dumps(cut)) > LARGEST_LISTING:
        cut = [dict(layer, onnx=[], name=failure.short(layer["name"], 100)) for layer in cut]
    if len(json.dumps(cut)) > LARGEST_LISTING:
        what = "the engine has %d layers, more than can be listed" % len(cut)
        raise Failure(failure.UNSUPPORTED, what, "omit the placement checks for this model")
    return cut


def _of_process(opened: device_memory.DeviceMemory, pid: int) -> int:
    """Return the bytes of process ``pid`` on its GPU, or 0 if no list contains it; the host treats 0 as unreadable."""
    return opened.process(pid) or 0


def _as_arrays(table: Dict[str, Any]) -> Dict[str, Any]:
    import numpy as np

    return {name: np.frombuffer(column, dtype=column.typecode) for name, column in table.items()}
