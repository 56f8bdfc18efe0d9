"""The accounts: every planned row ends with exactly one result, whatever happened to its test.

Pure bookkeeping, no pytest and no I/O. What was planned is never forgotten: a row without a result
becomes ``not_run`` with its cause.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.config.own_checks import REWRITE
from hil.results import Cause, CheckResult, Row, RowKey, TargetUse, Verdict, not_run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hil.plan import Plan
    from hil.session.outcome import Outcome

LONGEST_NAME = 150
"""Characters of a test's name that stand in the id of the row that it owes."""
WORST_FIRST = (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN, Verdict.WARNED, Verdict.PASSED)


@dataclass(frozen=True)
class Rejected:
    """A result the accounts could not take: its row is unknown or was judged by another test already."""

    id: str
    model: str
    precision: str
    reason: str


@dataclass(frozen=True)
class OwnTest:
    """A test that owes the report a check of the project's own; ``why`` says why it has no case, if it has none."""

    nodeid: str
    model: str = ""
    precision: str = ""
    why: str = ""

    @property
    def row(self) -> Row:
        """The row that stands for what it would have judged, whose id only the test itself knows."""
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
class Fates:
    """What became of the tests, by node id: says why a row has no result."""

    selected: set[str] = field(default_factory=set)
    deselected: set[str] = field(default_factory=set)
    crashed: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    out_of_scope: set[str] = field(default_factory=set)  # models left out by --hil-model
    own: dict[str, OwnTest] = field(default_factory=dict)  # by node id: what was collected, selected or not
    stopped: str = ""
    problem: str = ""  # the user's or the laboratory's, as which tests ended

    def cause_of(self, row: Row) -> tuple[Cause, str]:
        """Why ``row`` has no result, in one word and in one line."""

        def among(nodeids: Iterable[str]) -> bool:
            return any(nodeid == row.test or nodeid.endswith("/" + row.test) for nodeid in nodeids)

        if among(self.crashed):
            return Cause.CRASHED, "the process that ran its test died"
        if row.model in self.out_of_scope:
            return Cause.OUT_OF_SCOPE, "--hil-model left this model out"
        if among(self.deselected):
            return Cause.DESELECTED, "its test was deselected on the command line"
        if among(self.finished):
            nothing = "its test ended without giving a result"
            return (Cause.STOPPED, f"{nothing}: {self.problem}") if self.problem else (Cause.NO_RESULT, nothing)
        if among(self.selected):
            return Cause.STOPPED, self.stopped or "the run ended before its test"
        why = self.own[row.test].why if row.test in self.own else ""
        return Cause.NOT_COLLECTED, why or f"its test {row.test} was not collected: is the file there and selected?"


@dataclass
class Accounts:
    """Results by row. Of several attempts of one test the worst counts; a second test's result is rejected."""

    plan: Plan
    outcomes: dict[RowKey, tuple[str, Outcome]] = field(default_factory=dict)
    unlimited: dict[RowKey, Outcome] = field(default_factory=dict)
    own: dict[RowKey, Row] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)

    def enter(self, nodeid: str, outcome: Outcome, *, own: bool) -> None:
        """Enters one result that reached the controller; ``own`` marks a user's own check."""
        result = outcome.result
        planned = self.plan.by_key()
        if result.key in self.plan.unlimited_keys():
            self.unlimited[result.key] = outcome
            return
        if own and result.key not in planned:
            self.own.setdefault(result.key, _own_row(result, nodeid))
        elif result.key not in planned:
            self._reject(result, f"no such row was planned; it came from {nodeid}")
            return
        before = self.outcomes.get(result.key)
        if before is not None and before[0] != nodeid:
            self._reject(result, f"judged twice: by {before[0]} and by {nodeid}")
        if before is None or _severity(result) < _severity(before[1].result):
            self.outcomes[result.key] = (nodeid, outcome)

    def _reject(self, result: CheckResult, reason: str) -> None:
        self.rejected.append(Rejected(result.id, result.model, result.precision, reason))

    def close(self, fates: Fates, target: TargetUse) -> list[CheckResult]:
        """One result for each planned row, in the plan's order, then the users' own."""
        results = self._results(self.plan.rows, fates, target)
        owed = [test.row for test in fates.own.values() if self._owes(test)]
        listed = self._results(self.plan.own, fates, target)
        listed = [_told(one) for one in listed]
        own = [*listed, *self._results([*self.own.values(), *owed], fates, target)]
        tests = {row.key: row.test for row in (*self.plan.own, *self.own.values(), *owed)}
        tests |= {key: nodeid for key, (nodeid, _) in self.outcomes.items() if key in tests}
        return [*results, *(one.model_copy(update={"test": tests[one.key]}) for one in own)]

    def _owes(self, test: OwnTest) -> bool:
        """Whether a test of the user's own gave no result, and no listed row stands for what it would have given."""
        if test.why:
            function = test.nodeid.split("[")[0]
            return all(listed.split("[")[0] != function for listed in self.plan.own_tests)
        planned = {row.test for row in self.plan.own}
        return test.nodeid not in planned and all(nodeid != test.nodeid for nodeid, _ in self.outcomes.values())

    def _results(self, rows: Iterable[Row], fates: Fates, target: TargetUse) -> list[CheckResult]:
        twice = {(r.id, r.model, r.precision) for r in self.rejected if r.reason.startswith("judged twice")}
        results = []
        for row in rows:
            if row.key not in self.outcomes:
                cause, reason = fates.cause_of(row)
                results.append(not_run(row, cause, reason, target))
                continue
            result = self.outcomes[row.key][1].result.model_copy(update={"required": row.required})
            if row.key[:3] in twice:
                update = {"verdict": Verdict.FAILED, "cause": None, "reason": "two tests gave a result for this row"}
                result = result.model_copy(update=update)
            results.append(result)
        return results


def _told(result: CheckResult) -> CheckResult:
    """A listed check that nothing answers may have been removed on purpose: then its entry has to go."""
    if result.cause not in {Cause.NOT_COLLECTED, Cause.NO_RESULT}:
        return result
    advice = f"bring it back, or, if it was removed on purpose, run: {REWRITE}"
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
