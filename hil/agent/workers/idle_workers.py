"""Keeps idle workers for reuse: one that has imported the runtimes, and one that has built an engine."""

from typing import Any, Dict, Optional, Tuple

from ..supervisor import Supervisor
from .worker_process import WorkerProcess


class IdleWorkers:
    """At most one idle worker that has imported the runtimes, and at most one idle builder.

    The idle worker, for the next engine, is stopped before a fresh worker starts and before a build. The builder, which
    has loaded TensorRT's builder, is kept only if the host has announced another build.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._idle: Optional[WorkerProcess] = None
        self._builder: Optional[Tuple[WorkerProcess, Any]] = None

    def keep(self, worker: WorkerProcess, libraries: Dict[str, Any]) -> None:
        """Make ``worker``, which reported ``libraries``, the idle worker; stop it if a runtime opened a GPU in it."""
        self.clear()
        facts = libraries.get("facts") or {}
        if any((known or {}).get("gpu") for known in facts.values()):
            self.supervisor.stop_worker(worker)  # it would remain a client of the GPU
        else:
            self._idle = worker

    def worker(self, *, fresh: bool) -> WorkerProcess:
        """Return a worker for one engine: the idle worker if it is alive and ``fresh`` is false, otherwise a new one.

        The builder, and an idle worker that is not returned, are stopped.
        """
        self.stop_builder()
        idle, self._idle = self._idle, None
        if idle is None:
            return self.supervisor.start_worker()
        if fresh or not idle.alive or idle.process.poll() is not None:
            self.supervisor.stop_worker(idle)
            return self.supervisor.start_worker()
        return idle

    def keep_builder(self, worker: WorkerProcess, kind: Any) -> None:
        """Keep a worker that has built an engine, for the next build with the same ``kind`` (runtime, GPU, plugins)."""
        self.clear()
        self._builder = (worker, kind)

    def builder(self, kind: Any) -> Optional[WorkerProcess]:
        """Return the idle builder, if it is alive and of ``kind``, for use; otherwise stop it and return None."""
        builder, self._builder = self._builder, None
        if builder is None:
            return None
        worker, builder_kind = builder
        if builder_kind == kind and worker.alive and worker.process.poll() is None:
            return worker
        self.supervisor.stop_worker(worker)
        return None

    def stop_builder(self) -> None:
        """Stop the idle builder, if there is one."""
        builder, self._builder = self._builder, None
        if builder is not None:
            self.supervisor.stop_worker(builder[0])

    def clear(self) -> None:
        """Stop all idle workers."""
        self.stop_builder()
        idle, self._idle = self._idle, None
        if idle is not None:
            self.supervisor.stop_worker(idle)
