"""One engine's process: takes requests from the supervisor, finds tensors in the shared segment.

Anything here may crash, hang or be killed; the supervisor outlives it and says so.
"""

import ctypes
import faulthandler
import os
import resource
import signal
import sys
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from .. import failure
from ..failure import Failure
from ..machine import process_memory as memory
from ..protocol import wire
from ..protocol.channel import Channel
from ..protocol.segment import Segment
from .measuring import Answer, Measuring

PR_SET_PDEATHSIG = 1  # linux/prctl.h
OOM_FIRST = 900  # of 1000: this process, not sshd or the supervisor, goes when memory runs out


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


class Worker(Measuring):
    """Holds at most one engine and answers requests one at a time."""

    def __init__(self, channel: Channel, segment: Segment) -> None:
        super().__init__()
        self.channel = channel
        self.segment = segment
        self.broken = False
        self.started: Optional[Started] = None
        self.builders: Dict[str, Any] = {}  # runtimes that have built here, with what they keep for the next build
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
            "pace": self.pace,
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
        except ImportError as problem:
            what = "%s cannot load what an engine runs with: %s" % (sys.executable, failure.short(problem))
            return {"error": Failure(failure.MISSING, what, "`hil doctor` tells the command that mends it").reply()}
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
        from ..protocol import arrays

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
        from ..protocol import arrays

        body = request.get("body", 0)
        view = self.segment.view(0, body)
        bytes(view[:: memory.PAGE])  # one byte a page: what is shared must not grow while the peak is watched
        return arrays.views(view, wire.slots(request, body))

    def _feeds(self, request: Dict[str, Any]) -> List[Dict[str, Any]]:
        from ..protocol import arrays

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
        from ..machine import probe

        return probe.libraries(), []

    def build(self, request: Dict[str, Any]) -> Answer:
        """Makes an engine file; see ``Runtime.build``. Its process is ``kept`` where it has built before."""
        from ..runtimes import runtime

        began = time.perf_counter()
        name = request["runtime"]
        about: Dict[str, Any] = {"process": "kept" if name in self.builders else "fresh"}
        driver = self.builders.setdefault(name, runtime(name))
        options = dict(request["options"], more=request.get("more") is True)
        made = driver.build(request["model"], request["precision"], options, request["out"])
        about.update(made.facts)
        seconds = time.perf_counter() - began
        return {"path": made.path, "log": made.log[-65536:], "seconds": seconds, "about": about}, []

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


def _imported(request: Dict[str, Any]) -> Started:
    from ..runtimes import runtime

    resident = memory.resident()
    began = time.perf_counter()
    driver = runtime(request["runtime"])
    version = driver.version()
    return Started(driver, version, resident, time.perf_counter() - began, None)


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
