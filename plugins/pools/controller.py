"""Give the workers of pytest-xdist their boards, from the controller, and keep the accounts of boards that are lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hil.errors import HilError, LabError, TargetUnreachable
from hil.plugins.pools.lost_board import LOST
from hil.plugins.pools.open_pool import open_pool
from hil.pools.lease import Leases
from hil.report.schema import VoidAttempt, VoidRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.plugins.pools.model_scheduling import ModelScheduling
    from hil.plugins.run import HilRun
    from hil.pools.pool import Pool
    from hil.pools.pool_board import PoolBoard

NAME = "hil-pool"
CHANGED = "hil_boards_changed"
"""The event by which the thread that obtains boards wakes xdist's loop."""


class PoolController:
    """A pytest plugin for a controller whose target is several boards; implements ``Boards`` for the scheduling."""

    leases: Leases

    def __init__(self, run: HilRun) -> None:
        """Obtain no board yet."""
        self.run = run
        self._pool: Pool | None = None
        self._dsession: Any = None
        self._given: dict[str, PoolBoard | None] = {}
        self._lost: dict[str, str] = {}
        self._fallback = ""
        self._scheduling: ModelScheduling | None = None

    # Hooks

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: Sequence[Any]) -> None:
        """Begin to obtain boards while the workers start: as many as there are workers or models, whichever is less."""
        assert self.run.config is not None  # noqa: S101 - a run without config ended before
        models = {row.model for row in self.run.plan.rows if row.model not in self.run.states.out_of_scope}
        self._dsession, self.leases = config.pluginmanager.get_plugin("dsession"), Leases()
        self._pool = self.run.pool = open_pool(self.run, self.run.config, max(1, min(len(specs), len(models - {""}))))
        self._pool.on_change = lambda: self._dsession.queue.put((CHANGED, {}))
        self._pool.on_loss = self.leases.end
        self._pool.start()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Send a worker the path of the folder in which it finds the name of its board."""
        self.leases.open(node.gateway.id)
        node.workerinput["hil_pool"] = str(self.leases.folder)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> ModelScheduling:
        """Return the scheduling that keeps the tests of a model on one board."""
        from hil.plugins.pools.model_scheduling import ModelScheduling

        scheduling = ModelScheduling(config, log, self)
        setattr(self._dsession, f"worker_{CHANGED}", scheduling.boards_changed)
        self._scheduling = scheduling
        return scheduling

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """If ``report`` states that the board was lost, note this for the worker that ran the test."""
        if (why := getattr(report, LOST, None)) is not None:
            self._lost.setdefault(report.node.gateway.id, str(why))

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Show a test as "board lost", neither passed nor failed, if its worker lost the board during it."""
        return None if getattr(report, LOST, None) is None else ("board lost", "L", "BOARD LOST")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Fail the run if tests are left in the queue."""
        queue = {} if self._scheduling is None else self._scheduling.workqueue
        left = [nodeid for unit in queue.values() for nodeid in unit]
        if left:
            self.run.other_tests_failed += 1
            what = f"{len(left)} tests did not run, because their worker or board was lost"
            self.run.notes.append(f"{what}: the first is {left[0]}: run again")

    def pytest_unconfigure(self) -> None:
        """Remove the files for the workers."""
        if self._pool is not None:
            self.leases.close()

    # Boards

    def models_of(self, node: Any) -> Mapping[str, str] | None:
        """Read the notes that the worker wrote after its collection, and return the model of each of its tests.

        The model of a test without one is empty. Return ``None`` if the worker wrote nothing.
        """
        try:
            collected = json.loads((self.leases.folder / f"{node.gateway.id}.collected").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        self.run.read_notes(collected["notes"])
        node.hil_notes_read = True
        models: dict[str, str] = collected["models"]
        return models

    def wait(self) -> None:
        """Wait for a board. If no board can be reached, prepare the fallback, unless ``--hil-fallback=fail`` is set."""
        assert self._pool is not None  # noqa: S101 - it was opened before the workers
        self._pool.wait()
        if self._pool.exhausted and isinstance(error := self._pool.error(), TargetUnreachable):
            choice = self.run.pytest_config.getoption("hil_fallback", None) or "cpu"
            if choice != "fail":
                self._fallback = str(error)
                self.run.progress(f"{error}: falling back ({choice}), which never counts as {self.run.target}")

    def give(self, node: Any) -> bool:
        """Give the worker a board or the reason for the fallback, if it has neither; return whether it may get tests.

        Return false if no board is free now, and for a worker whose board was lost.
        """
        name = node.gateway.id
        if name in self._given or self.is_lost(node):
            return not self.is_lost(node)
        board = None if self._pool is None or self._fallback else self._pool.take(name)
        if board is None and not self._fallback:
            return False
        self._given[name] = board
        self.leases.give(name, board, self._fallback)
        return True

    def is_lost(self, node: Any) -> bool:
        """Return whether the worker reported that its board was lost."""
        return node.gateway.id in self._lost

    def ended(self, node: Any) -> str | None:
        """Give the worker's board back to the pool, or remove it from the pool if it was lost.

        Return why the worker ended too early; ``None`` if it finished.
        """
        name = node.gateway.id
        why = self._lost.get(name)
        if self._pool is not None and why is not None:
            board = self._pool.lose(name, why)
            if board is not None:
                self.run.lost_boards[board.name] = why
        elif self._pool is not None:
            self._pool.give_back(name)
        if why is None and not hasattr(node, "workeroutput"):
            why = f"worker {name} ended early: it crashed or was killed"
        return why

    def void(self, model: str, tests: Sequence[str], node: Any, why: str, *, again: bool) -> None:
        """Remove the results of ``tests`` from the accounts, and list them in the report as a void attempt.

        ``node`` is the worker that ran them and ``why`` the reason. Unless ``again`` is true, the rows of these tests
        become ``not_run``.
        """
        board = self._given.get(node.gateway.id)
        name, run = "cpu" if board is None else board.name, self.run
        rows = [
            VoidRow(**{key: getattr(result, key) for key in VoidRow.model_fields})
            for result in run.accounts.void(set(tests))
        ]
        run.states.finished.difference_update(tests)
        run.attempts.append(VoidAttempt(model=model, board=name, reason=why, repeated=again, rows=tuple(rows)))
        what = f"{model or tests[0]}: the attempt on board {name} is void: {why}"
        run.notes.append(f"{what}: " + ("its checks begin again" if again else "it was the second attempt"))
        run.progress(run.notes[-1])
        if not again:
            lost = self.is_lost(node)
            what += ": it was the second attempt: run again"
            self._not_run(tests, LabError(what) if lost else None, what)

    def give_up(self, tests: Sequence[str]) -> bool:
        """Return whether no board is left and none will come; if so, note that ``tests`` are not run."""
        if self._fallback or self._pool is None or not self._pool.exhausted:
            return False
        error = self._pool.error()
        self._not_run(tests, error, str(error))
        return True

    def _not_run(self, tests: Sequence[str], problem: HilError | None, why: str) -> None:
        self.run.states.lost.update(dict.fromkeys(tests, why))
        self.run.problem = self.run.problem or problem
        if problem is None:  # no board is to blame: the tests themselves may have ended their workers
            self.run.other_tests_failed += 1

    def stop(self, why: str) -> None:
        """End the run with a lab error that states ``why``."""
        self.run.problem = self.run.problem or LabError(f"{why}: on target {self.run.target!r}")
        self._dsession.shouldstop = why
