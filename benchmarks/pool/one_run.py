"""One run of the benchmark's random part: ``python -m benchmarks.pool.one_run ORDER``, ORDER as JSON.

The controller, the scheduling, the accounts, the leases, the keeper and the coordinator are real. Only the workers are
stand-ins of this process: each of their tests locks its board's file, as an agent would, and waits. A
worker may be killed in any test. The last line of output has what happened to each row.
"""

from __future__ import annotations

import fcntl
import json
import queue
import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hil.config.spec import TargetSpec
from hil.plan import Plan
from hil.plugins.accounts import Accounts, NodeStates
from hil.plugins.pools.controller import CHANGED, PoolController
from hil.plugins.pools.lost_board import LOST
from hil.pools.lease import Lease
from hil.results import CheckResult, Row, TargetUse, Verdict
from hil.session.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET = "lab"
CHECKS = ("contract.signature", "parity.outputs", "latency.p99")
LONGEST_TEST = 0.6
"""Seconds that a test waits at most; half of it on average."""


def _as_any(**fields: Any) -> Any:
    """Return an object with these attributes, in place of an object of pytest or of the plugin."""
    return SimpleNamespace(**fields)


class Worker:
    """A worker of xdist: it runs the tests it gets one at a time, on its board."""

    def __init__(self, run: OneRun, number: int) -> None:
        """Open the lease, as a worker does when it starts."""
        self.gateway = SimpleNamespace(id=f"gw{number}")
        self.workerinput: dict[str, Any] = {}
        self.queue: list[int] = []
        self.shutting_down = False
        self.board = ""
        self.lost = ""
        self._run = run
        self._until: float | None = None
        self._lock: Any = None
        run.controller.pytest_configure_node(self)
        self._folder = Path(self.workerinput["hil_pool"])
        collected = {"notes": {}, "models": {row.test: row.model for row in run.rows}}
        (self._folder / f"{self.gateway.id}.collected").write_text(json.dumps(collected))

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        """Accept tests."""
        self.queue += indices

    def shutdown(self) -> None:
        """End after the tests that remain in the queue."""
        self.shutting_down = True

    def step(self) -> str:
        """Do the next action. Return ``"ended"``, ``"lost"`` or ``"killed"`` if the worker ended, else ``""``."""
        if not self.queue:
            return "ended" if self.shutting_down else ""
        if self._until is None:
            if len(self.queue) > 1 or self.shutting_down:  # as xdist's, it runs its last test once it knows the next
                self._begin()
            return ""
        if self._run.random.random() < self._run.killed:
            return "killed"
        if self.lost:
            report: Any = SimpleNamespace(node=self, **{LOST: self.lost})
            self._run.controller.pytest_runtest_logreport(report)
            return "lost"
        if time.monotonic() >= self._until:
            self._until = None
            self._run.judged(self, self.queue.pop(0))
        return ""

    def _begin(self) -> None:
        if not self.board:
            lease = Lease(self._folder, self.gateway.id)
            board, why_not = lease.board()
            if board is None:
                raise AssertionError(f"a worker without a board was given tests: {why_not}")
            self.board = board.name
            lease.watch(lambda why: setattr(self, "lost", self.lost or why))
            self._lock = (self._run.boards / board.name).open("a")
        self._until = time.monotonic() + self._run.random.uniform(0, LONGEST_TEST)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._run.collisions.append((self.board, time.time()))
            self.lost = self.lost or "another run uses the board"  # as the session does, which cannot hold it

    def close(self) -> None:
        """Leave the board."""
        if self._lock is not None:
            self._lock.close()


class OneRun:
    """A controller with its workers, as xdist runs them."""

    def __init__(self, order: dict[str, Any]) -> None:
        """Begin to obtain boards."""
        self.random = random.Random(order["seed"])  # noqa: S311 - it draws what happens, no secrets
        self.killed = float(order["killed"])
        self.boards = Path(order["boards"])
        self.collisions: list[tuple[str, float]] = []
        self.doubled = 0
        self.results: dict[str, str] = {}
        self.rows = tuple(
            Row(id=check, model=f"m{model}", precision="fp32", required=True, test=f"test_{check}.py::test[m{model}]")
            for check in CHECKS
            for model in range(int(order["models"]))
        )
        spec = TargetSpec.model_validate(order["spec"])
        self.sent: queue.Queue[Any] = queue.Queue()
        self.dsession = SimpleNamespace(queue=self.sent, shouldstop="")
        plan = Plan(TARGET, self.rows)
        self.run = _as_any(
            config=SimpleNamespace(target=lambda _name: spec),
            plan=plan,
            accounts=Accounts(plan),
            states=NodeStates(selected={row.test for row in self.rows}),
            target=TARGET,
            run_id=order["run"],
            pool=None,
            problem=None,
            notes=[],
            attempts=[],
            lost_boards={},
            other_tests_failed=0,
            progress=lambda _line: None,
            read_notes=lambda _notes: None,
            pytest_config=SimpleNamespace(getoption=lambda _name, default=None: default),
        )
        self.controller = PoolController(self.run)
        plugins = SimpleNamespace(get_plugin=lambda _name: self.dsession)
        option = SimpleNamespace(loadscopereorder=True, debug=False)
        specs = ["popen"] * int(order["workers"])
        self.config = _as_any(pluginmanager=plugins, option=option, getvalue=lambda _name: specs)
        self.controller.pytest_xdist_setupnodes(self.config, specs)
        log: Any = SimpleNamespace(loadscopesched=lambda *_args: None)
        self.scheduling = self.controller.pytest_xdist_make_scheduler(self.config, log)
        self.workers: list[Worker] = []
        self._names = 0

    def judged(self, worker: Worker, index: int) -> None:
        """Enter the result of a test, as the report of a worker would."""
        row = self.rows[index]
        if row.key in self.run.accounts.outcomes:
            self.doubled += 1
        values = {key: getattr(row, key) for key in ("id", "model", "precision", "scenario", "required")}
        use = TargetUse(requested=TARGET, used=TARGET)
        result = CheckResult(**values, verdict=Verdict.PASSED, reason="waited", target=use, board=worker.board)
        self.run.accounts.enter(row.test, Outcome(result=result), own=False)
        self.run.states.finished.add(row.test)
        self.scheduling.mark_test_complete(worker, index)

    def _add_worker(self) -> None:
        worker: Any = Worker(self, self._names)
        self._names += 1
        self.workers.append(worker)
        self.scheduling.add_node(worker)
        self.scheduling.add_node_collection(worker, [row.test for row in self.rows])
        if self.scheduling.collection_is_completed:
            self.scheduling.schedule()

    def loop(self, workers: int, patience: float) -> dict[str, Any]:
        """Run all tests and return what happened. After ``patience`` seconds, return even if the run hangs."""
        for _ in range(workers):
            self._add_worker()
        until = time.monotonic() + patience
        while self.workers and time.monotonic() < until:
            while not self.sent.empty():
                kind, _ = self.sent.get()
                if kind == CHANGED:
                    getattr(self.dsession, f"worker_{CHANGED}")()
            for worker in list(self.workers):
                self._step(worker)
            time.sleep(0.01)
        hung = bool(self.workers)
        for worker in self.workers:
            worker.close()
        self.run.pool.close()
        self.controller.pytest_sessionfinish()
        self.controller.pytest_unconfigure()
        return self.account(hung=hung)

    def _step(self, worker: Worker) -> None:
        how = worker.step()
        if not how:
            return
        if how == "ended":
            worker.workeroutput = {}  # type: ignore[attr-defined] # as xdist sets it
        self.workers.remove(worker)
        worker.close()
        if worker in self.scheduling.nodes:  # xdist drops workers for which there is no work when it begins
            self.scheduling.remove_node(worker)
        if how != "ended" and not self.scheduling.tests_finished:
            self._add_worker()

    def account(self, *, hung: bool) -> dict[str, Any]:
        """Return what happened to each row, and on which boards."""
        outcomes = self.run.accounts.outcomes
        passed = {row.test for row in self.rows if row.key in outcomes}
        not_run = set(self.run.states.lost)
        boards = [
            {outcomes[row.key][1].result.board for row in self.rows if row.model == model and row.key in outcomes}
            for model in {row.model for row in self.rows}
        ]
        return {
            "rows": len(self.rows),
            "passed": len(passed),
            "not_run": len(not_run),
            "missing": len({row.test for row in self.rows} - passed - not_run),
            "doubled": self.doubled + len(passed & not_run) + len(self.run.accounts.rejected),
            "split": sum(len(names) > 1 for names in boards),
            "attempts": len(self.run.attempts),
            "lost_boards": len(self.run.lost_boards),
            "collisions": self.collisions,
            "problem": str(self.run.problem or ""),
            "hung": hung,
        }


def main() -> int:
    """Run, and print what happened."""
    order = json.loads(sys.argv[1])
    done = OneRun(order).loop(int(order["workers"]), float(order["patience"]))
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
