"""Connects plan and tests: gives tests their cases, and puts their outcomes on pytest's reports.

A case is the model and precision with which a test runs once.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from hil.catalogue import CATALOGUE
from hil.config.spec import PRECISIONS
from hil.errors import HilError, LabError, TargetHeld, UserError, did_you_mean
from hil.fixtures.case import Case
from hil.plugins.accounts import OwnTest
from hil.plugins.pools.lost_board import leave_board
from hil.plugins.run_state import BROKEN, JUDGED, OUTCOMES
from hil.report.schema import FailedTest
from hil.report.shown_text import one_line
from hil.results import Cause, CheckResult, TargetUse, Verdict
from hil.session.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from hil.config.load import Config
    from hil.plan import Plan
    from hil.plugins.accounts import NodeStates
    from hil.plugins.run_state import RunState

ENGINE_FIXTURES = frozenset({"hil_engine"})
MODEL_FIXTURES = frozenset({"hil_dataset", "hil_reference"})
MOST_FAILURES = 50
"""The most failed tests without a check that a report names; all are counted."""
LONGEST = 300
"""The maximum length, in characters, of an exception in the report."""
RESULTS, PROBLEM = "hil", "hil_problem"
"""The attributes of pytest's reports that hold outcomes and a problem, as JSON text, which xdist transfers."""
PROBLEMS = {"user": UserError, "held": TargetHeld, "lab": LabError}


def parametrize(metafunc: pytest.Metafunc, plan: Plan, config: Config | None, states: NodeStates) -> None:
    """Parametrize a test with the cases of its marker or fixtures; a case's id is e.g. ``digits-int8``.

    For an own test (see ``OwnTest``), ``states`` gets the excluded cases, or why there is no case. Raise ``UserError``
    if a marker names a check, model or precision that does not exist.
    """
    marker = metafunc.definition.get_closest_marker("hil")
    names = set(metafunc.fixturenames)
    only_models = _marked(metafunc, "hil_models", None if config is None else config.spec.models)
    only_precisions = _marked(metafunc, "hil_precisions", PRECISIONS)
    if marker is not None:
        _known(metafunc, "hil", marker.args[:1] or ("",), CATALOGUE)
    if marker is not None and marker.args:
        cases = [Case(row.model, row.precision) for row in plan.of(str(marker.args[0]))]
    elif config is not None and names & ENGINE_FIXTURES:
        models = config.spec.models
        cases = [Case(name, p) for name in models for p in config.model(name, plan.target).precisions]
    elif config is not None and names & MODEL_FIXTURES:
        cases = [Case(name, "") for name in config.spec.models]
    elif config is not None and marker is None:
        return
    else:
        cases = []
    matching = [
        case
        for case in cases
        if (only_models is None or case.model in only_models)
        and (only_precisions is None or case.precision in only_precisions)
    ]
    in_scope = [case for case in matching if case.model not in states.out_of_scope]
    if "hil_check" in names and marker is None:
        _note_excluded(metafunc.definition.nodeid, matching, states, only_precisions or only_models or set())
    # An empty set would be subject to the project's empty_parameter_set_mark. A test without a case is dropped later.
    cases_or_none: list[Case | None] = [*in_scope] or [None]
    ids = ["no case" if case is None else "-".join(filter(None, case)) for case in cases_or_none]
    metafunc.parametrize("hil_case", cases_or_none, indirect=True, ids=ids)


def _note_excluded(nodeid: str, cases: list[Case], states: NodeStates, only: set[str]) -> None:
    """Add to ``states`` the cases of an own test that ``--hil-model`` excludes, or why ``cases`` is empty.

    ``only`` are the precisions or models to which the test's markers limit it; empty if there are no such markers.
    """
    for case in cases:
        if case.model in states.out_of_scope:
            test = OwnTest(f"{nodeid}[{'-'.join(filter(None, case))}]", case.model, case.precision)
            states.own[test.nodeid] = test
    if not cases:
        what = "hil.toml has no model for it on this target"
        if only:
            what = f"it is limited to {', '.join(sorted(only))}, which no model has on this target"
        states.own[nodeid] = OwnTest(nodeid, why=f"{nodeid} has no case: {what}: change its markers or hil.toml")


def own_tests(items: Iterable[pytest.Item]) -> Iterator[OwnTest]:
    """Yield the own tests among ``items``."""
    for item in items:
        if is_own(item):
            yield OwnTest(item.nodeid, *(case_of(item) or ()))


def is_own(item: pytest.Item) -> bool:
    """Return whether a test is an own test: it uses ``hil_check`` and has no ``hil`` marker."""
    return "hil_check" in getattr(item, "fixturenames", ()) and item.get_closest_marker("hil") is None


def _marked(metafunc: pytest.Metafunc, name: str, known: Iterable[str] | None) -> set[str] | None:
    marker = metafunc.definition.get_closest_marker(name)
    if marker is None:
        return None
    if known is not None:
        _known(metafunc, name, marker.args, known)
    return {str(arg) for arg in marker.args}


def _known(metafunc: pytest.Metafunc, marker: str, args: Iterable[object], known: Iterable[str]) -> None:
    """Raise ``UserError`` for an unknown marker argument."""
    for arg in map(str, args):
        if arg not in known:
            where = f"{metafunc.definition.nodeid}: @pytest.mark.{marker}"
            raise UserError(f"{where}({arg!r}) is unknown{did_you_mean(arg, known)}")


def drop_without_case(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remove the tests without a case from ``items``, and report them to pytest as deselected."""
    if dropped := [item for item in items if without_case(item)]:
        items[:] = [item for item in items if not without_case(item)]
        config.hook.pytest_deselected(items=dropped)


def without_case(item: pytest.Item) -> bool:
    """Return whether the test was parametrized without a case, because it applies to no selected model."""
    callspec = getattr(item, "callspec", None)
    return callspec is not None and "hil_case" in callspec.params and not isinstance(callspec.params["hil_case"], Case)


def by_model(items: list[pytest.Item]) -> None:
    """Group the tests that have a case by model, in the order in which the models occur; others keep their places."""
    places = [place for place, item in enumerate(items) if case_of(item) is not None]
    groups: dict[str, list[pytest.Item]] = {}
    for place in places:
        groups.setdefault(case_of(items[place]).model, []).append(items[place])  # type: ignore[union-attr] # places have cases
    for place, item in zip(places, itertools.chain.from_iterable(groups.values()), strict=True):
        items[place] = item


def case_of(item: pytest.Item) -> Case | None:
    """Return the model and precision with which the test ``item`` was parametrized; ``None`` if it has no case."""
    callspec = getattr(item, "callspec", None)
    case = None if callspec is None else callspec.params.get("hil_case")
    return case if isinstance(case, Case) else None


def estimate_of(run: RunState) -> str | None:
    """Return as one line how long the collected tests are estimated to take, for ``--collect-only``.

    Return ``None`` without ``--collect-only`` or with ``-q``, and if the tests have no rows or the run has a problem.
    """
    config = run.pytest_config
    if not config.option.collectonly or run.config is None or run.problem is not None or config.get_verbosity() < 0:
        return None
    from hil.session.reference_speed import estimated

    collected = {nodeid.rsplit("/", maxsplit=1)[-1] for nodeid in run.states.selected}
    rows = [row for row in (*run.plan.rows, *run.plan.unlimited) if row.test in collected]
    with run.progress.step("running the references for a moment", said=False):
        runs, over = run.timed_runs(run.config), run.over
        return f"hil: {estimated(run.config, run.target, rows, runs, over=over)}" if rows else None


def engines_of(items: Iterable[pytest.Item]) -> list[tuple[str, str]]:
    """Return model and precision of each engine that the tests need, without duplicates, in the tests' order."""
    engines: dict[tuple[str, str], None] = {}
    for item in items:
        case = case_of(item)
        if case is not None and case.precision:
            engines[case.model, case.precision] = None
    return list(engines)


def attach(run: RunState, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Put the outcomes of the test ``item``, from all its phases so far, on ``report``, pytest's report of one phase.

    A ``HilError`` is shown by its message alone. A ``UserError`` or ``LabError`` also ends the run; a ``LabError`` in a
    process with a board of a pool ends only this process. A test that uses ``hil_check`` or is marked ``hil`` fails
    here if it gave no result.
    """
    outcomes = [*item.stash.get(OUTCOMES, [])]
    _shorten(run, item, call, report)
    stock = item.get_closest_marker("hil") is not None
    if item.stash.get(JUDGED, False) or run.lost:
        pass
    elif stock and report.when == "call" and report.passed:
        _fail(report, f"{item.nodeid} is marked hil and gave no result: call hil_check.judge() exactly once")
    elif is_own(item) and report.when == "teardown":
        outcomes.append(_without_result(run, item))
        if not item.stash.get(BROKEN, False):
            _fail(report, f"{item.nodeid} uses hil_check and gave no result: call hil_check.at_most(…) or at_least(…)")
    item.stash[BROKEN] = report.failed or item.stash.get(BROKEN, False)
    if outcomes:
        carried = {"own": not stock, "outcomes": [outcome.model_dump(mode="json") for outcome in outcomes]}
        setattr(report, RESULTS, json.dumps(carried))


def _shorten(run: RunState, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    error = call.excinfo.value if call.excinfo is not None else None
    if not isinstance(error, HilError):
        return
    report.longrepr = str(error)
    if isinstance(error, LabError) and run.lease is not None:
        leave_board(run, item, report, str(error))
        return
    if isinstance(error, UserError | LabError):
        kind = "user" if isinstance(error, UserError) else "held" if isinstance(error, TargetHeld) else "lab"
        setattr(report, PROBLEM, json.dumps({"kind": kind, "message": str(error)}))
        item.session.shouldfail = f"{error}"


def _fail(report: pytest.TestReport, why: str) -> None:
    report.outcome = "failed"
    report.longrepr = why


def _without_result(run: RunState, item: pytest.Item) -> Outcome:
    (test,) = own_tests([item])
    result = CheckResult(
        **test.row.model_dump(exclude={"limit", "test"}),
        verdict=Verdict.FAILED,
        reason="the test uses hil_check and gave no result",
        cause=Cause.NO_RESULT,
        target=TargetUse(requested=run.target, used=run.target),
    )
    return Outcome(result=result)


def outcomes_of(report: pytest.TestReport) -> list[tuple[Outcome, bool]]:
    """Return the outcomes on pytest's report, each with whether an own test gave it (see ``OwnTest``)."""
    text = getattr(report, RESULTS, None)
    if not isinstance(text, str):
        return []
    carried = json.loads(text)
    return [(Outcome.model_validate_json(json.dumps(item)), bool(carried["own"])) for item in carried["outcomes"]]


def note_failure(run: RunState, report: pytest.TestReport | pytest.CollectReport) -> None:
    """Note for the report a failed test that has no failed check, or a test file that could not be collected.

    Only the first ``MOST_FAILURES`` are noted.
    """
    if len(run.failed_tests) < MOST_FAILURES:
        run.failed_tests.append(FailedTest(test=report.nodeid, message=exception_of(report)))


def exception_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the exception of a failed report as one line: its type and message, without the traceback."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(report.longrepr or "").splitlines()
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]  # pytest's mark of an exception's lines
    text = crash.message if crash is not None else " ".join(errors) or next(iter(lines[-1:]), "")
    return one_line(str(text), LONGEST) or "no message"


def problem_of(report: pytest.TestReport) -> HilError | None:
    """Return the ``UserError`` or ``LabError`` that ended the test, or ``None``."""
    text = getattr(report, PROBLEM, None)
    if not isinstance(text, str):
        return None
    problem = json.loads(text)
    return PROBLEMS[problem["kind"]](*problem["message"].split("\n"))
