"""Build engines in worker processes, or return them from the store if it has a matching build."""

import os
import time
from typing import Any, Callable, ContextManager, Dict, Optional, Tuple

from .. import failure
from ..failure import Failure
from ..machine import probe
from ..machine.device_memory import Watch
from ..store import build_inputs
from ..store.build_records import Records, key_facts, key_of
from .gpu_memory_watch import peaks, resume_sampler, start_sampler
from .idle_workers import IdleWorkers
from .telemetry import Sampler
from .worker_process import WorkerProcess


class EngineBuilds:
    """Returns engines from the store, or builds them in worker processes.

    Args:
        libraries: returns what a worker can import, as ``probe.libraries`` does.
        watch: returns a watch of GPU memory, given an engine's facts and build options; None without a GPU.
        turn: returns a context in which no other engine of this target works.
    """

    def __init__(
        self,
        records: Records,
        idle: IdleWorkers,
        libraries: Callable[[], Dict[str, Any]],
        watch: Callable[[Dict[str, Any], Dict[str, Any]], Optional[Watch]],
        turn: Callable[[], ContextManager[None]],
    ) -> None:
        self.records = records
        self.store = records.store
        self.idle = idle
        self.supervisor = idle.supervisor
        self._libraries = libraries
        self._watch = watch
        self._turn = turn

    def build(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Return the build record of the requested engine, with ``cached``: whether the store had a usable engine.

        With ``find`` in the request, build nothing: return only ``key``, ``stored`` (whether the store has the engine)
        and the current ``power_mode``. ``shared`` is the record of an uploaded engine that an equal board has built.
        This engine is used if the store has no engine, and if the record has this board's key and power mode.

        A damaged engine is rebuilt; ``about.rebuilt`` then has the reason. Raise ``Failure`` if the model or one of
        ``request["external"]`` (digests of its data files) is missing or damaged, if the container lacks the runtime,
        or if the build fails.
        """
        model = self.store.verify(request["model"])
        build_inputs.verify_external(self.store, request)
        missing = (self._libraries().get("why_not") or {}).get(request["runtime"])
        if missing is not None:
            raise Failure(
                failure.CONTAINER,
                missing,
                "use an image that has it, or set python of the container to an interpreter that has it",
            )
        facts = key_facts(request, self._libraries(), probe.machine()["l4t"])
        key = key_of(facts)
        if request.get("find") is True:
            stored = self._usable(key) is not None
            return {"key": key, "stored": stored, "power_mode": build_inputs.power_mode()}
        with self._turn():
            record, damage = self._undamaged(key, request["model"])
            cached = record is not None
            if record is None:
                record = self._shared(request, key, facts, damage) or self._build(request, model, key, facts, damage)
        return dict(record, cached=cached)

    def _usable(self, key: str) -> Optional[Dict[str, Any]]:
        """Return the engine's record; None without one, or if another board built the engine in another power mode."""
        record = self.records.find(key)
        if record is not None and record.get("built_on") and not _in_this_mode(record):
            return None  # the power mode was changed since, so the board that built it is not an equal one
        return record

    def _undamaged(self, key: str, model: str) -> Tuple[Optional[Dict[str, Any]], Optional[str]]:
        """Return the engine's record or None, and the damage of its file or None.

        The record is None if it is missing, if its file is damaged, or if another board built the engine and the power
        mode was changed since then.
        """
        record = self._usable(key)
        if record is None or record["digest"] == model:  # the model was verified already
            return record, None
        try:
            self.store.verify(record["digest"])
        except Failure as problem:
            if problem.kind != failure.STORE:
                raise
            return None, problem.message
        return record, None

    def _shared(
        self, request: Dict[str, Any], key: str, facts: Dict[str, Any], damage: Optional[str]
    ) -> Optional[Dict[str, Any]]:
        """Record the uploaded engine of an equal board, and return the record.

        Return None if the request has no such engine, or if its key, its power mode or its file does not fit.
        """
        shared = request.get("shared")
        if not shared or shared["key"] != key or not shared["built_on"] or not _in_this_mode(shared):
            return None
        try:
            self.store.verify(shared["digest"])
        except Failure:
            return None
        built = {name: shared[name] for name in ("seconds", "log", "about", "peak", "built_on")}
        if damage is not None:
            built["about"] = dict(built["about"], rebuilt=damage)
        built["plugins"] = request["options"].get("plugins") or []
        built["external"] = request.get("external") if shared["digest"] == request["model"] else []
        return self.records.write(key, facts, shared["digest"], built)

    def _build(
        self, request: Dict[str, Any], model: str, key: str, facts: Dict[str, Any], damage: Optional[str]
    ) -> Dict[str, Any]:
        out = self.store.path("tmp", "%s.%d" % (key, os.getpid()))
        more = request.get("more") is True
        order = {
            "op": "build",
            "runtime": request["runtime"],
            "precision": request["precision"],
            "options": build_inputs.for_build(self.store, request, facts),
            "model": model,
            "out": out,
            "more": more,
        }
        worker = None
        try:
            worker, built = self._build_in_worker(request, order, facts)
            same = os.path.realpath(built["path"]) == os.path.realpath(model)
            digest = request["model"] if same else self.store.adopt(out)
            if more:
                self.idle.keep_builder(worker, _kind(request))
                worker = None
        finally:
            if worker is not None:
                self.supervisor.stop_worker(worker)
            if os.path.exists(out):
                os.unlink(out)
        if damage is not None:
            built["about"]["rebuilt"] = damage
        built["plugins"] = request["options"].get("plugins") or []
        built["external"] = request.get("external") if same else []  # a TensorRT plan contains its weights
        return self.records.write(key, facts, digest, built)

    def _build_in_worker(
        self, request: Dict[str, Any], order: Dict[str, Any], facts: Dict[str, Any]
    ) -> Tuple[WorkerProcess, Dict[str, Any]]:
        """Build in the idle builder; without one, or if it fails, in a fresh worker. Return the worker and its reply.

        ``about.retried`` in the reply is the message of the idle builder's failure. Raise ``Failure`` if the build
        fails, without a second attempt if it is unsupported or the time is over.
        """
        deadline = float(request["deadline"])
        limit = time.monotonic() + deadline
        retried = {}
        idle_builder = self.idle.builder(_kind(request))
        if idle_builder is not None:
            try:
                return idle_builder, self._exchange(idle_builder, order, limit, resume_sampler(idle_builder))
            except Failure as problem:
                self.supervisor.stop_worker(idle_builder)
                if problem.kind == failure.UNSUPPORTED:
                    raise
                if time.monotonic() >= limit:
                    raise _late(order, deadline) from None
                retried["retried"] = problem.message
        watch = self._watch(facts, request["options"])
        self.idle.clear()
        worker = self.supervisor.start_worker()
        try:
            built = self._exchange(worker, order, limit, start_sampler(worker, watch, slow=True))
        except BaseException as problem:
            self.supervisor.stop_worker(worker)
            if isinstance(problem, Failure) and problem.kind == failure.DEADLINE:
                raise _late(order, deadline) from None
            raise
        built["about"].update(retried)
        return worker, built

    def _exchange(
        self, worker: WorkerProcess, order: Dict[str, Any], limit: float, sampler: Optional[Sampler]
    ) -> Dict[str, Any]:
        try:
            built: Dict[str, Any] = self.supervisor.exchange(worker, order, limit - time.monotonic(), sampler)["ok"]
            built["peak"] = None if sampler is None else peaks(sampler)
            return built
        finally:
            if sampler is not None:
                sampler.close()


def _in_this_mode(record: Dict[str, Any]) -> bool:
    """Return whether the record's power mode is the current one; false if either is unknown."""
    mode = build_inputs.power_mode()
    return mode is not None and record["power_mode"] == mode


def _kind(request: Dict[str, Any]) -> Any:
    """Return runtime, GPU and plugins: builds may share a process only if these are equal."""
    options = request["options"]
    return request["runtime"], int(options.get("gpu") or 0), tuple(options.get("plugins") or ())


def _late(order: Dict[str, Any], deadline: float) -> Failure:
    what = "building in %s took longer than %g s and was stopped" % (order["precision"], deadline)
    return Failure(failure.BUILD, what, "raise time_limit in [models.M.build], or build it ahead with `hil build`")
