"""Engines of a session: provisioned once, leased to checks, made fresh where a check needs it."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.errors import WorkerLost
from hil.session.provision import Provisioned, provision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from hil.session.core import Session
    from hil.signature import TensorSpec
    from hil.targets.worker import EngineWorker

LOADED_AT_MOST = 4
LOAD_DEADLINE = 300.0


class Engines:
    """What the session has built and loaded; the least recently used worker goes when there are too many."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._workers: OrderedDict[tuple[str, str], EngineWorker] = OrderedDict()

    def provisioned(self, model: str, precision: str) -> Provisioned:
        """The engine, built on the target and brought home. Raises ``Unsupported``, ``EngineBuildError``."""
        return self._session.memo.once(("engine", model, precision), lambda: provision(self._session, model, precision))

    @contextlib.contextmanager
    def lease(self, model: str, precision: str) -> Iterator[EngineWorker]:
        """A loaded engine, shared between checks; a worker that died is forgotten, the next check gets a fresh one."""
        key = (model, precision)
        if key not in self._workers:
            while len(self._workers) >= LOADED_AT_MOST:
                self._workers.popitem(last=False)[1].close()
            self._workers[key] = self._load(model, precision)
        self._workers.move_to_end(key)
        try:
            yield self._workers[key]
        except WorkerLost:
            self._workers.pop(key, None)
            raise

    @contextlib.contextmanager
    def fresh(self, model: str, precision: str) -> Iterator[EngineWorker]:
        """A process of its own, for what must not remember: cold start, memory."""
        worker = self._load(model, precision)
        try:
            yield worker
        finally:
            with contextlib.suppress(WorkerLost):
                worker.close()

    def _load(self, model: str, precision: str) -> EngineWorker:
        built = self.provisioned(model, precision).engine
        return self._session.agent.load(built.key, self._session.load_options(), LOAD_DEADLINE)

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
