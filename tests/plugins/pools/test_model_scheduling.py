"""The scheduling of a pool: a model stays on one board, and no test is lost or judged twice, whatever boards do."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hil.plugins.pools.controller import PoolController
from hil.plugins.pools.model_scheduling import ModelScheduling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODELS = ("one", "two", "three", "four")
TESTS = {f"suites/test_{check}.py::test[{model}-fp32]": model for check in "abc" for model in MODELS}
TESTS["test_own.py::test_plain"] = ""


class Worker:
    """A worker that runs the tests that were sent to it, one at a time."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.queue: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        assert not self.shutting_down
        self.queue += indices

    def shutdown(self) -> None:
        self.shutting_down = True


class Lab:
    """A pool with a number of boards; records the calls of the scheduling."""

    def __init__(self, boards: int) -> None:
        self.free = boards
        self.holders: set[str] = set()
        self.lost: set[str] = set()
        self.voided: list[tuple[str, bool]] = []
        self.not_run: list[str] = []
        self.results: dict[str, str] = {}
        self.stopped = ""

    def models_of(self, node: Worker) -> Mapping[str, str] | None:
        return None if node.gateway.id == "mute" else TESTS

    def wait(self) -> None:
        pass

    def give(self, node: Worker) -> bool:
        name = node.gateway.id
        if name not in self.holders and self.free and name not in self.lost:
            self.free -= 1
            self.holders.add(name)
        return name in self.holders and name not in self.lost

    def is_lost(self, node: Worker) -> bool:
        return node.gateway.id in self.lost

    def ended(self, node: Worker) -> str | None:
        held = node.gateway.id in self.holders
        self.holders.discard(node.gateway.id)
        if node.gateway.id in self.lost:
            return "unplugged"
        self.free += held
        return None if node.shutting_down and not node.queue else "killed"

    def void(self, model: str, tests: Sequence[str], node: Worker, why: str, *, again: bool) -> None:
        assert why
        assert node.gateway.id not in self.holders
        self.voided.append((model, again))
        for test in tests:
            self.results.pop(test, None)
        if not again:
            self.not_run += tests

    def give_up(self, tests: Sequence[str]) -> bool:
        if self.free or self.holders:
            return False
        self.not_run += tests
        return True

    def stop(self, why: str) -> None:
        self.stopped = why


def scheduling(lab: Lab, workers: int) -> ModelScheduling:
    """Return a scheduling for a number of workers."""
    option = SimpleNamespace(loadscopereorder=True, debug=False)
    config: Any = SimpleNamespace(option=option, getvalue=lambda _name: ["popen"] * workers)
    log: Any = SimpleNamespace(loadscopesched=lambda *_args: None)
    return ModelScheduling(config, log, lab)


def joined(schedule: ModelScheduling, name: str) -> Worker:
    """Add a worker, as xdist does."""
    worker: Any = Worker(name)
    schedule.add_node(worker)
    schedule.add_node_collection(worker, list(TESTS))
    if schedule.collection_is_completed:
        schedule.schedule()
    return worker  # type: ignore[no-any-return]  # for xdist it is one of its own nodes


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 4), st.integers(1, 5), st.lists(st.tuples(st.integers(0, 3), st.sampled_from("rrrrrklu"))))
@example(2, 2, [(0, "r"), (0, "r"), (0, "r"), (1, "r"), (0, "r"), (1, "r"), (0, "l")])  # a lone test is left last
def test_each_test_ends_once_on_the_board_of_its_model(  # noqa: C901 - xdist's loop, in one place
    workers: int, boards: int, events: list[tuple[int, str]]
) -> None:
    """After any results, kills and losses, each test has one result or is not run, and each model has one board."""
    lab = Lab(boards)
    schedule = scheduling(lab, workers)
    alive = [joined(schedule, f"gw{number}") for number in range(workers)]
    names, tests = workers, list(TESTS)

    def run_one(worker: Any) -> None:
        if worker.queue and (len(worker.queue) > 1 or worker.shutting_down):
            index = worker.queue.pop(0)
            assert tests[index] not in lab.results
            lab.results[tests[index]] = worker.gateway.id
            schedule.mark_test_complete(worker, index)

    def end(worker: Any, *, replaced: bool) -> None:
        nonlocal names
        schedule.remove_node(worker)
        alive.remove(worker)
        if replaced:
            alive.append(joined(schedule, f"gw{names}"))
            names += 1

    for number, event in [*events, *((number % 4, "r") for number in range(400))]:
        if not alive:
            break
        worker: Any = alive[number % len(alive)]
        if event == "r":
            run_one(worker)
            if worker.shutting_down and not worker.queue:
                end(worker, replaced=False)
        elif event in "kl" and (worker.queue or not worker.shutting_down):
            if event == "l" and worker.gateway.id in lab.holders:
                lab.lost.add(worker.gateway.id)
            end(worker, replaced=True)
        elif event == "u":
            schedule.boards_changed()
    assert not alive
    assert schedule.tests_finished
    ended = Counter([*lab.results, *lab.not_run])
    assert ended == Counter(dict.fromkeys(TESTS, 1))
    for model in MODELS:
        users = {user for test, user in lab.results.items() if TESTS[test] == model}
        assert len(users) <= 1
    assert all(count <= 2 for count in Counter(model for model, _ in lab.voided).values())


def test_a_worker_without_a_board_waits_for_one() -> None:
    """A worker without a board gets no test and is not ended; it gets tests when a board is free."""
    lab = Lab(1)
    schedule = scheduling(lab, 2)
    first, second = joined(schedule, "gw0"), joined(schedule, "gw1")
    assert first.queue
    assert not second.queue
    assert not second.shutting_down
    lab.free += 1
    schedule.boards_changed()
    assert second.queue
    models = [{TESTS[list(TESTS)[index]] for index in worker.queue} for worker in (first, second)]
    assert not models[0] & models[1]


def test_without_any_board_all_tests_are_accounted_for() -> None:
    """If no board comes, all tests are not run, and the workers end: nothing waits for ever."""
    lab = Lab(0)
    schedule = scheduling(lab, 2)
    workers = [joined(schedule, "gw0"), joined(schedule, "gw1")]
    assert sorted(lab.not_run) == sorted(TESTS)
    assert all(worker.shutting_down for worker in workers)
    assert schedule.tests_finished


def test_a_worker_that_tells_nothing_ends_the_run() -> None:
    """A worker that reports no models ends the run with an error."""
    lab = Lab(1)
    joined(scheduling(lab, 1), "mute")
    assert lab.stopped == "worker mute did not report the models of its tests: run again"


def test_tests_that_could_not_begin_again_fail_the_run() -> None:
    """If xdist starts no further worker, the remaining tests count as a failure, even without rows."""
    lab = Lab(1)
    schedule = scheduling(lab, 1)
    schedule.remove_node(joined(schedule, "gw0"))  # killed, and not replaced
    run: Any = SimpleNamespace(other_tests_failed=0, notes=[])
    controller = PoolController(run)
    controller.pytest_sessionfinish()
    assert not run.other_tests_failed
    controller._scheduling = schedule  # noqa: SLF001 - as xdist asks for it
    controller.pytest_sessionfinish()
    assert run.other_tests_failed == 1
    assert f"{len(TESTS)} tests did not run" in run.notes[0]
