"""What a worker measures of its engine: time, throughput, layers, memory."""

import contextlib
import json
import os
import time
from abc import ABC, abstractmethod
from functools import partial
from math import gcd
from typing import Any, Dict, Iterator, List, Tuple

from .. import failure
from ..failure import Failure
from ..machine import device_memory
from ..machine import process_memory as memory
from . import timed_loop

LARGEST_LISTING = 900 << 10  # a header ends at 1 MiB
LISTED_NODES = 1000

Answer = Tuple[Dict[str, Any], List[Any]]


class Measuring(ABC):
    """The operations of ``worker.Worker`` that measure; it loads the engine and reads the feeds."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.peak = memory.Peak()
        self.runs = 0
        self.asked: Dict[str, Any] = {}

    @abstractmethod
    def _feeds(self, request: Dict[str, Any]) -> List[Dict[str, Any]]:
        """The request's inputs, checked against the engine's."""

    def time(self, request: Dict[str, Any]) -> Answer:
        """Warm-up, then inferences back to back; samples go back whole, with the device's clock where it has one."""
        feeds = self._feeds(request)
        with self._bound([(feed, 0) for feed in feeds]) as bounds:
            calls = [bound.run for bound in bounds]
            clocks = [bound.device_seconds for bound in bounds if bound.device_seconds is not None]
            self.peak.begin()
            warmup = timed_loop.warm_up(calls, request["warmup"])
            window = _window(request, warmup)
            series = timed_loop.measure(calls, window, clocks if len(clocks) == len(calls) else ())
            self.peak.end()
        return self._timed(request, feeds, warmup, series, 1)

    def throughput(self, request: Dict[str, Any]) -> Answer:
        """As ``time``, with ``streams`` inferences in flight at once."""
        feeds, lanes = self._feeds(request), int(request["streams"])
        if not 1 <= lanes <= self.engine.slots:
            what = "the engine was loaded for %d inferences in flight, not %d" % (self.engine.slots, lanes)
            raise Failure(failure.UNSUPPORTED, what, "set streams = 1 in [models.M.run], or use a runtime with streams")
        turns = len(feeds) * lanes // gcd(len(feeds), lanes)  # until a feed meets the same lane again
        with self._bound([(feeds[at % len(feeds)], at % lanes) for at in range(turns)]) as bounds:
            if any(bound.start is None or bound.finish is None for bound in bounds):
                what = "the runtime %s cannot have inferences in flight" % self.asked["runtime"]
                raise Failure(failure.UNSUPPORTED, what, "set streams = 1 in [models.M.run]")
            self.peak.begin()
            flight = timed_loop.Flight(bounds, lanes)
            warmup = timed_loop.warm_up([flight.step], request["warmup"])
            flight.land()
            series = timed_loop.fly(bounds, lanes, _window(request, warmup))
            self.peak.end()
        return self._timed(request, feeds, warmup, series, lanes)

    def pace(self, request: Dict[str, Any]) -> Answer:
        """As ``time``, but each inference at its own release time, ``period`` seconds apart.

        After the warm-up inferences are released for as long again and not counted: at a camera's rate clocks and
        caches settle elsewhere than back to back.
        """
        feeds, period, releases = self._feeds(request), float(request["period"]), int(request["releases"])
        if not period > 0 or releases < 1:
            raise Failure(failure.PROTOCOL, "nothing is released %r times, %r s apart" % (releases, period))
        with self._bound([(feed, 0) for feed in feeds]) as bounds:
            calls = [bound.run for bound in bounds]
            clocks = [bound.device_seconds for bound in bounds if bound.device_seconds is not None]
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
        answer, named = self._timed(request, feeds, warmup, series, 1)
        answer["method"].update(scenario="paced", period=period, wait=timed_loop.WAIT_RULE, settle=request["warmup"])
        answer["pace"] = {"first": first, "period": period, "releases": releases}
        return answer, named

    @contextlib.contextmanager
    def _bound(self, wanted: List[Tuple[Dict[str, Any], int]]) -> Iterator[List[Any]]:
        """Feeds bound to slots, all given back in the end."""
        with contextlib.ExitStack() as stack:
            bounds = []
            for feed, slot in wanted:
                bounds.append(self.engine.bind(feed, slot))
                stack.callback(bounds[-1].close)
            yield bounds

    def _timed(
        self, request: Dict[str, Any], feeds: List[Dict[str, Any]], warmup: Any, series: Dict[str, Any], lanes: int
    ) -> Answer:
        self.runs += warmup.runs + len(series["start"])
        method = self._method(feeds[0], request["warmup"])
        method["streams"] = lanes
        return {"warmup": warmup._asdict(), "method": method}, sorted(_as_arrays(series).items())

    def _method(self, feed: Dict[str, Any], warmup: float) -> Dict[str, Any]:
        first = self.engine.inputs[0].name if self.engine.inputs else None
        method = {
            "version": 1,
            "timed": "host-to-host",
            "scenario": "saturated",
            "runtime": self.asked["runtime"],
            "batch": int(feed[first].shape[0]) if first is not None and feed[first].ndim else 1,
            "shapes": {name: list(array.shape) for name, array in sorted(feed.items())},
            "warmup": {"rule": timed_loop.WARMUP_RULE, "seconds": warmup},
            "streams": 1,
            "cuda_graph": False,
        }
        method.update(self.engine.method())
        return method

    def profile(self, request: Dict[str, Any]) -> Answer:
        """Seconds by node on an engine of its own."""
        feed = self._feeds(request)[0]
        costs = self.engine.profile(feed, request["runs"])[:LISTED_NODES]
        return {"nodes": [dict(cost._asdict(), name=failure.short(cost.name, 500)) for cost in costs]}, []

    def layers(self, request: Dict[str, Any]) -> Answer:  # noqa: ARG002 - as every operation
        """What each layer became; None from a runtime that does not tell."""
        if self.engine is None:
            raise Failure(failure.PROTOCOL, "no engine is loaded in this worker")
        return {"layers": _bounded(self.engine.layers())}, []

    def memory(self, request: Dict[str, Any]) -> Answer:  # noqa: ARG002 - as every operation
        """See ``memory.usage``."""
        return memory.usage(self.peak), []

    def soak(self, request: Dict[str, Any]) -> Answer:
        """Memory over many inferences; the segment is left out of each reading.

        On a GPU this process's own where the supervisor found it listed (``watched``), so that no other user of
        the GPU shows; else what the driver tells of all of it.
        """
        feeds, watched = self._feeds(request), request.get("watched")
        read_device = None if self.engine.device_bytes() is None else self.engine.device_bytes
        if watched is not None:
            read_device = partial(_of_process, device_memory.open_device_memory(watched), os.getpid())
        with self._bound([(feed, 0) for feed in feeds]) as bounds:
            calls = [bound.run for bound in bounds]
            segment = memory.shared()
            self.peak.begin()
            table = timed_loop.soak(
                calls,
                request["runs"],
                lambda: memory.resident() - segment,
                request["budget"],
                read_device,
            )
            self.peak.end()
        self.runs += table["runs"][-1]
        return {"by_process": watched is not None}, sorted(_as_arrays(table).items())


def _window(request: Dict[str, Any], warmup: Any) -> timed_loop.Window:
    budget = max(0.0, request["budget"] - warmup.seconds)
    return timed_loop.Window(request["seconds"], request["min_samples"], request["max_samples"], budget)


def _bounded(layers: Any) -> Any:
    """Layers as they fit into a header: long names are cut, and the ONNX nodes left out where there are too many."""
    if layers is None:
        return None
    cut = [dict(layer, name=failure.short(layer["name"], 300)) for layer in layers]
    if len(json.dumps(cut)) > LARGEST_LISTING:
        cut = [dict(layer, onnx=[], name=failure.short(layer["name"], 100)) for layer in cut]
    if len(json.dumps(cut)) > LARGEST_LISTING:
        what = "the engine has %d layers, more than can be listed" % len(cut)
        raise Failure(failure.UNSUPPORTED, what, "leave out the checks of placement for this model")
    return cut


def _of_process(opened: device_memory.DeviceMemory, pid: int) -> int:
    """Bytes of the process on its GPU; 0, which the host takes for unreadable, where no list has it."""
    return opened.process(pid) or 0


def _as_arrays(table: Dict[str, Any]) -> Dict[str, Any]:
    import numpy as np

    return {name: np.frombuffer(column, dtype=column.typecode) for name, column in table.items()}
