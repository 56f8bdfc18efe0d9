"""Engines of a session: provisioned once, leased to checks, made fresh where a check needs it."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.errors import EngineError, WorkerLost
from hil.results import ExecutedOn
from hil.session.engines.int64 import fitted, narrows
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
    """What a loaded engine told: the processor it runs on (``None`` is the CPU), and facts such as its CUDA binding."""

    executed_on: ExecutedOn | None
    about: Mapping[str, Any]


def _built_on(facts: Mapping[str, Any]) -> ExecutedOn | None:
    if facts.get("foreign"):  # its record tells where it was taken, not that it runs there
        return None
    gpu, sm = facts.get("gpu"), facts.get("sm")
    if not gpu:
        return None
    kind = "gpu" if (facts.get("options") or {}).get("dla") is None else "dla"
    return ExecutedOn(kind=kind, name=str(gpu), sm=None if sm is None else str(sm))


class Engines:
    """What the session has built and loaded; the least recently used worker goes when there are too many."""

    def __init__(self, session: Context) -> None:
        self._session = session
        self._workers: OrderedDict[tuple[str, str], EngineWorker] = OrderedDict()
        self._loaded: dict[tuple[str, str], Loaded] = {}
        self._ahead: tuple[tuple[str, str], ...] = ()

    def ahead(self, asked: Iterable[tuple[str, str]]) -> None:
        """Says which engines, by model and precision, will be asked for: the first that is has all of them built.

        Built one after the other they share a process on the target, which loads its builder once; and the target
        is heated by building before anything is measured, not in between.
        """
        self._ahead = tuple(dict.fromkeys(asked))

    def _build_ahead(self) -> None:
        asked, self._ahead = self._ahead, ()
        for number, (model, precision) in enumerate(asked, 1):
            try:  # what fails is raised again where it is asked for: an error that lasts is remembered
                self.provisioned(model, precision, more=number < len(asked))
            except (*LASTING, EngineError, WorkerLost):  # noqa: PERF203 - builds take minutes
                self._session.progress(f"{model} {precision}: no engine; its checks say why")

    def provisioned(self, model: str, precision: str, *, more: bool = False) -> Provisioned:
        """The engine, built on the target and brought home; ``more`` as in ``AgentClient.build``.

        Raises ``Unsupported``, ``EngineBuildError``.
        """
        self._build_ahead()
        key = ("engine", model, precision)
        return self._session.memo.once(key, lambda: provision(self._session, model, precision, more=more))

    def loaded(self, model: str, precision: str) -> Loaded:
        """Where the engine runs and what it told of itself. Raises as ``provisioned`` does.

        Of an engine that this process never loaded, what its build recorded: it was the target's own.
        """
        found = self._loaded.get((model, precision))
        return found or Loaded(_built_on(self.provisioned(model, precision).engine.facts), {})

    def told(self, model: str, precision: str) -> Mapping[str, Any]:
        """What the engine said of itself when it was loaded; nothing of one that this process has not loaded."""
        found = self._loaded.get((model, precision))
        return {} if found is None else found.about

    @contextlib.contextmanager
    def lease(self, model: str, precision: str) -> Iterator[EngineWorker]:
        """A loaded engine, shared between checks; a worker that died is forgotten, the next check gets a fresh one."""
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
    def fresh(self, model: str, precision: str) -> Iterator[EngineWorker]:
        """A process of its own, for what must not remember: cold start, memory."""
        worker = self._load(model, precision, fresh=True)
        try:
            yield worker
        finally:
            with contextlib.suppress(WorkerLost):
                worker.close()

    def _load(self, model: str, precision: str, *, fresh: bool) -> EngineWorker:
        built = self.provisioned(model, precision).engine
        options = self._session.load_options(model)
        worker = self._session.agent.load(built.key, options, LOAD_DEADLINE, fresh=fresh)
        try:
            self._note(model, precision, worker)
            if narrows(built.runtime, built.runtime_version):
                return fitted(worker, self._session.signature(model), model)
        except BaseException:
            worker.close()
            raise
        return worker

    def _note(self, model: str, precision: str, worker: EngineWorker) -> None:
        said = worker.executed_on
        here = None if said is None else ExecutedOn(kind=said["kind"], name=said["name"], sm=said.get("sm"))
        before = self._loaded.setdefault((model, precision), Loaded(here, dict(worker.about)))
        if before.executed_on != here:  # rows that were judged already say otherwise
            raise EngineError(f"{model} {precision} ran on {before.executed_on}, and now on {here}: run again")

    def close(self) -> None:
        """Ends all workers."""
        while self._workers:
            with contextlib.suppress(WorkerLost):
                self._workers.popitem()[1].close()


@dataclass(frozen=True)
class EngineHandle:
    """What a test gets as ``hil_engine``."""

    model: str
    precision: str
    digest: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    _engines: Engines

    def run(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Runs one batch on the target. Raises ``EngineError`` if the engine refuses it, ``WorkerLost`` if it died."""
        with self._engines.lease(self.model, self.precision) as worker:
            return dict(worker.run(feeds))
