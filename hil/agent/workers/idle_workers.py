"""Keeps idle workers: one that has imported the runtimes, one that has built an engine, and new ones."""

from typing import Any, Dict, List, Optional, Tuple

from ..supervisor import Supervisor
from .worker_process import WorkerProcess

MOST_NEW = 2
"""The most workers that are started in advance: each takes the memory of an imported runtime."""

READY_SECONDS = 60.0


class IdleWorkers:
    """At most one idle worker that has imported the runtimes, one idle builder, and new workers for announced loads.

    The idle worker is stopped before a fresh worker starts and before a build. The builder is kept only if the host has
    announced another build.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._idle: Optional[WorkerProcess] = None
        self._builder: Optional[Tuple[WorkerProcess, Any]] = None
        self._new: Tuple[str, List[WorkerProcess]] = ("", [])

    def keep(self, worker: WorkerProcess, libraries: Dict[str, Any]) -> None:
        """Stop all idle workers, and make ``worker`` the idle worker.

        If the worker's report ``libraries`` lists a GPU, stop ``worker`` too: it would remain a client of that
        GPU.
        """
        self.clear()
        facts = libraries.get("facts") or {}
        if any((known or {}).get("gpu") for known in facts.values()):
            self.supervisor.stop_worker(worker)  # it would remain a client of the GPU
        else:
            self._idle = worker

    def worker(self, runtime: str, *, fresh: bool, more: int = 0) -> WorkerProcess:
        """Return a worker for one engine: the idle worker if it is alive and ``fresh`` is false, otherwise a new one.

        All other idle workers are stopped. ``more`` further new workers are started at the same time, for the next
        calls. Workers that are started in advance have imported ``runtime``, and nothing else, when this returns; a
        single new worker imports it when the engine is loaded.
        """
        self.stop_builder()
        idle, self._idle = self._idle, None
        if idle is not None and not fresh and _runs(idle):
            self._stop_new()
            return idle
        if idle is not None:
            self.supervisor.stop_worker(idle)
        return self._new_worker(runtime, min(more, MOST_NEW))

    def _new_worker(self, runtime: str, more: int) -> WorkerProcess:
        known, workers = self._new
        ready = [one for one in workers if known == runtime and _runs(one)][: 1 + more]
        self._new = ("", [one for one in workers if one not in ready])
        self._stop_new()
        if not more and not ready:
            return self.supervisor.start_worker()
        self._new = (runtime, ready)
        try:
            started = [self.supervisor.start_worker(runtime) for _ in range(1 + more - len(ready))]
            ready += started
            for worker in started:
                self.supervisor.exchange(worker, {"op": "echo"}, READY_SECONDS)
        except BaseException:
            self._stop_new()
            raise
        return ready.pop(0)

    def _stop_new(self) -> None:
        _, workers = self._new
        self._new = ("", [])
        for worker in workers:
            self.supervisor.stop_worker(worker)

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
        if builder_kind == kind and _runs(worker):
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
        self._stop_new()
        idle, self._idle = self._idle, None
        if idle is not None:
            self.supervisor.stop_worker(idle)


def _runs(worker: WorkerProcess) -> bool:
    return worker.alive and worker.process.poll() is None
