"""Engines on request: taken from the store by their key, or made in a worker that builds and does nothing else."""

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
    """``libraries`` tells what workers can import, ``turn`` holds the turn lock.

    Where the request says that ``more`` builds follow, the worker waits for the next one: see ``IdleWorkers``.

    ``watch`` begins to watch the GPU that an engine's facts and options name; None where they name none.
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
        """The record of an engine from the store by its key, or of a new one; ``cached`` tells which.

        ``request["external"]`` are the blobs of the model's external data, which it names by their digests: they lie
        beside it in the store. An engine that was damaged in the store is deleted and built again at once; the record
        says so.
        """
        model = self.store.verify(request["model"])
        build_inputs.verify_external(self.store, request)
        missing = (self._libraries().get("why_not") or {}).get(request["runtime"])
        if missing is not None:
            raise Failure(failure.CONTAINER, missing, "use an image that has it, or set python of the container")
        facts = key_facts(request, self._libraries(), probe.machine()["l4t"])
        key = key_of(facts)
        with self._turn():
            record, damage = self._whole(key, request["model"])
            cached = record is not None
            if record is None:
                record = self._build(request, model, key, facts, damage)
        return dict(record, cached=cached)

    def _whole(self, key: str, model: str) -> Tuple[Optional[Dict[str, Any]], Optional[str]]:
        """The record of an engine whose bytes are as they were built; or None and, if they are not, what was found."""
        record = self.records.find(key)
        if record is None or record["digest"] == model:
            return record, None
        try:
            self.store.verify(record["digest"])
        except Failure as problem:
            if problem.kind != failure.STORE:
                raise
            return None, problem.message
        return record, None

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
            worker, built = self._made(request, order, facts)
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
        built["external"] = request.get("external") if same else []  # a plan has its weights in it
        return self.records.write(key, facts, digest, built)

    def _made(
        self, request: Dict[str, Any], order: Dict[str, Any], facts: Dict[str, Any]
    ) -> Tuple[WorkerProcess, Dict[str, Any]]:
        """Who made it, and what: the builder that waits, or where there is none or it fails, a fresh worker.

        What a process fails at that has built before may be its past's fault, unless nobody could do it; both tries
        are within the time limit, and what the first one failed with is recorded.
        """
        deadline = float(request["deadline"])
        limit = time.monotonic() + deadline
        retried = {}
        kept = self.idle.builder(_kind(request))
        if kept is not None:
            try:
                return kept, self._in_time(kept, order, limit, resume_sampler(kept))
            except Failure as problem:
                self.supervisor.stop_worker(kept)
                if problem.kind == failure.UNSUPPORTED:
                    raise
                if time.monotonic() >= limit:
                    raise _late(order, deadline) from None
                retried["retried"] = problem.message
        watch = self._watch(facts, request["options"])
        self.idle.clear()
        worker = self.supervisor.start_worker()
        try:
            built = self._in_time(worker, order, limit, start_sampler(worker, watch, slow=True))
        except BaseException as problem:
            self.supervisor.stop_worker(worker)
            if isinstance(problem, Failure) and problem.kind == failure.DEADLINE:
                raise _late(order, deadline) from None
            raise
        built["about"].update(retried)
        return worker, built

    def _in_time(
        self, worker: WorkerProcess, order: Dict[str, Any], limit: float, sampler: Optional[Sampler]
    ) -> Dict[str, Any]:
        try:
            built: Dict[str, Any] = self.supervisor.exchange(worker, order, limit - time.monotonic(), sampler)["ok"]
            built["peak"] = None if sampler is None else peaks(sampler)
            return built
        finally:
            if sampler is not None:
                sampler.close()


def _kind(request: Dict[str, Any]) -> Any:
    """What builds must share to be made by one process: plugins stay loaded in it, and a GPU selected."""
    options = request["options"]
    return request["runtime"], int(options.get("gpu") or 0), tuple(options.get("plugins") or ())


def _late(order: Dict[str, Any], deadline: float) -> Failure:
    what = "building in %s took longer than %g s and was stopped" % (order["precision"], deadline)
    return Failure(failure.BUILD, what, "raise time_limit in [models.M.build], or build ahead")
