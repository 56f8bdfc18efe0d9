"""The plan: what must be judged follows from the config alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.catalogue import CATALOGUE, KINDS
from hil.config.load import load
from hil.errors import UserError
from hil.plan import Plan, expand
from hil.session.gather import GATHER
from tests.plugins.project import Project


def _plan(root: Path, *edits: tuple[str, str], target: str = "cpu") -> Plan:
    project = Project.make(root)
    project.rate()
    for old, new in edits:
        project.edit(old, new)
    return expand(load(root / "hil.toml"), target)


def test_every_check_can_be_gathered_and_is_asked_by_a_suite() -> None:
    """Catalogue, gathering and the stock suites hold the same checks."""
    assert set(GATHER) == set(CATALOGUE)
    suites = Path(__file__).parents[1] / "suites"
    text = "".join(path.read_text() for path in sorted(suites.glob("test_*.py")))
    for kind in KINDS:
        file, _, name = kind.test.partition("::")
        assert f'@pytest.mark.hil("{kind.id}")\ndef {name}(' in (suites / file).read_text()
    assert text.count("@pytest.mark.hil(") == len(KINDS)


def test_checks_with_a_criterion_are_rows_and_others_are_measured(tmp_path: Path) -> None:
    """A limit makes a row; without one there is only a measurement."""
    plan = _plan(tmp_path)
    judged = {row.id for row in plan.rows}
    assert {"contract.signature", "parity.outputs", "latency.p99", "memory.growth"} <= judged
    assert {row.id for row in plan.unlimited} == {
        "latency.p50",
        "latency.p90",
        "latency.cold_load",
        "latency.first_inference",
        "memory.model",
        "memory.engine_size",
    }
    assert not judged & {row.id for row in plan.unlimited}


def test_limits_carry_their_line_and_the_warning_band(tmp_path: Path) -> None:
    """Who reads a verdict can find the limit; a frame rate warns down to 80 % of it."""
    rows = {row.id: row for row in _plan(tmp_path).rows}
    fps = rows["fps.sustained"].limit
    assert fps is not None
    assert (fps.value, fps.fail_at, fps.unit) == (1, 0.8, "1/s")
    line = 1 + (tmp_path / "hil.toml").read_text().split("fps = 1", maxsplit=1)[0].count("\n")
    assert fps.source == f"hil.toml:{line}"
    growth = rows["memory.growth"].limit
    assert growth is not None
    assert growth.source == "default"


def test_a_literal_requirement_is_planned_without_a_limit(tmp_path: Path) -> None:
    """Deleting the limit of a required check leaves the row: it then cannot pass."""
    plan = _plan(tmp_path, ('latency = { p99 = "5 s" }\n', ""))
    row = next(row for row in plan.rows if row.id == "latency.p99")
    assert row.required
    assert row.limit is None


def test_int8_is_asked_of_int8_alone(tmp_path: Path) -> None:
    """No other precision has a calibration to audit."""
    np_data = '\n[models.toy.calibration]\ndata = "validation.npz"\n'
    plan = _plan(
        tmp_path, ('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]'), ("[measure]", np_data + "[measure]")
    )
    assert {row.precision for row in plan.rows if row.id.startswith("int8.")} == {"int8"}


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("latency.p98", "did you mean 'latency.p99'?"),
        ("int8.*", "matches no planned check"),
        ("contract.* nobody", "matches no planned check"),
        ("latency.p99 toy fp32 now", "'id model precision'"),
    ],
)
def test_a_policy_that_names_nothing_is_a_mistake(tmp_path: Path, pattern: str, said: str) -> None:
    """A required row that cannot exist would otherwise never be missed."""
    with pytest.raises(UserError, match=r"hil\.toml:") as raised:
        _plan(tmp_path, ('"contract.*"', f'"{pattern}"'))
    assert said in str(raised.value)


def test_a_users_own_family_may_be_required(tmp_path: Path) -> None:
    """Its row comes with the test; the gate misses it if it does not come."""
    assert _plan(tmp_path, ('"contract.*"', '"grasp.error", "contract.*"')).rows
