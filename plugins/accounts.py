"""Keeps the accounts of a run: every planned row ends with exactly one result, whatever happened to the row's test.

This module uses no pytest and does no I/O. A planned row without a result becomes ``not_run``, with the cause.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.config.own_checks import REWRITE, is_own
from hil.results import Cause, CheckResult, Row, RowKey, TargetUse, Verdict, not_run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hil.plan import Plan
    from hil.plugins.interactive.selection import Selection
    from hil.session.outcome import Outcome

LONGEST_NAME = 150
"""The maximum length, in characters, of a test's name in the id of its row."""
WORST_FIRST = (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN, Verdict.WARNED, Verdict.PASSED)


@dataclass(frozen=True)
class Rejected:
    """A result that the report lists as rejected: its row was not planned, or another test had judged the row."""

    id: str
    model: str
    precision: str
    reason: str


@dataclass(frozen=True)
class OwnTest:
    """An own test: a test of the project that uses ``hil_check`` without a ``hil`` marker, so it must give a result.

    ``why`` states why the test has no case (no model and precision to run with); it is empty if the test has one.
    """

    nodeid: str
    model: str = ""
    precision: str = ""
    why: str = ""

    @property
    def row(self) -> Row:
        """A row for the missing result of this test, named after the test."""
        function, bracket, case = self.nodeid.partition("[")
        name = re.sub(r"[^a-z0-9_]+", "_", (function.rsplit("::", maxsplit=1)[-1] + bracket + case).lower()).strip("_")
        return Row(
            id=f"test.{name[:LONGEST_NAME] or 'unnamed'}",
            model=self.model,
            precision=self.precision,
            scenario=self.nodeid,
            required=True,
            test=self.nodeid,
        )


@dataclass
class NodeStates:
    """The node ids of the tests in each state. The cause of a missing result is derived from them."""

    selected: set[str] = field(default_factory=set)
    deselected: set[str] = field(default_factory=set)
    crashed: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    out_of_scope: set[str] = field(default_factory=set)  # models excluded by --hil-model
    own: dict[str, OwnTest] = field(default_factory=dict)  # own tests by node id, whether selected or not
    stopped: str = ""  # why pytest stopped before its last test
    problem: str = ""  # the user's mistake or lab error that ended tests
    selection: Selection | None = None  # what the user typed, if the run is a trial of it
    lost: dict[str, str] = field(default_factory=dict)  # tests whose board was lost for the last time, and why

    def cause_of(self, row: Row) -> tuple[Cause, str]:
        """Return the cause of the missing result of ``row``, and a reason of one line."""

        def among(nodeids: Iterable[str]) -> bool:
            return any(nodeid == row.test or nodeid.endswith("/" + row.test) for nodeid in nodeids)

        lost = [why for nodeid, why in self.lost.items() if among([nodeid])]
        if lost or among(self.crashed):
            return (Cause.STOPPED, lost[0]) if lost else (Cause.CRASHED, "the process that ran its test died")
        if row.model in self.out_of_scope:
            return Cause.OUT_OF_SCOPE, "--hil-model left this model out"
        if among(self.deselected):
            return Cause.DESELECTED, "its test was deselected"
        if among(self.finished):
            nothing = "its test ended without giving a result"
            return (Cause.STOPPED, f"{nothing}: {self.problem}") if self.problem else (Cause.NO_RESULT, nothing)
        if among(self.selected):
            return Cause.STOPPED, self.stopped or "the run ended before its test"
        return self._not_collected(row)

    def _not_collected(self, row: Row) -> tuple[Cause, str]:
        why = self.own[row.test].why if row.test in self.own else ""
        if self.selection and not (is_own(row.id) and self.selection.has(row.test)):
            return Cause.DESELECTED, f"left out by {self.selection.text}"
        return (
            Cause.NOT_COLLECTED,
            why or f"its test {row.test} was not collected: check that its file exists and is selected",
        )


@dataclass
class Accounts:
    """The results by row.

    If one test gives several results for a row (it was retried), the worst counts. If a second test gives a result for
    a row, that result is rejected and the row fails.
    """

    plan: Plan
    outcomes: dict[RowKey, tuple[str, Outcome]] = field(default_factory=dict)
    unlimited: dict[RowKey, Outcome] = field(default_factory=dict)
    own: dict[RowKey, Row] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    _givers: dict[RowKey, str] = field(default_factory=dict)

    def enter(self, nodeid: str, outcome: Outcome, *, own: bool) -> None:
        """Enter one result of the test ``nodeid``, or list it in ``rejected``; raises nothing.

        ``own`` is whether the test is an own test (``OwnTest``). A second test's result for a row is rejected, but
        replaces the first result if it is worse. For a row without a limit, only the last result is kept.
        """
        result = outcome.result
        planned = self.plan.by_key()
        if result.key in self.plan.unlimited_keys():
            self.unlimited[result.key] = outcome
            self._givers[result.key] = nodeid
            return
        if own and result.key not in planned:
            self.own.setdefault(result.key, _own_row(result, nodeid))
        elif result.key not in planned:
            self._reject(result, f"no such row was planned: test {nodeid} gave this result")
            return
        before = self.outcomes.get(result.key)
        if before is not None and before[0] != nodeid:
            self._reject(result, f"judged twice: by {before[0]} and by {nodeid}")
        if before is None or _severity(result) < _severity(before[1].result):
            self.outcomes[result.key] = (nodeid, outcome)

    def void(self, nodeids: Collection[str]) -> list[CheckResult]:
        """Remove and return the results of the tests ``nodeids``, whose board was lost.

        ``rejected`` is not changed.
        """
        removed = [key for key, (nodeid, _) in self.outcomes.items() if nodeid in nodeids]
        results = [self.outcomes.pop(key)[1].result for key in removed]
        for key in removed:
            self.own.pop(key, None)
        for key in [key for key, nodeid in self._givers.items() if nodeid in nodeids]:
            del self._givers[key]
            results.append(self.unlimited.pop(key).result)
        return results

    def _reject(self, result: CheckResult, reason: str) -> None:
        self.rejected.append(Rejected(result.id, result.model, result.precision, reason))

    def close(self, states: NodeStates, target: TargetUse) -> list[CheckResult]:
        """Return one result for each planned row, in the plan's order, then one for each check of an own test.

        A row without a result is ``not_run``, with the cause from ``states`` and with ``target``.
        """
        results = self._results(self.plan.rows, states, target)
        missing = [test.row for test in states.own.values() if self._lacks_result(test)]
        listed = [_with_advice(result) for result in self._results(self.plan.own, states, target)]
        own = [*listed, *self._results([*self.own.values(), *missing], states, target)]
        tests = {row.key: row.test for row in (*self.plan.own, *self.own.values(), *missing)}
        tests |= {key: nodeid for key, (nodeid, _) in self.outcomes.items() if key in tests}
        return [*results, *(result.model_copy(update={"test": tests[result.key]}) for result in own)]

    def _lacks_result(self, test: OwnTest) -> bool:
        """Return whether an own test needs a row for its missing result.

        That is so if the test gave no result, and no check in ``hil.checks.json`` already has a row for this test.
        """
        if test.why:
            function = test.nodeid.split("[")[0]
            return all(listed.split("[")[0] != function for listed in self.plan.own_tests)
        planned = {row.test for row in self.plan.own}
        return test.nodeid not in planned and all(nodeid != test.nodeid for nodeid, _ in self.outcomes.values())

    def _results(self, rows: Iterable[Row], states: NodeStates, target: TargetUse) -> list[CheckResult]:
        twice = {(r.id, r.model, r.precision) for r in self.rejected if r.reason.startswith("judged twice")}
        results = []
        for row in rows:
            if row.key not in self.outcomes:
                cause, reason = states.cause_of(row)
                results.append(not_run(row, cause, reason, target))
                continue
            result = self.outcomes[row.key][1].result.model_copy(update={"required": row.required})
            if row.key[:3] in twice:
                update = {"verdict": Verdict.FAILED, "cause": None, "reason": "two tests gave a result for this row"}
                result = result.model_copy(update=update)
            results.append(result)
        return results


def _with_advice(result: CheckResult) -> CheckResult:
    """Return ``result`` with advice in its reason if the test of the check was not collected or gave no result.

    ``result`` is that of a check in ``hil.checks.json``.
    """
    if result.cause not in {Cause.NOT_COLLECTED, Cause.NO_RESULT}:
        return result
    advice = f"restore the test, or, if it was removed on purpose, run: {REWRITE}"
    return result.model_copy(update={"reason": f"listed among the own checks, but {result.reason}: {advice}"})


def _severity(result: CheckResult) -> int:
    return WORST_FIRST.index(result.verdict)


def _own_row(result: CheckResult, nodeid: str) -> Row:
    return Row(
        id=result.id,
        model=result.model,
        precision=result.precision,
        scenario=result.scenario,
        required=True,
        limit=result.limit,
        test=nodeid,
    )
