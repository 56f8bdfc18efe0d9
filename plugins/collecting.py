"""From plan to tests and back: cases for tests, results for reports."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from hil.errors import HilError, LabError, UserError
from hil.fixtures.case import Case
from hil.model import CheckResult, TargetUse, Verdict
from hil.session.outcome import Outcome

if TYPE_CHECKING:
    import pytest

    from hil.config.load import Config
    from hil.plan import Plan
    from hil.plugins.run import HilRun

ENGINE_FIXTURES = frozenset({"hil_engine"})
MODEL_FIXTURES = frozenset({"hil_dataset", "hil_reference"})
RESULTS, PROBLEM = "hil", "hil_problem"
"""Attributes of pytest's reports that ours travel as: strings, since anything else may not survive xdist."""
PROBLEMS = {"user": UserError, "lab": LabError}


def parametrize(metafunc: pytest.Metafunc, plan: Plan, config: Config | None, out_of_scope: set[str]) -> None:
    """Gives a test the cases its marker, or the fixtures it names, ask for; ids read ``digits-int8``."""
    marker = metafunc.definition.get_closest_marker("hil")
    names = set(metafunc.fixturenames)
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
    models_wanted = _marked(metafunc, "hil_models")
    precisions_wanted = _marked(metafunc, "hil_precisions")
    chosen = [
        case
        for case in cases
        if case.model not in out_of_scope
        and (models_wanted is None or case.model in models_wanted)
        and (precisions_wanted is None or case.precision in precisions_wanted)
    ]
    metafunc.parametrize("hil_case", chosen, indirect=True, ids=["-".join(filter(None, case)) for case in chosen])


def _marked(metafunc: pytest.Metafunc, name: str) -> set[str] | None:
    marker = metafunc.definition.get_closest_marker(name)
    return None if marker is None else {str(arg) for arg in marker.args}


def without_case(item: pytest.Item) -> bool:
    """Whether no model asks for this test: pytest would show an empty parameter set as a skip."""
    callspec = getattr(item, "callspec", None)
    return callspec is not None and "hil_case" in callspec.params and not isinstance(callspec.params["hil_case"], Case)


def attach(run: HilRun, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Puts this phase's outcomes on the report and turns a foreseeable error into its one line.

    A test that asked for ``hil_check`` and ends without a result fails here.
    """
    from hil.plugins.run import JUDGED, OUTCOMES  # noqa: PLC0415 - run imports this module

    outcomes = item.stash.get(OUTCOMES, [])
    item.stash[OUTCOMES] = []
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, HilError):
        report.longrepr = str(error)
        if isinstance(error, UserError | LabError):
            kind = "user" if isinstance(error, UserError) else "lab"
            setattr(report, PROBLEM, json.dumps({"kind": kind, "message": str(error)}))
            item.session.shouldfail = f"{error}"
    stock = item.get_closest_marker("hil") is not None
    asked = "hil_check" in getattr(item, "fixturenames", ())
    if report.when == "teardown" and asked and not stock and not item.stash.get(JUDGED, False):
        outcomes = [_without_result(run, item)]
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} asked for hil_check and gave no result: call hil_check.at_most(…)"
    if outcomes:
        carried = {"own": not stock, "outcomes": [outcome.model_dump(mode="json") for outcome in outcomes]}
        setattr(report, RESULTS, json.dumps(carried))


def _without_result(run: HilRun, item: pytest.Item) -> Outcome:
    name = re.sub(r"[^a-z0-9_]+", "_", item.name.lower()).strip("_")
    result = CheckResult(
        id=f"test.{name}",
        required=True,
        verdict=Verdict.FAILED,
        reason="the test asked for hil_check and gave no result",
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
    return PROBLEMS[problem["kind"]](problem["message"])
