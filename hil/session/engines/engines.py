"""Keep the engines of a session: each is built once, and loaded for all checks or in a fresh process for one check."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hil.errors import EngineError, WorkerLost
from hil.results import ExecutedOn
from hil.session.engines.int64 import narrows, with_model_dtypes
from hil.session.engines.provision import Provisioned, provision
from hil.session.memo import LASTING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy as np

    from hil.onnx_files.signature import TensorSpec
    from hil.session.context import Context
    from hil.targets.engine_worker import EngineWorker

LOADED_AT_MOST = 4
LOAD_DEADLINE = 300.0


@dataclass(frozen=True)
class Loaded:
    """The processor that an engine runs on (``None`` is the CPU), and facts of the engine, such as its CUDA binding."""

    executed_on: ExecutedOn | None
    about: Mapping[str, Any]


def _built_on(facts: Mapping[str, Any]) -> ExecutedOn | None:
    if facts.get("foreign"):  # the record names the GPU of the target that accepted it, not the GPU that ran it
        return None
    gpu, sm = facts.get("gpu"), facts.get("sm")
    if not gpu:
        return None
    kind = "gpu" if (facts.get("options") or {}).get("dla") is None else "dla"
    return ExecutedOn(kind=kind, name=str(gpu), sm=None if sm is None else str(sm))


def _shown(processor: ExecutedOn | None) -> str:
    return "the CPU" if processor is None else f"{processor.kind.upper()} {processor.name}"


class Engines:
    """The engines that a session has built and loaded. The 4 most recently used ones stay loaded for all checks."""

    def __init__(self, session: Context) -> None:
        self._session = session
        self._workers: OrderedDict[tuple[str, str], EngineWorker] = OrderedDict()
        self._loaded: dict[tuple[str, str], Loaded] = {}
        self._planned: dict[str, list[str]] = {}
        self._needed: dict[str, list[str]] = {}

    def plan(self, engines: Iterable[tuple[str, str]]) -> None:
        """Set the engines (model, precision) that the run will need.

        All engines of a model are built when its first one is needed.
        """
        # Builds that follow each other share a process on the target, so that TensorRT's builder is loaded once a
        # model. They heat the target before the model's first measurement, not between its measurements.
        self._planned = {}
        for model, precision in dict.fromkeys(engines):
            self._planned.setdefault(model, []).append(precision)
        self._needed = {model: list(precisions) for model, precisions in self._planned.items()}

    def needed(self, model: str) -> list[str]:
        """Return the precisions in which the run needs engines of ``model``; empty if they were not planned."""
        return list(self._needed.get(model, ()))

    def _build_planned(self, model: str) -> None:
        precisions = self._planned.pop(model, [])
        for number, precision in enumerate(precisions, 1):
            try:  # the row that needs the engine gets the same error again
                self.provisioned(model, precision, more=number < len(precisions))
            except (*LASTING, EngineError, WorkerLost):  # noqa: PERF203 - builds take minutes
                self._session.progress(f"{model} {precision}: there is no engine; its checks report why")

    def provisioned(self, model: str, precision: str, *, more: bool = False) -> Provisioned:
        """Return the engine.

        The first call for a model builds all its planned engines and copies them to the report's folder. ``more`` tells
        the target that another build follows. Raises the errors of ``provision``; later calls raise the same error
        without building.
        """
        self._build_planned(model)
        key = ("engine", model, precision)
        work = partial(provision, self._session, model, precision, more=more)
        # A build that crashed or exceeded its limit would do so again for each row, and takes minutes.
        return self._session.memo.once(key, work, lasting=(*LASTING, WorkerLost))

    def loaded(self, model: str, precision: str) -> Loaded:
        """Return the engine's processor and facts; the facts are empty if this process has not loaded it.

        Raises the errors of ``provisioned``.
        """
        loaded = self._loaded.get((model, precision))
        return loaded or Loaded(_built_on(self.provisioned(model, precision).engine.facts), {})

    def facts(self, model: str, precision: str) -> Mapping[str, Any]:
        """Return the facts of a loaded engine; empty if this process has not loaded it."""
        loaded = self._loaded.get((model, precision))
        return {} if loaded is None else loaded.about

    @contextlib.contextmanager
    def lease(self, model: str, precision: str) -> Iterator[EngineWorker]:
        """Yield a worker that has loaded the engine. All checks share it; after a crash, the next call loads again."""
        key = (model, precision)
        if key not in self._workers:
            while len(self._workers) >= LOADED_AT_MOST:
                self._workers.popitem(last=False)[1].close()
            self._workers[key] = self._load(model, precision, fresh=False)
        self._workers.move_to_end(key)
        try:
            yield self._workers[key]
        except WorkerLost:
            self._workers.pop(key, None)
            raise

    @contextlib.contextmanager
    def fresh(self, model: str, precision: str, *, more: int = 0) -> Iterator[EngineWorker]:
        """Yield a worker that has loaded the engine in a fresh process, and stop it at the end.

        ``more`` is how many further fresh workers the caller will need; the target may start them early.
        """
        worker = self._load(model, precision, fresh=True, more=more)
        try:
            yield worker
        finally:
            with contextlib.suppress(WorkerLost):
                worker.close()

    def _load(self, model: str, precision: str, *, fresh: bool, more: int = 0) -> EngineWorker:
        built = self.provisioned(model, precision).engine
        options = self._session.load_options(model)
        worker = self._session.agent.load(built.key, options, LOAD_DEADLINE, fresh=fresh, more=more)
        try:
            self._check_processor(model, precision, worker)
            worker.carry = self._session.signature(model).carry
            if narrows(built.runtime, built.runtime_version):
                return with_model_dtypes(worker, self._session.signature(model), model)
        except BaseException:
            worker.close()
            raise
        return worker

    def _check_processor(self, model: str, precision: str, worker: EngineWorker) -> None:
        processor = worker.executed_on
        here = None
        if processor is not None:
            here = ExecutedOn(kind=processor["kind"], name=processor["name"], sm=processor.get("sm"))
        before = self._loaded.setdefault((model, precision), Loaded(here, dict(worker.about)))
        if before.executed_on != here:  # rows that were judged already name another processor
            ran = f"ran on {_shown(before.executed_on)} before and on {_shown(here)} now"
            what = f"the {precision} engine of model {model} {ran}"
            raise EngineError(f"{what}: on target {self._session.used}: run again")

    def close(self) -> None:
        """Stop all shared workers."""
        while self._workers:
            with contextlib.suppress(WorkerLost):
                self._workers.popitem()[1].close()


@dataclass(frozen=True)
class EngineHandle:
    """An engine of a model in one precision, on which a user's test can run batches (fixture ``hil_engine``)."""

    model: str
    precision: str
    digest: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    _engines: Engines

    def run(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Run one batch on the target and return the outputs by name.

        Raises ``EngineError`` if the engine refuses the batch, and ``WorkerLost`` if the worker crashes.
        """
        with self._engines.lease(self.model, self.precision) as worker:
            return dict(worker.run(feeds))
