"""One engine's process: takes requests from the supervisor, finds tensors in the shared segment.

Anything here may crash, hang or be killed; the supervisor outlives it and says so.
"""

import contextlib
import ctypes
import faulthandler
import json
import os
import resource
import signal
import sys
import time
from functools import partial
from math import gcd
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import device_memory, failure, memory, timing, wire
from .channel import Channel
from .failure import Failure
from .segment import Segment

PR_SET_PDEATHSIG = 1  # linux/prctl.h
OOM_FIRST = 900  # of 1000: this process, not sshd or the supervisor, goes when memory runs out
LARGEST_LISTING = 900 << 10  # a header ends at 1 MiB
LISTED_NODES = 1000

Answer = Tuple[Dict[str, Any], List[Any]]


def die_with(parent: int) -> None:
    """Has the kernel kill this process when the supervisor dies, however it dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above took effect
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(OOM_FIRST))
    except OSError:
        pass  # a container may forbid it; then the kernel's own choice stands


class Started(NamedTuple):
    """A runtime that is imported: this process's ``memory`` before, and what it took to import and open a context."""

    driver: Any
    version: Optional[str]
    memory: int
    import_seconds: float
    context_seconds: Optional[float]


class Worker:
    """Holds at most one engine and answers requests one at a time."""

    def __init__(self, channel: Channel, segment: Segment) -> None:
        self.channel = channel
        self.segment = segment
        self.engine: Any = None
        self.peak = memory.Peak()
        self.runs = 0
        self.asked: Dict[str, Any] = {}
        self.broken = False
        self.started: Optional[Started] = None
        self.table: Dict[str, Callable[[Dict[str, Any]], Answer]] = {
            "echo": self.echo,
            "facts": self.facts,
            "build": self.build,
            "start": self.start,
            "load": self.load,
            "run": self.run,
            "first": self.first,
            "time": self.time,
            "throughput": self.throughput,
            "profile": self.profile,
            "layers": self.layers,
            "memory": self.memory,
            "soak": self.soak,
        }

    def serve(self) -> None:
        """Answers until the supervisor closes the channel, or the device can no longer be used from this process."""
        while not self.broken:
            try:
                request = self.channel.receive()
            except wire.Closed:
                return
            self.channel.send(self.answer(request))

    def answer(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """The reply to one request; a foreseeable failure is an answer, anything else too, with its type."""
        try:
            self.segment.reach(request.get("reserved", 0))
            result, named = self.table[request["op"]](request)
            return self._placed(result, named, wire.aligned(request.get("body", 0)))
        except Failure as problem:
            return {"error": self._weighed(problem).reply()}
        except wire.WireError as problem:
            return {"error": Failure(failure.PROTOCOL, str(problem)).reply()}
        except MemoryError:
            return {"error": Failure(failure.ENGINE, "memory ran out", "use a smaller batch").reply()}
        except Exception as problem:  # noqa: BLE001 - whatever a runtime raises is an answer
            what = "%s in the worker: %s" % (type(problem).__name__, failure.short(problem))
            return {"error": Failure(failure.INTERNAL, what, "report this with the report's log").reply()}

    def _weighed(self, problem: Failure) -> Failure:
        """A sticky error of the device (a kernel's bad access, say) outlives the call: this process ends with it.

        It is told as the worker's death, so that nobody asks this one again.
        """
        if not getattr(problem, "sticky", False):
            return problem
        self.broken = True
        what = "%s; the device cannot be used from this process any more, so the worker (process %d) ends"
        return Failure(failure.DIED, what % (problem.message, os.getpid()), "the next check gets a fresh worker")

    def _placed(self, result: Dict[str, Any], named: List[Any], at: int) -> Dict[str, Any]:
        """Copies ``named`` arrays into the segment behind the request's own body."""
        if not named:
            return {"ok": result}
        from . import arrays

        listing, chunks = arrays.describe(named)
        size = sum(len(chunk) for chunk in chunks)
        self.segment.reserve(at + size)
        view = self.segment.view(at, size)
        offset = 0
        for chunk in chunks:
            view[offset : offset + len(chunk)] = chunk
            offset += len(chunk)
        return {"ok": result, "arrays": listing, "at": at, "body": size, "reserved": self.segment.size}

    def _named(self, request: Dict[str, Any]) -> List[Tuple[str, Any]]:
        """The request's arrays, as views of the segment, every page of them resident."""
        from . import arrays

        body = request.get("body", 0)
        view = self.segment.view(0, body)
        bytes(view[:: memory.PAGE])  # one byte a page: what is shared must not grow while the peak is watched
        return arrays.views(view, wire.slots(request, body))

    def _feeds(self, request: Dict[str, Any]) -> List[Dict[str, Any]]:
        from . import arrays

        if self.engine is None:
            raise Failure(failure.PROTOCOL, "no engine is loaded in this worker")
        named = self._named(request)
        feeds = arrays.split_feeds(named, request.get("feeds", 1))
        for feed in feeds:
            if len(feed) * len(feeds) != len(named):
                raise Failure(failure.ENGINE, "an input is given twice", "give every input once")
            self.engine.check(feed)
        return feeds

    def echo(self, request: Dict[str, Any]) -> Answer:
        """The arrays as they came, through a copy as an engine's outputs would be."""
        return {}, self._named(request)

    def facts(self, request: Dict[str, Any]) -> Answer:  # noqa: ARG002 - as every operation
        """Versions of numpy and of each runtime, and what engines depend on beside them."""
        from . import probe

        return probe.libraries(), []

    def build(self, request: Dict[str, Any]) -> Answer:
        """Makes an engine file; see ``Runtime.build``."""
        from .runtimes import runtime

        began = time.perf_counter()
        made = runtime(request["runtime"]).build(
            request["model"], request["precision"], request["options"], request["out"]
        )
        seconds = time.perf_counter() - began
        return {"path": made.path, "log": made.log[-65536:], "seconds": seconds, "about": dict(made.facts)}, []

    def start(self, request: Dict[str, Any]) -> Answer:
        """Imports the runtime and opens its context on the device, and nothing more; ``load`` goes on from there."""
        imported = _imported(request)
        began = time.perf_counter()
        imported.driver.start(request["options"])
        self.started = imported._replace(context_seconds=time.perf_counter() - began)
        return {}, []

    def load(self, request: Dict[str, Any]) -> Answer:
        """Imports the runtime and loads the engine, each timed, with this process's memory before and after."""
        started = self.started or _imported(request)
        before = memory.resident()
        began = time.perf_counter()
        self.peak.begin()
        self.engine = started.driver.load(request["path"], request["options"])
        loaded = time.perf_counter()
        self.peak.end()
        self.asked = request
        result = {
            "inputs": [port._asdict() for port in self.engine.inputs],
            "outputs": [port._asdict() for port in self.engine.outputs],
            "executed_on": self.engine.executed_on(),
            "about": self.engine.facts(),
            "load": {
                "import_seconds": started.import_seconds,
                "context_seconds": started.context_seconds,
                "load_seconds": loaded - began,
                "memory_start": started.memory,
                "memory_before": before,
                "memory_after": memory.resident(),
                "runtime_version": started.version,
            },
        }
        return result, []

    def run(self, request: Dict[str, Any]) -> Answer:
        """One inference; outputs in the engine's order."""
        return {}, self._once(request)[1]

    def first(self, request: Dict[str, Any]) -> Answer:
        """Seconds of the first inference after load; refused once anything has run."""
        if self.runs:
            raise Failure(failure.ENGINE, "the engine has run already", "load a fresh worker for the first inference")
        return {"seconds": self._once(request)[0]}, []

    def _once(self, request: Dict[str, Any]) -> Tuple[float, List[Tuple[str, Any]]]:
        bound = self.engine.bind(self._feeds(request)[0])
        try:
            self.peak.begin()
            before = time.perf_counter()
            outputs = bound.run()
            seconds = time.perf_counter() - before
            self.peak.end()
            self.runs += 1
            return seconds, [(port.name, value) for port, value in zip(self.engine.outputs, outputs)]
        finally:
            bound.close()

    def time(self, request: Dict[str, Any]) -> Answer:
        """Warm-up, then inferences back to back; samples go back whole, with the device's clock where it has one."""
        feeds = self._feeds(request)
        with self._bound([(feed, 0) for feed in feeds]) as bounds:
            calls = [bound.run for bound in bounds]
            clocks = [bound.device_seconds for bound in bounds if bound.device_seconds is not None]
            self.peak.begin()
            warmup = timing.warm_up(calls, request["warmup"])
            window = _window(request, warmup)
            series = timing.measure(calls, window, clocks if len(clocks) == len(calls) else ())
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
            flight = timing.Flight(bounds, lanes)
            warmup = timing.warm_up([flight.step], request["warmup"])
            flight.land()
            series = timing.fly(bounds, lanes, _window(request, warmup))
            self.peak.end()
        return self._timed(request, feeds, warmup, series, lanes)

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
            "warmup": {"rule": timing.WARMUP_RULE, "seconds": warmup},
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
        watched = request.get("watched")
        read_device = None if self.engine.device_bytes() is None else self.engine.device_bytes
        if watched is not None:
            read_device = partial(_of_process, device_memory.open_device_memory(watched), os.getpid())
        with self._bound([(feed, 0) for feed in self._feeds(request)]) as bounds:
            calls = [bound.run for bound in bounds]
            segment = memory.shared()
            self.peak.begin()
            table = timing.soak(
                calls,
                request["runs"],
                lambda: memory.resident() - segment,
                request["budget"],
                read_device,
            )
            self.peak.end()
        self.runs += table["runs"][-1]
        return {"by_process": watched is not None}, sorted(_as_arrays(table).items())


def _imported(request: Dict[str, Any]) -> Started:
    from .runtimes import runtime

    resident = memory.resident()
    began = time.perf_counter()
    driver = runtime(request["runtime"])
    version = driver.version()
    return Started(driver, version, resident, time.perf_counter() - began, None)


def _window(request: Dict[str, Any], warmup: Any) -> timing.Window:
    budget = max(0.0, request["budget"] - warmup.seconds)
    return timing.Window(request["seconds"], request["min_samples"], request["max_samples"], budget)


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


def main(arguments: Optional[List[str]] = None) -> None:
    """``CONTROL_FD SEGMENT_FD PARENT_PID``: serves until the channel closes."""
    control, segment, parent = (int(text) for text in arguments or sys.argv[2:5])
    die_with(parent)
    faulthandler.enable()
    for fd in (control, segment):
        os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no keyword
    Worker(Channel(control, control), Segment(segment)).serve()
    # Destructors of native libraries are none of our business, and some hang.
    os._exit(0)
