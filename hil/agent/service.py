"""Answer the requests of the host, with one method for each ``op``."""

import time
from typing import Any, Callable, Dict, Optional

from . import failure
from .failure import Failure
from .load.conditions import Conditions
from .machine import probe
from .machine.board_sampler import BoardSampler
from .machine.device_memory import Watch
from .protocol import wire
from .releases.deploying import Deploying
from .store import build_inputs
from .store.blobs import Store
from .store.build_records import Records, key_facts, key_of
from .store.lock import SessionLock
from .store.transfers import LOCK_POLL, Reply, Transfers
from .supervisor import HostGone, Supervisor
from .workers.engine_builds import EngineBuilds
from .workers.gpu_memory_watch import GpuWatches, start_sampler
from .workers.idle_workers import IdleWorkers
from .workers.telemetry import Sampler
from .workers.worker_process import WorkerProcess

PROBE_DEADLINE = 120.0
BETWEEN_BUILDS = ("build", "adopt", "blob_begin", "blob_append", "blob_commit", "blob_read")
BETWEEN_BUILDS += ("pipes_open", "pipes_join", "pipes_close")
"""Operations that do not stop an idle builder: they neither load nor measure an engine."""
SERIES = ("time", "throughput", "pace")
"""Operations that return a series of times.

The board's state is read before and after the series, and sensors are sampled during it.
"""


class Service(Transfers):
    """Answers requests. Every request has an ``op`` and an ``id``; its reply repeats the ``id``."""

    def __init__(self, supervisor: Supervisor, store: Store) -> None:
        super().__init__(supervisor, store)
        store.beat = supervisor.beat
        self.records = Records(store)
        self.lock = SessionLock(store.root)
        self._libraries: Optional[Dict[str, Any]] = None
        self._watching = GpuWatches()
        self.idle = IdleWorkers(supervisor)
        self.builds = EngineBuilds(self.records, self.idle, self.libraries, self._watch, self.turn)
        self.table: Dict[str, Callable[[Dict[str, Any]], Reply]] = {
            "hold": self.hold,
            "probe": self.probe,
            "blob_begin": self.blob_begin,
            "blob_append": self.blob_append,
            "blob_commit": self.blob_commit,
            "blob_read": self.blob_read,
            "pipes_open": self.pipes_open,
            "pipes_join": self.pipes_join,
            "pipes_close": self.pipes_close,
            "build": self.build,
            "adopt": self.adopt,
            "load": self.load,
            "spawn": self.spawn,
            "unload": self.unload,
        }
        for name in (*SERIES, "control", "run", "sequence", "first", "profile", "layers", "soak"):
            self.table[name] = self.engine_work
        for name in ("memory", "echo"):
            self.table[name] = self.worker_op
        self.conditions = Conditions(supervisor, self.lock, self._nvml)
        self.table.update(self.conditions.table)
        self.deploying = Deploying(supervisor, store, supervisor.archive)
        self.table.update(self.deploying.table)

    def answer(self, request: Dict[str, Any]) -> None:
        """Process a request and send the reply.

        A failure, an ``OSError`` and a malformed request become error replies. The error of a lost host is raised.
        """
        number = request.get("id")
        try:
            if request.get("op") not in BETWEEN_BUILDS:
                self.idle.stop_builder()
            result, chunks = self.table.get(str(request.get("op")), self.unknown)(request)
            header = dict(result, id=number)
        except (HostGone, wire.Closed, wire.Silent):
            raise
        except Failure as problem:
            header, chunks = {"id": number, "error": problem.reply()}, []
        except OSError as error:
            header, chunks = {"id": number, "error": self.store.trouble(error).reply()}, []
        except (KeyError, TypeError, ValueError, wire.WireError) as error:
            what = "the request %.40r is malformed: %s %s" % (request.get("op"), type(error).__name__, error)
            header, chunks = {"id": number, "error": Failure(failure.PROTOCOL, failure.short(what)).reply()}, []
        self.supervisor.finish_body()
        self.supervisor.send(header, *chunks)

    def unknown(self, request: Dict[str, Any]) -> Reply:
        """Raise ``Failure`` for an ``op`` that does not exist."""
        raise Failure(failure.PROTOCOL, "no operation is called %.80r" % (request.get("op"),))

    def hold(self, request: Dict[str, Any]) -> Reply:
        """Hold the target for the session. Raise ``Failure`` if another session holds it after ``wait`` seconds."""
        claim = {key: str(request[key]) for key in ("token", "who", "host", "pid")}
        try:
            self.supervisor.wait_until(lambda: self.lock.attempt(claim), float(request["wait"]), LOCK_POLL)
        except TimeoutError:
            raise self.lock.refusal() from None
        self.store.since = min(self.store.since, self.lock.began)
        return {"ok": {}}, []

    def _must_hold(self) -> None:
        if not self.lock.held:
            raise Failure(
                failure.PROTOCOL, "engines are built and loaded only while the target is held", "hold it first"
            )

    def probe(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """Return the machine's facts and the versions of the libraries that a worker can import."""
        libraries = self.libraries()
        return {"ok": self.conditions.meanwhile(lambda: probe.with_libraries(libraries))}, []

    def libraries(self) -> Dict[str, Any]:
        """Return what a worker reports of its libraries (``probe.libraries``). Only the first call starts a worker."""
        if self._libraries is None:
            worker = self.supervisor.start_worker()
            try:
                facts = self.supervisor.exchange(worker, {"op": "facts"}, PROBE_DEADLINE)["ok"]
                self._libraries = self._with_container(facts)
            except BaseException:
                self.supervisor.stop_worker(worker)
                raise
            self.idle.keep(worker, self._libraries or {})
        return dict(self._libraries or {})

    def _with_container(self, libraries: Dict[str, Any]) -> Dict[str, Any]:
        """Return a worker's facts of its libraries, with the facts of the container if workers run in one."""
        container = self.supervisor.container
        return libraries if container is None else dict(container.with_container(libraries))

    def build(self, request: Dict[str, Any]) -> Reply:
        """Return the record of an engine, which is built unless it is in the store; see ``EngineBuilds.build``."""
        self._must_hold()
        return {"ok": self.builds.build(request)}, []

    def _watch(self, facts: Dict[str, Any], options: Dict[str, Any]) -> Optional[Watch]:
        """Return the object that watches the GPU memory of the next worker; None if the engine uses no listed GPU."""
        if not facts.get("gpu"):
            return None
        return self._watching.watch(self.libraries().get("gpus") or [], int(options.get("gpu") or 0))

    def _nvml(self, number: int) -> Any:
        """Return NVML's interface to GPU ``number``; None if there is no such GPU, or NVML cannot access it."""
        watch = self._watching.watch(self.libraries().get("gpus") or [], number)
        return None if watch is None else watch.device.gpu

    def adopt(self, request: Dict[str, Any]) -> Reply:
        """Record an uploaded engine that was built elsewhere. Its facts contain ``foreign``."""
        self._must_hold()
        digest = request["digest"]
        self.store.verify(digest)
        facts = dict(key_facts(dict(request, model=digest), self.libraries(), probe.machine()["l4t"]), foreign=True)
        for plugin in request["options"].get("plugins") or []:
            self.store.need(plugin)
        built = {"seconds": 0.0, "log": "", "plugins": request["options"].get("plugins") or []}
        built["external"] = build_inputs.verify_external(self.store, request)
        return {"ok": dict(self.records.write(key_of(facts), facts, digest, built), cached=False)}, []

    def load(self, request: Dict[str, Any]) -> Reply:
        """Verify the engine with the key ``key``, load it into a worker, and return what the worker reports.

        If ``fresh`` is false, an idle worker may be used; otherwise the worker is new. Raise ``Failure`` if the target
        is not held, or the engine is missing, damaged or cannot be loaded.
        """
        self._must_hold()
        record = self.records.need(request["key"])
        order = {
            "op": "load",
            "runtime": record["facts"]["runtime"],
            "path": self.store.verify(record["digest"]),
            "options": build_inputs.for_load(self.store, request, record),
        }
        with self.turn():
            watch = self._watch(record["facts"], request["options"])
            began = time.perf_counter()
            ahead = watch is None and self.supervisor.container is None  # whether workers may start in advance
            more = int(request.get("more", 0)) if ahead else 0
            fresh = bool(request.get("fresh", True)) or watch is not None
            worker = self.idle.worker(order["runtime"], fresh=fresh, more=more)
            try:
                loaded = self._load(worker, order, float(request["deadline"]), watch)
            except BaseException:
                self.supervisor.stop_worker(worker)
                raise
            loaded["load"]["total_seconds"] = time.perf_counter() - began
        return {"ok": dict(loaded, worker=worker.number, pid=worker.pid)}, []

    def _load(
        self, worker: WorkerProcess, order: Dict[str, Any], deadline: float, watch: Optional[Watch]
    ) -> Dict[str, Any]:
        """Load the engine and return the answer. With ``watch``, first start the runtime and read the GPU memory."""
        sampler = start_sampler(worker, watch)
        if watch is None or sampler is None:
            return dict(self.supervisor.exchange(worker, order, deadline)["ok"])
        limit = time.monotonic() + deadline
        try:
            self.supervisor.exchange(worker, dict(order, op="start"), deadline)
            watch.baseline()
            loaded = dict(self.supervisor.exchange(worker, order, limit - time.monotonic(), sampler)["ok"])
            watch.note()
        finally:
            sampler.close()
        return loaded

    def spawn(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """Start a worker without an engine, for the operation ``echo``."""
        worker = self.supervisor.start_worker()
        return {"ok": {"worker": worker.number, "pid": worker.pid}}, []

    def unload(self, request: Dict[str, Any]) -> Reply:
        """Stop a worker. With ``keep``, a worker whose GPU memory is not watched becomes the idle worker instead."""
        worker = self._worker(request)
        if request.get("keep") is True and worker.alive and worker.watch is None:
            self.idle.keep(worker, self.libraries())
        else:
            self.supervisor.stop_worker(worker)
        return {"ok": {}}, []

    def turn(self) -> Any:
        """Return a context manager that holds the turn lock, which all agents of the session share."""
        return self.supervisor.turn(self.store.path("turn.lock"))

    def engine_work(self, request: Dict[str, Any]) -> Reply:
        """Forward a request to a worker while holding the turn lock, and return the worker's reply.

        The reply to a series or a soak has ``telemetry``, samples of the worker; that of a series also has ``state``,
        the board's state before and after it.
        """
        worker = self._take_body(request)
        with self.turn():
            timed = request["op"] in (*SERIES, "soak")
            if request.get("control") is not None:
                request["control"] = self.records.control(request["control"])
            if not worker.alive or (worker.watch is None and not timed):
                return self._pass_on(worker, request)
            if request["op"] == "soak" and worker.watch is not None and worker.watch.by_process:
                request["watched"] = dict(worker.watch.device.facts)
            is_series = request["op"] in SERIES
            before = self.conditions.around(worker.watch) if is_series else None
            board = BoardSampler(time.monotonic()) if is_series else None
            sampler = Sampler(worker.pid, worker.watch, slow=timed, instruments=board)
            try:
                reply, chunks = self._pass_on(worker, request, sampler)
                if worker.watch is not None:
                    worker.watch.note()
            finally:
                sampler.close()
            if timed:
                reply["ok"]["telemetry"] = sampler.report()
            if is_series:
                reply["ok"]["state"] = {"before": before, "after": self.conditions.around(worker.watch)}
            return reply, chunks

    def worker_op(self, request: Dict[str, Any]) -> Reply:
        """Forward a request without waiting for the turn lock, since it does not disturb other engines."""
        worker = self._take_body(request)
        reply, chunks = self._pass_on(worker, request)
        if request["op"] == "memory" and worker.watch is not None:
            reply["ok"]["device"] = worker.watch.report()
        return reply, chunks

    def _worker(self, request: Dict[str, Any]) -> WorkerProcess:
        worker = self.supervisor.workers.get(request["worker"])
        if worker is None:
            raise Failure(failure.PROTOCOL, "no worker has number %r" % request["worker"])
        return worker

    def _take_body(self, request: Dict[str, Any]) -> WorkerProcess:
        """Read the request's tensors from the host's pipe directly into the memory shared with the worker."""
        worker, host = self._worker(request), self.supervisor.host
        wire.slots(request, host.pending)
        request["body"] = host.pending
        if worker.alive:
            worker.segment.reserve(host.pending)
            host.take_into(worker.segment.view(0, host.pending))
        host.drain()
        return worker

    def _pass_on(self, worker: WorkerProcess, request: Dict[str, Any], sampler: Optional[Sampler] = None) -> Reply:
        reply = self.supervisor.exchange(worker, request, float(request["deadline"]), sampler)
        body = reply.get("body", 0)
        header = {"ok": reply["ok"], "arrays": reply.get("arrays", [])}
        return header, [worker.segment.view(reply.get("at", 0), body)] if body else []
