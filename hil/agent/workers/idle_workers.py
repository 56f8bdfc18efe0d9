"""Workers that wait: one that has imported the runtimes for the next engine, one that builds for the next build."""

from typing import Any, Dict, Optional, Tuple

from ..supervisor import Supervisor
from .worker_process import WorkerProcess


class IdleWorkers:
    """At most one idle worker that has imported the runtimes, which takes a second on a board.

    It serves one engine and no second one, never what has to be fresh (cold start, memory), and is gone before
    anything that must not find it there: a fresh worker, whose machine is measured, and a build, which needs memory.

    And at most one builder, where the host has said that another build follows: TensorRT loads its builder, seconds
    and gigabytes, once. Whatever else is asked for finds it gone.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._idle: Optional[WorkerProcess] = None
        self._builder: Optional[Tuple[WorkerProcess, Any]] = None

    def keep(self, worker: WorkerProcess, libraries: Dict[str, Any]) -> None:
        """Keeps ``worker`` unless it opened a GPU: it would be one more client there, with a context of its own."""
        self.clear()
        facts = libraries.get("facts") or {}
        if any((known or {}).get("gpu") for known in facts.values()):
            self.supervisor.stop_worker(worker)
        else:
            self._idle = worker

    def worker(self, *, fresh: bool) -> WorkerProcess:
        """A worker for one engine."""
        self.stop_builder()
        idle, self._idle = self._idle, None
        if idle is None:
            return self.supervisor.start_worker()
        if fresh or not idle.alive or idle.process.poll() is not None:
            self.supervisor.stop_worker(idle)
            return self.supervisor.start_worker()
        return idle

    def keep_builder(self, worker: WorkerProcess, kind: Any) -> None:
        """Keeps a worker that has built something of ``kind``, for the next build of that kind alone."""
        self.clear()
        self._builder = (worker, kind)

    def builder(self, kind: Any) -> Optional[WorkerProcess]:
        """The builder that waits, if it is alive and of ``kind``; it is the caller's now. Any other one is ended."""
        kept, self._builder = self._builder, None
        if kept is None:
            return None
        worker, its = kept
        if its == kind and worker.alive and worker.process.poll() is None:
            return worker
        self.supervisor.stop_worker(worker)
        return None

    def stop_builder(self) -> None:
        """Ends the builder that waits, if there is one."""
        kept, self._builder = self._builder, None
        if kept is not None:
            self.supervisor.stop_worker(kept[0])

    def clear(self) -> None:
        """Ends whoever waits."""
        self.stop_builder()
        idle, self._idle = self._idle, None
        if idle is not None:
            self.supervisor.stop_worker(idle)
