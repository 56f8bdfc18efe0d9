"""Whatever a check of the catalogue passes by, the report with its row is written, and opened as a gate opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.catalogue import CATALOGUE, CheckKind
from hil.checks.placement import int8_layers
from hil.checks.task import Scores, task
from hil.checks.verdicts import hold, hold_interval, judged
from hil.config.spec import TolerancesSpec
from hil.gate.gate import open_report, seal
from hil.report.write_report import to_json
from hil.results import Judgement, Limit, Measurement, Sense, Verdict
from tests.report import sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOUNDS_ONLY = ("latency.p", "sustained.p99", "paced.response_p99")
"""Prefixes of the ids of checks that judge the bounds of an interval, never a single value."""


def passes(kind: CheckKind, precision: str) -> Iterator[tuple[str, Judgement]]:
    """Yield each way in which the functions that judge all checks pass or warn a row of ``kind``."""
    key = kind.limit
    if key is None:
        yield "criterion", judged(Verdict.PASSED, "as required")
        return
    sign = 1 if key.sense is Sense.AT_MOST else -1
    factor = (key.default_for or {}).get(precision, key.fail_factor)
    limit = Limit(
        value=1.0,
        unit=key.unit,
        sense=key.sense,
        source="hil.toml:31",
        fail_at=None if factor is None else factor * 1.0,
    )
    for where, value in (("within", 1 - 0.5 * sign), ("at the limit", 1.0)):
        if not kind.id.startswith(BOUNDS_ONLY):
            yield where, hold(Measurement(value=value, unit=key.unit, n=1), limit)
        for confidence in (0.5, 0.99):
            ends = sorted((value, value - 0.25 * sign))
            spread = Measurement(value=value, unit=key.unit, low=ends[0], high=ends[1], confidence=confidence, n=10_000)
            yield f"{where} at {confidence}", hold_interval(spread, limit, "")
            unbounded = {"low" if sign > 0 else "high": None}
            yield f"{where} at {confidence}, one bound", hold_interval(spread.model_copy(update=unbounded), limit, "")
    if factor:
        beyond = (1 + factor) / 2
        ends = sorted((beyond, 1 + 0.9 * (factor - 1)))
        spread = Measurement(value=beyond, unit=key.unit, low=ends[0], high=ends[1], confidence=0.99, n=10_000)
        yield "warned", hold_interval(spread, limit, "")
        if not kind.id.startswith(BOUNDS_ONLY):
            yield "warned by a value", hold(Measurement(value=beyond, unit=key.unit, n=1), limit)


def accepted(path: Path, kind: CheckKind, precision: str, judgement: Judgement) -> None:
    """Assert that a report with a row of ``judgement`` is sealed, written and opened with the same row."""
    measurement = judgement.measurement
    if measurement is not None:
        ours = sample.measurement(kind.id, 0.0, "1")
        measurement = measurement.model_copy(update={"method": ours.method, "environment": ours.environment})
    row = sample.check(kind, "digits", precision).model_copy(
        update={**dict(judgement), "measurement": measurement, "limit": judgement.limit}
    )
    report = sample.draft((row,))
    path.write_text(to_json(seal(report)), encoding="utf-8")
    [read] = open_report(path).checks
    assert (read.id, read.verdict, read.measurement) == (kind.id, judgement.verdict, measurement)


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=lambda kind: kind.id)
def test_a_report_with_a_row_that_passed_is_accepted(tmp_path: Path, kind: CheckKind) -> None:
    """For each check of the catalogue, every way to pass gives a row that no rule for reports refuses."""
    precisions = sorted(kind.precisions or ("fp32", "int8"))
    for precision in precisions:
        for number, (way, judgement) in enumerate(passes(kind, precision)):
            assert judgement.verdict in {Verdict.PASSED, Verdict.WARNED}, way
            accepted(tmp_path / f"{precision}{number}.json", kind, precision, judgement)


def test_rows_that_pass_in_a_way_of_their_own_are_accepted(tmp_path: Path) -> None:
    """Scores without a disagreement, and counts of layers, pass as their own checks judge them."""
    same = np.ones(48)
    claimed = task(Scores("top1_drop", same, same), "int8", TolerancesSpec(no_disagreement_in=48))
    assert claimed.verdict is Verdict.PASSED
    assert "weaker_claim" in claimed.details
    accepted(tmp_path / "claim.json", CATALOGUE["parity.task"], "int8", claimed)
    limit = Limit(value=0.9, unit="1", sense=Sense.AT_LEAST, source="hil.toml:31")
    layers = [{"type": "Convolution", "name": "conv", "inputs": ["int8"]}]
    counted = int8_layers(layers, limit, ["conv"])
    assert counted.verdict is Verdict.PASSED
    accepted(tmp_path / "counted.json", CATALOGUE["placement.int8_layers"], "int8", counted)
