"""The list of amendments: its order, that each is a pure function, and that no other module amends a judgement."""

from __future__ import annotations

import ast
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from hil.config.spec import TolerancesSpec
from hil.results import Evidence, ExecutedOn, Judgement, Limit, Measurement, Row, Sense, Verdict
from hil.session.amendments import AMENDMENTS, Amendment, amended
from hil.session.amendments.row_facts import Diagnosis, Facts, RunValues, Tolerances
from hil.state import Finding
from hil.stats.control import ControlSeries

SESSION = Path(__file__).parents[3] / "hil" / "session"
LIMIT = Limit(value=2.0, unit="s", sense=Sense.AT_MOST, source="hil.toml:3", expires="2026-01-31")
ROWS = [
    Row(id=check, model="toy", precision="int8", required=True, limit=LIMIT)
    for check in ("latency.p99", "memory.peak", "int8.cache", "parity.outputs")
]
SWAP, HEAT = Finding("swap", "outside", "swap grew"), Finding("throttle", "own", "it throttled")
JUDGED = {"verdict", "reason", "cause", "measurement", "details", "evidence", "executed_on"}


def judgement(verdict: Verdict = Verdict.PASSED) -> Judgement:
    """Return a judgement with a measurement and a detail."""
    return Judgement(
        verdict=verdict, reason="1 s", measurement=Measurement(value=1.0, unit="s", n=9), details={"n": [9]}
    )


def facts() -> Facts:
    """Return facts that make every amendment act."""
    table = TolerancesSpec.model_validate({"max_abs": 0.1, "reason": "agreed", "expires": "2026-02-28"})
    return Facts(
        details={"samples": "a.npz"},
        runs=RunValues((1.0, 2.0), {"asked": 2}, (HEAT,)),
        findings=(SWAP, HEAT),
        controls=(None, ControlSeries("net v1", np.zeros(1), np.full(1, 0.1), (1,))),
        slowest_nodes=[{"name": "conv", "op": "Conv", "share": 0.5}],
        diagnosis=Diagnosis({"diagnosis": {"node": "conv"}}, "it starts at conv"),
        saturating_sums=True,
        foreign_engine="a.engine",
        tolerances=Tolerances("int8", table, {"y": "float32"}, "hil.toml:9"),
        today=date(2026, 3, 1),
        evidence=Evidence.HOST,
        executed_on=ExecutedOn(kind="cpu", name="x"),
    )


def test_amendments_have_a_fixed_order() -> None:
    """Disturbances are first, then explanations, then reasons for a stricter verdict; evidence is last."""
    assert [amendment.name for amendment in AMENDMENTS] == [
        "details",
        "run values",
        "control",
        "state of the runs",
        "state",
        "slowest nodes",
        "diagnosis",
        "saturation",
        "foreign engine",
        "limit expiry",
        "tolerance expiry",
        "evidence",
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
@pytest.mark.parametrize("amendment", AMENDMENTS, ids=lambda amendment: amendment.name)
def test_each_is_a_pure_function(amendment: Amendment, row: Row) -> None:
    """The same input gives the same output, and no input is changed."""
    before, inputs = judgement(), facts()
    first = amendment.apply(row, before, inputs)
    assert first == amendment.apply(row, before, inputs)
    assert (before, inputs) == (judgement(), facts())


@pytest.mark.parametrize("amendment", AMENDMENTS, ids=lambda amendment: amendment.name)
def test_each_changes_something(amendment: Amendment) -> None:
    """Each amendment changes a judgement; one that never acts would pass every other test here."""
    cases = [(row, judgement(verdict)) for row in ROWS for verdict in (Verdict.PASSED, Verdict.FAILED)]
    assert any(amendment.apply(row, before, facts()) != before for row, before in cases)


def test_saturation_explains_comparisons_that_did_not_pass() -> None:
    """A reason mentions saturating sums only for a comparison of outputs that did not pass."""
    saturating = Facts(saturating_sums=True)
    for row in ROWS:
        assert amended(row, judgement(), saturating) == judgement()
        reason = amended(row, judgement(Verdict.FAILED), saturating).reason
        assert ("saturate on this processor" in reason) is row.id.startswith(("int8.", "parity."))


@pytest.mark.parametrize("verdict", Verdict)
def test_without_facts_nothing_changes(verdict: Verdict) -> None:
    """A row without further facts keeps the judgement of its check."""
    assert all(amended(row, judgement(verdict), Facts()) == judgement(verdict) for row in ROWS)


@pytest.mark.parametrize("verdict", Verdict)
def test_no_amendment_makes_a_verdict_better(verdict: Verdict) -> None:
    """With all facts at once, no row passes, whatever its verdict was, and a row that was not run stays ``not_run``."""
    results = {amended(row, judgement(verdict), facts()).verdict for row in ROWS}
    assert Verdict.PASSED not in results
    assert verdict is not Verdict.NOT_RUN or results == {Verdict.NOT_RUN}
    if verdict is Verdict.FAILED:
        assert results == {Verdict.INCONCLUSIVE}
        undisturbed = replace(facts(), findings=(HEAT,))
        assert {amended(row, judgement(verdict), undisturbed).verdict for row in ROWS} == {Verdict.FAILED}


def test_swap_disturbs_memory_rows_and_heat_does_not() -> None:
    """Swap makes a memory row inconclusive; throttling does not change it."""
    _, memory, *_ = ROWS
    hot, swapped = Facts(findings=(HEAT,)), Facts(findings=(SWAP,))
    assert amended(memory, judgement(), hot) == judgement()
    assert amended(memory, judgement(), swapped).verdict is Verdict.INCONCLUSIVE


def calls(path: Path) -> list[tuple[str, set[str]]]:
    """Return each function called in a module, with the keys of a literal ``update``."""
    functions = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            updates = [word.value for word in node.keywords if word.arg == "update"]
            assert name != "model_copy" or all(isinstance(update, ast.Dict) for update in updates) or is_amendment(path)
            keys = [key for update in updates if isinstance(update, ast.Dict) for key in update.keys]
            functions.append((name, {str(key.value) for key in keys if isinstance(key, ast.Constant)}))
    return functions


def is_amendment(path: Path) -> bool:
    """Return whether a module is one of the amendments."""
    return path.parent.name == "amendments"


def test_no_other_module_of_the_session_amends_a_judgement() -> None:
    """Outside the list no judgement is copied with a change, folded with a state, or expired."""
    called = {path: calls(path) for path in SESSION.rglob("*.py") if not is_amendment(path)}
    assert len(called) > 30
    for path, functions in called.items():
        assert not {"fold", "unexpired"} & {name for name, _ in functions}, path
        assert not [keys for name, keys in functions if name == "model_copy" and keys & JUDGED], path


def test_the_list_is_applied_in_one_place() -> None:
    """Only ``judging`` applies the list, and ``regression`` and ``timing`` to preview a row's verdict."""
    users = {path.stem for path in SESSION.rglob("*.py") if "amended" in {name for name, _ in calls(path)}}
    assert users == {"judging", "regression", "timing"}
