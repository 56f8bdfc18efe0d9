"""The plan: the config alone decides which rows must be judged."""

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
    project.limit_frame_rate()
    for old, new in edits:
        project.edit(old, new)
    return expand(load(root / "hil.toml"), target)


def test_each_check_is_gathered_and_in_a_suite() -> None:
    """Each check of the catalogue is gathered and has exactly one test in the stock suites."""
    assert set(GATHER) == set(CATALOGUE)
    suites = Path(__file__).parents[1] / "suites"
    text = "".join(path.read_text() for path in sorted(suites.glob("test_*.py")))
    for kind in KINDS:
        file, _, name = kind.test.partition("::")
        assert f'@pytest.mark.hil("{kind.id}")\ndef {name}(' in (suites / file).read_text()
    assert text.count("@pytest.mark.hil(") == len(KINDS)


def test_checks_with_a_limit_are_rows_and_others_are_measured(tmp_path: Path) -> None:
    """A check with a limit or a fixed criterion is a row; any other is only measured."""
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


def test_limits_have_their_line_and_warning_band(tmp_path: Path) -> None:
    """A limit has its line in the config; a frame rate warns down to 80 % of its limit."""
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
    """A required check without a limit stays a row, which then cannot pass."""
    plan = _plan(tmp_path, ('latency = { p99 = "5 s" }\n', ""))
    row = next(row for row in plan.rows if row.id == "latency.p99")
    assert row.required
    assert row.limit is None


def test_int8_checks_are_planned_for_int8_only(tmp_path: Path) -> None:
    """Checks of the calibration are planned only for INT8."""
    np_data = '\n[models.toy.calibration]\ndata = "validation.npz"\n'
    plan = _plan(
        tmp_path, ('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]'), ("[measure]", np_data + "[measure]")
    )
    assert {row.precision for row in plan.rows if row.id.startswith("int8.")} == {"int8"}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("latency.p98", "did you mean 'latency.p99'?"),
        ("int8.*", "matches no planned check"),
        ("contract.* nobody", "matches no planned check"),
        ("latency.p99 toy fp32 now", "'id model precision'"),
    ],
)
def test_a_pattern_without_a_match_is_a_user_error(tmp_path: Path, pattern: str, message: str) -> None:
    """A policy's pattern that matches no planned row is a user error."""
    with pytest.raises(UserError, match=r"hil\.toml:") as raised:
        _plan(tmp_path, ('"contract.*"', f'"{pattern}"'))
    assert message in str(raised.value)


def test_a_users_own_family_may_be_required(tmp_path: Path) -> None:
    """A policy may require a user's own check, whose row exists only once its test has run."""
    assert _plan(tmp_path, ('"contract.*"', '"grasp.error", "contract.*"')).rows


GPU = ('precisions = ["fp32"]', 'precisions = ["fp32", "fp16", "int8"]\ndeployed = "toy.onnx"')
TABLE = (
    '[targets.gpu]\nkind = "local"\nruntime = "tensorrt"\n[models.toy.limits.int8]\nin_precision = "10 %"\n[measure]'
)


def test_limits_of_a_precision_have_their_line_and_reason(tmp_path: Path) -> None:
    """A key of the precision's table replaces the general one, with its own line, reason and date of expiry."""
    text = 'latency = { p99 = "5 s" }\nreason = "all"\nexpires = 2040-01-01\n'
    own = '[models.toy.limits.int8]\nlatency = { p99 = "1 s" }\nreason = "fast"\n[measure]'
    plan = _plan(tmp_path, GPU, ('latency = { p99 = "5 s" }\n', text), ("[measure]", own))
    rows = {row.precision: row.limit for row in plan.rows if row.id == "latency.p99"}
    int8, fp16 = rows["int8"], rows["fp16"]
    assert int8 is not None
    assert fp16 is not None
    assert (int8.value, int8.reason, int8.expires) == (1.0, "fast", "2040-01-01")
    assert (fp16.value, fp16.reason, fp16.expires) == (5.0, "all", "2040-01-01")
    assert int8.source != fp16.source


def test_the_default_share_is_of_runtimes_that_report_layers(tmp_path: Path) -> None:
    """By default, too small a share fails int8 and warns of fp16 on TensorRT; ONNX Runtime has no default limit."""
    plan = _plan(tmp_path, GPU, ("[measure]", TABLE), target="gpu")
    rows = {row.precision: row.limit for row in plan.rows if row.id == "placement.in_precision"}
    assert set(rows) == {"fp16", "int8"}
    assert rows["fp16"] is not None
    assert (rows["fp16"].value, rows["fp16"].fail_at, rows["fp16"].source) == (0.1, 0.0, "default")
    assert rows["int8"] is not None
    assert rows["int8"].fail_at is None
    other = expand(load(tmp_path / "hil.toml"), "cpu").rows
    assert [row.precision for row in other if row.id == "placement.in_precision"] == ["int8"]


def test_what_was_brought_is_held_against_its_claim(tmp_path: Path) -> None:
    """``placement.declared`` is planned only for a quantized precision of a model with ``deployed``."""
    assert [row.precision for row in _plan(tmp_path, GPU).of("placement.declared")] == ["int8"]
