"""Distribute the tests over the workers, each of which has a board: the tests of one model stay together.

A worker gets tests only once it has a board, and the models of a lost board begin again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest
    from xdist.remote import Producer
    from xdist.workermanage import WorkerController


class Boards(Protocol):
    """What the scheduling needs of the pool."""

    def models_of(self, node: WorkerController) -> Mapping[str, str] | None:
        """Return the model of each test that the worker collected, ``""`` for a test without one.

        Return ``None`` if the worker wrote nothing.
        """

    def wait(self) -> None:
        """Wait until a board is available or it is certain that none will be."""

    def give(self, node: WorkerController) -> bool:
        """Give the worker a board unless it has one; return whether it may get tests.

        Return false if its board was lost or no board is free now. With the fallback, no board is needed.
        """

    def is_lost(self, node: WorkerController) -> bool:
        """Return whether the board of the worker was lost."""

    def ended(self, node: WorkerController) -> str | None:
        """Note that the worker ended; return why it ended too early, ``None`` if it finished."""

    def void(self, model: str, tests: Sequence[str], node: WorkerController, why: str, *, again: bool) -> None:
        """Void the attempt of ``node`` at ``tests``, those of ``model``, because of ``why``.

        ``again`` is whether the tests begin again.
        """

    def give_up(self, tests: Sequence[str]) -> bool:
        """If no board is left and none will come, note that these tests are not run, and return true."""

    def stop(self, why: str) -> None:
        """End the run because of ``why``, with a failure."""


class ModelScheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist ships no types
    """Gives each worker whole models."""

    def __init__(self, config: pytest.Config, log: Producer, boards: Boards) -> None:
        """Schedule nothing yet."""
        super().__init__(config, log)
        self._boards = boards
        self._models: dict[str, str] = {}
        self._begun_again: set[str] = set()

    def _split_scope(self, nodeid: str) -> str:
        """Return the scope of a test: its model; of a test without one, its module or class."""
        model = self._models.get(nodeid, "")
        return f"model {model}" if model else str(super()._split_scope(nodeid))

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Add the tests of a worker. Stop the run if its tests differ from those of the earlier workers."""
        models = self._boards.models_of(node)
        known = self.collection if self.collection_is_completed else None
        if models is None:
            self._boards.stop(f"worker {node.gateway.id} did not report the models of its tests: run again")
            return
        if known is not None and list(collection) != known:
            self._boards.stop(f"worker {node.gateway.id} and the other workers collected different tests: run again")
            return
        self._models.update(models)
        super().add_node_collection(node, collection)

    def schedule(self) -> None:
        """Distribute the models, or continue after a worker was added."""
        if self.collection is None:
            self._boards.wait()
            super().schedule()
            self._end_without_boards()
        else:
            self.boards_changed()

    def boards_changed(self) -> None:
        """Give models to workers that have no work."""
        for node in self.nodes:
            self._reschedule(node)
        self._end_without_boards()

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Note that a test is complete, unless the worker's board was lost: such a test begins again."""
        if not self._boards.is_lost(node):
            super().mark_test_complete(node, item_index, duration)

    def remove_node(self, node: WorkerController) -> str | None:
        """Remove a worker that ended, and return ``None``.

        If it ended too early, its unfinished models go back to the queue; a begun model goes back only once.
        """
        workload = self.assigned_work.pop(node)
        why = self._boards.ended(node)
        current = True
        for scope, unit in workload.items():
            if why is None or all(unit.values()):
                continue
            began, current = current or any(unit.values()), False
            if began:
                again = scope not in self._begun_again
                self._begun_again.add(scope)
                model = self._models.get(next(iter(unit)), "")
                self._boards.void(model, list(unit), node, why, again=again)
                if not again:
                    continue
            self.workqueue[scope] = dict.fromkeys(unit, False)
            self.workqueue.move_to_end(scope, last=False)
        self.boards_changed()
        return None

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Give the worker a model, if one is left and the worker has a board."""
        if self.workqueue and node in self.registered_collections and self._boards.give(node):
            super()._assign_work_unit(node)

    def _reschedule(self, node: WorkerController) -> None:
        """Give the worker models, or let it end if no model is left. Do nothing if its board was lost."""
        if self.collection is None or node not in self.registered_collections or self._boards.is_lost(node):
            return
        left = None
        while left != len(self.workqueue):  # a worker runs its last test only once it knows the one after it
            left = len(self.workqueue)
            super()._reschedule(node)

    def _end_without_boards(self) -> None:
        """If models are left but no board is, empty the queue and shut the workers down, so that the run ends."""
        left = [nodeid for unit in self.workqueue.values() for nodeid in unit]
        if left and self._boards.give_up(left):
            self.workqueue.clear()
            for node in self.nodes:
                node.shutdown()
