"""The process of one engine: it answers requests from the supervisor. Tensors are passed in the shared segment.

This process may crash, hang or be killed; the supervisor then continues and reports what happened.
"""

import contextlib
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
from .stepping import Sequences

PR_SET_PDEATHSIG = 1  # linux/prctl.h
OOM_FIRST = 900  # of 1000: when memory runs out, the kernel kills this process before sshd or the supervisor


def die_with(parent: int) -> None:
    """Make the kernel kill this process when its parent, the process ``parent``, dies; exit now if it has died already.

    Also disable core dumps, and make this process the first to be killed when memory runs out.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above took effect
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(OOM_FIRST))
    except OSError:
        pass  # a container may forbid it; then the kernel's default applies


class Started(NamedTuple):
    """An imported runtime.

    ``memory`` is the resident memory of this process before the import, in bytes. ``import_seconds`` and
    ``context_seconds`` are the times that the import and opening a context on the device took; ``context_seconds`` is
    None if ``load`` opens the context.
    """

    driver: Any
    version: Optional[str]
    memory: int
    import_seconds: float
    context_seconds: Optional[float]


class Worker(Measuring):
    """Holds at most one engine and answers one request at a time."""

    def __init__(self, channel: Channel, segment: Segment) -> None:
        super().__init__()
        self.channel = channel
        self.segment = segment
        self.broken = False
        self.started: Optional[Started] = None
        self.sequences = Sequences()
        self.builders: Dict[str, Any] = {}  # runtimes that have built here; each keeps what its next build reuses
        self.table: Dict[str, Callable[[Dict[str, Any]], Answer]] = {
            "echo": self.echo,
            "facts": self.facts,
            "build": self.build,
            "start": self.start,
            "load": self.load,
            "run": self.run,
            "sequence": self.sequence,
            "first": self.first,
            "time": self.time,
            "throughput": self.throughput,
            "pace": self.pace,
            "control": self.control,
            "profile": self.profile,
            "layers": self.layers,
            "memory": self.memory,
            "soak": self.soak,
        }

    def serve(self) -> None:
        """Answer requests until the supervisor closes the channel or the device becomes unusable in this process."""
        while not self.broken:
            try:
                request = self.channel.receive()
            except wire.Closed:
                return
            self.channel.send(self.answer(request))

    def answer(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Return the reply to one request. Any exception becomes an ``error`` reply."""
        try:
            self.segment.reach(request.get("reserved", 0))
            result, named = self.table[request["op"]](request)
            return self._reply(result, named, wire.aligned(request.get("body", 0)))
        except Failure as problem:
            return {"error": self._as_death(problem).reply()}
        except wire.WireError as problem:
            return {"error": Failure(failure.PROTOCOL, str(problem)).reply()}
        except MemoryError:
            return {"error": Failure(failure.ENGINE, "memory ran out", "use a smaller batch").reply()}
        except ImportError as problem:
            what = "%s cannot load the libraries that run an engine: %s" % (sys.executable, failure.short(problem))
            return {"error": Failure(failure.MISSING, what, "run `hil doctor`: it shows the fix").reply()}
        except Exception as problem:  # noqa: BLE001 - whatever a runtime raises is an answer
            what = "%s in the worker: %s" % (type(problem).__name__, failure.short(problem))
            return {"error": Failure(failure.INTERNAL, what, "report this as a bug, with the report's log").reply()}

    def _as_death(self, problem: Failure) -> Failure:
        """Return ``problem``, or a failure of kind ``DIED`` if it is a sticky device error (an illegal access, e.g.).

        After a sticky error, this process ends after its reply.
        """
        if not getattr(problem, "sticky", False):
            return problem
        self.broken = True
        what = "%s; the device cannot be used from this process any more, so the worker (process %d) ends"
        return Failure(failure.DIED, what % (problem.message, os.getpid()), "the next check gets a fresh worker")

    def _reply(self, result: Dict[str, Any], named: List[Any], at: int) -> Dict[str, Any]:
        """Copy ``named`` arrays into the segment at offset ``at``; return the reply that lists them."""
        if not named:
            return {"ok": result}
        from ..protocol import arrays

        listing, chunks = arrays.describe(named)
        size = sum(len(chunk) for chunk in chunks)
        self.segment.reserve(at + size)
        view, offset = self.segment.view(at, size), 0
        for chunk in chunks:
            view[offset : offset + len(chunk)] = chunk
            offset += len(chunk)
        return {"ok": result, "arrays": listing, "at": at, "body": size, "reserved": self.segment.size}

    def _named(self, request: Dict[str, Any]) -> List[Tuple[str, Any]]:
        """Return the request's arrays, by name, as views of the segment; all their pages are resident."""
        from ..protocol import arrays

        body = request.get("body", 0)
        view = self.segment.view(0, body)
        bytes(view[:: memory.PAGE])  # touch each page: shared memory must not grow while the peak is measured
        return arrays.views(view, wire.slots(request, body))

    def _feeds(self, request: Dict[str, Any]) -> List[Dict[str, Any]]:
        from ..protocol import arrays

        if self.engine is None:
            raise Failure(failure.PROTOCOL, "no engine is loaded in this worker")
        named = self._named(request)
        feeds = arrays.split_feeds(named, request.get("feeds", 1))
        for feed in feeds:
            if len(feed) * len(feeds) != len(named):
                raise Failure(failure.ENGINE, "an input is named twice", "pass each input once")
            self.engine.check(feed)
        return feeds

    def echo(self, request: Dict[str, Any]) -> Answer:
        """Return the request's arrays; they are copied like the outputs of an engine."""
        return {}, self._named(request)

    def facts(self, request: Dict[str, Any]) -> Answer:  # noqa: ARG002 - as every operation
        """Return ``probe.libraries``: versions of numpy and the runtimes, and other facts that engines depend on."""
        from ..machine import probe

        return probe.libraries(), []

    def build(self, request: Dict[str, Any]) -> Answer:
        """Build an engine file, as ``Runtime.build`` does.

        ``about.process`` is "kept" if this process has built with this runtime before, otherwise "fresh".
        """
        from ..runtimes import runtime

        began = time.perf_counter()
        name = request["runtime"]
        about: Dict[str, Any] = {"process": "kept" if name in self.builders else "fresh"}
        driver = self.builders.setdefault(name, runtime(name))
        options = dict(request["options"], more=request.get("more") is True)
        built = driver.build(request["model"], request["precision"], options, request["out"])
        about.update(built.facts)
        seconds = time.perf_counter() - began
        return {"path": built.path, "log": built.log[-65536:], "seconds": seconds, "about": about}, []

    def start(self, request: Dict[str, Any]) -> Answer:
        """Import the runtime and open its context on the device, so that a later ``load`` need not do so."""
        imported = _imported(request)
        began = time.perf_counter()
        imported.driver.start(request["options"])
        self.started = imported._replace(context_seconds=time.perf_counter() - began)
        return {}, []

    def load(self, request: Dict[str, Any]) -> Answer:
        """Import the runtime, unless ``start`` has done so, and load the engine; an earlier engine is closed first.

        Return the engine's ports and facts, and in ``load`` the seconds of each step and the memory between them.
        """
        started = self.started or _imported(request)
        if self.engine is not None:  # the process was kept when its engine was unloaded
            self.sequences.close()
            self.engine.close()
            self.engine, self.runs = None, 0
        before = memory.resident()
        began = time.perf_counter()
        self.peak.begin()
        self.engine = started.driver.load(request["path"], request["options"])
        loaded = time.perf_counter()
        self.peak.end()
        self.load_request = request
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
        """Run one inference, with the request's first feed, and return the outputs in the engine's order."""
        return {}, self._once(request)[1]

    def sequence(self, request: Dict[str, Any]) -> Answer:
        """Run the steps of a sequence, as ``Sequences.run`` does."""
        if self.engine is None:
            raise Failure(failure.PROTOCOL, "no engine is loaded in this worker")
        self.peak.begin()
        result, named = self.sequences.run(self.engine, request, dict(self._named(request)))
        self.peak.end()
        self.runs += len(named[0][1])
        return result, named

    def first(self, request: Dict[str, Any]) -> Answer:
        """Return the seconds of the first inference after loading. Raise ``Failure`` if an inference has run before."""
        if self.runs:
            raise Failure(
                failure.ENGINE,
                "the engine has run already",
                "load the engine into a fresh worker to time the first inference",
            )
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
    """Serve until the channel closes; the arguments are ``CONTROL_FD SEGMENT_FD PARENT_PID [RUNTIME]``.

    A given runtime is imported before the first request is answered.
    """
    arguments = arguments or sys.argv[2:]
    control, segment, parent = (int(text) for text in arguments[:3])
    die_with(parent)
    faulthandler.enable()
    for fd in (control, segment):
        os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no keyword
    worker = Worker(Channel(control, control), Segment(segment))
    for runtime in arguments[3:]:
        with contextlib.suppress(Exception):  # the request that needs the runtime reports it
            worker.started = _imported({"runtime": runtime})
    worker.serve()
    # Skip the destructors of native libraries: some of them hang.
    os._exit(0)
