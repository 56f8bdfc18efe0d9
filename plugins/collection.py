"""From plan to tests and back: cases for tests, results for reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hil.catalogue import CATALOGUE
from hil.config.spec import PRECISIONS
from hil.errors import HilError, LabError, UserError, did_you_mean
from hil.fixtures.case import Case
from hil.plugins.accounts import OwnTest
from hil.plugins.run_state import BROKEN, JUDGED, OUTCOMES
from hil.results import Cause, CheckResult, TargetUse, Verdict
from hil.session.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from hil.config.load import Config
    from hil.plan import Plan
    from hil.plugins.accounts import Fates
    from hil.plugins.run_state import RunState

ENGINE_FIXTURES = frozenset({"hil_engine"})
MODEL_FIXTURES = frozenset({"hil_dataset", "hil_reference"})
RESULTS, PROBLEM = "hil", "hil_problem"
"""Attributes of pytest's reports that ours travel as: strings, since anything else may not survive xdist."""
PROBLEMS = {"user": UserError, "lab": LabError}


def parametrize(metafunc: pytest.Metafunc, plan: Plan, config: Config | None, fates: Fates) -> None:
    """Gives a test the cases its marker, or the fixtures it names, ask for; ids read ``digits-int8``.

    A check of the user's own that is left with fewer cases, or with none, is noted in ``fates``.
    """
    marker = metafunc.definition.get_closest_marker("hil")
    names = set(metafunc.fixturenames)
    models_wanted = _marked(metafunc, "hil_models", None if config is None else config.spec.models)
    precisions_wanted = _marked(metafunc, "hil_precisions", PRECISIONS)
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
    asked = [
        case
        for case in cases
        if (models_wanted is None or case.model in models_wanted)
        and (precisions_wanted is None or case.precision in precisions_wanted)
    ]
    chosen = [case for case in asked if case.model not in fates.out_of_scope]
    if "hil_check" in names and marker is None:
        _note_left_out(metafunc.definition.nodeid, asked, fates, precisions_wanted or models_wanted or set())
    # An empty set would be the project's to decide on (empty_parameter_set_mark): a test without a case is dropped.
    cases_or_none: list[Case | None] = [*chosen] or [None]
    ids = ["no case" if case is None else "-".join(filter(None, case)) for case in cases_or_none]
    metafunc.parametrize("hil_case", cases_or_none, indirect=True, ids=ids)


def _note_left_out(nodeid: str, asked: Iterable[Case], fates: Fates, limited: set[str]) -> None:
    """Notes the cases of a test of the user's own that ``--hil-model`` left out, and that it has none at all."""
    asked = list(asked)
    for case in asked:
        if case.model in fates.out_of_scope:
            test = OwnTest(f"{nodeid}[{'-'.join(filter(None, case))}]", case.model, case.precision)
            fates.own[test.nodeid] = test
    if not asked:
        what = f"it is limited to {', '.join(sorted(limited))}" if limited else "no model has what it asks for"
        why = f"{nodeid} has no case: {what}, and no model is run so here: change its markers or hil.toml"
        fates.own[nodeid] = OwnTest(nodeid, why=why)


def own_tests(items: Iterable[pytest.Item]) -> Iterator[OwnTest]:
    """The tests that owe the report a check of the user's own."""
    for item in items:
        if is_own(item):
            callspec = getattr(item, "callspec", None)
            case = None if callspec is None else callspec.params.get("hil_case")
            yield OwnTest(item.nodeid, *(case if isinstance(case, Case) else ()))


def is_own(item: pytest.Item) -> bool:
    """Whether a test owes the report a check of the user's own: it asks for ``hil_check`` and is no stock check."""
    return "hil_check" in getattr(item, "fixturenames", ()) and item.get_closest_marker("hil") is None


def _marked(metafunc: pytest.Metafunc, name: str, known: Iterable[str] | None) -> set[str] | None:
    marker = metafunc.definition.get_closest_marker(name)
    if marker is None:
        return None
    if known is not None:
        _known(metafunc, name, marker.args, known)
    return {str(arg) for arg in marker.args}


def _known(metafunc: pytest.Metafunc, marker: str, args: Iterable[object], known: Iterable[str]) -> None:
    """A misspelt marker would leave its test without a case, that is silently out of the run."""
    for arg in map(str, args):
        if arg not in known:
            where = f"{metafunc.definition.nodeid}: @pytest.mark.{marker}"
            raise UserError(f"{where}({arg!r}) names nothing{did_you_mean(arg, known)}")


def without_case(item: pytest.Item) -> bool:
    """Whether no model asks for this test: it was given ``None`` in place of a case."""
    callspec = getattr(item, "callspec", None)
    return callspec is not None and "hil_case" in callspec.params and not isinstance(callspec.params["hil_case"], Case)


def engines_of(items: Iterable[pytest.Item]) -> list[tuple[str, str]]:
    """Models and precisions of the engines that these tests need, each once, in their order."""
    found: dict[tuple[str, str], None] = {}
    for item in items:
        callspec = getattr(item, "callspec", None)
        case = None if callspec is None else callspec.params.get("hil_case")
        if isinstance(case, Case) and case.precision:
            found[case.model, case.precision] = None
    return list(found)


def attach(run: RunState, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Puts the test's outcomes so far on the report and turns a foreseeable error into its one line.

    All of them, not this phase's alone: a plugin that retries a test may keep the report of a failed attempt back.

    A test that asked for ``hil_check`` or is marked ``hil`` and ends without a result fails here.
    """
    outcomes = [*item.stash.get(OUTCOMES, [])]
    _shorten(item, call, report)
    stock = item.get_closest_marker("hil") is not None
    if item.stash.get(JUDGED, False):
        pass
    elif stock and report.when == "call" and report.passed:
        _fail(report, f"{item.nodeid} is marked hil and gave no result: call hil_check.judge() once on every path")
    elif is_own(item) and report.when == "teardown":
        outcomes.append(_without_result(run, item))
        if not item.stash.get(BROKEN, False):
            _fail(report, f"{item.nodeid} asked for hil_check and gave no result: call hil_check.at_most(…)")
    item.stash[BROKEN] = report.failed or item.stash.get(BROKEN, False)
    if outcomes:
        carried = {"own": not stock, "outcomes": [outcome.model_dump(mode="json") for outcome in outcomes]}
        setattr(report, RESULTS, json.dumps(carried))


def _shorten(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    error = call.excinfo.value if call.excinfo is not None else None
    if not isinstance(error, HilError):
        return
    report.longrepr = str(error)
    if isinstance(error, UserError | LabError):
        kind = "user" if isinstance(error, UserError) else "lab"
        setattr(report, PROBLEM, json.dumps({"kind": kind, "message": str(error)}))
        item.session.shouldfail = f"{error}"


def _fail(report: pytest.TestReport, why: str) -> None:
    report.outcome = "failed"
    report.longrepr = why


def _without_result(run: RunState, item: pytest.Item) -> Outcome:
    (owed,) = own_tests([item])
    result = CheckResult(
        **owed.row.model_dump(exclude={"limit", "test"}),
        verdict=Verdict.FAILED,
        reason="the test asked for hil_check and gave no result",
        cause=Cause.NO_RESULT,
        target=TargetUse(requested=run.target, used=run.target),
    )
    return Outcome(result=result)


def outcomes_of(report: pytest.TestReport) -> list[tuple[Outcome, bool]]:
    """The outcomes a report carries, each with whether it is a user's own."""
    text = getattr(report, RESULTS, None)
    if not isinstance(text, str):
        return []
    carried = json.loads(text)
    return [(Outcome.model_validate_json(json.dumps(one)), bool(carried["own"])) for one in carried["outcomes"]]


def problem_of(report: pytest.TestReport) -> HilError | None:
    """The user's or the lab's error that ended a test, if one did."""
    text = getattr(report, PROBLEM, None)
    if not isinstance(text, str):
        return None
    problem = json.loads(text)
    return PROBLEMS[problem["kind"]](*problem["message"].split("\n"))
