"""Engines on request: taken from the store by their key, or made in a worker that builds and does nothing else."""

import os
from typing import Any, Callable, ContextManager, Dict, Optional, Tuple

from . import failure, materials, probe
from .bench import Bench
from .crew import Hand
from .device_memory import Watch
from .engines import Records, key_facts, key_of
from .failure import Failure
from .watching import follow, peak_of


class Building:
    """``libraries`` tells what workers can import, ``turn`` holds the turn lock.

    ``watch`` begins to watch the GPU that an engine's facts and options name; None where they name none.
    """

    def __init__(
        self,
        records: Records,
        bench: Bench,
        libraries: Callable[[], Dict[str, Any]],
        watch: Callable[[Dict[str, Any], Dict[str, Any]], Optional[Watch]],
        turn: Callable[[], ContextManager[None]],
    ) -> None:
        self.records = records
        self.store = records.store
        self.bench = bench
        self.supervisor = bench.supervisor
        self._libraries = libraries
        self._watch = watch
        self._turn = turn

    def build(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """The record of an engine from the store by its key, or of a new one; ``cached`` tells which.

        An engine that was damaged in the store is deleted and built again at once; the record says so.
        """
        model = self.store.verify(request["model"])
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
        order = {
            "op": "build",
            "runtime": request["runtime"],
            "precision": request["precision"],
            "options": materials.for_build(self.store, request, facts),
            "model": model,
            "out": out,
        }
        watch = self._watch(facts, request["options"])
        self.bench.clear()
        hand = self.supervisor.hire()
        try:
            built = self._in_time(hand, order, float(request["deadline"]), watch)
            same = os.path.realpath(built["path"]) == os.path.realpath(model)
            digest = request["model"] if same else self.store.adopt(out)
        finally:
            self.supervisor.dismiss(hand)
            if os.path.exists(out):
                os.unlink(out)
        if damage is not None:
            built["about"] = dict(built.get("about") or {}, rebuilt=damage)
        built["plugins"] = request["options"].get("plugins") or []
        return self.records.write(key, facts, digest, built)

    def _in_time(self, hand: Hand, order: Dict[str, Any], deadline: float, watch: Optional[Watch]) -> Dict[str, Any]:
        sampler = follow(hand, watch, calm=True)
        try:
            built: Dict[str, Any] = self.supervisor.exchange(hand, order, deadline, sampler)["ok"]
            return built if sampler is None else dict(built, peak=peak_of(sampler))
        except Failure as problem:
            if problem.kind != failure.DEADLINE:
                raise
            what = "building in %s took longer than %g s and was stopped" % (order["precision"], deadline)
            raise Failure(failure.BUILD, what, "raise time_limit in [models.M.build], or build ahead") from None
        finally:
            if sampler is not None:
                sampler.close()
