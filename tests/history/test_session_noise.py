"""The noise between sessions in a history: what may not count as an earlier session of the same thing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hil.gate.gate import seal
from hil.history import Noise, open_history
from hil.history.session_noise import SessionNoises
from hil.results import ControlSummary
from hil.series import digest_of
from tests.history import run_reports

if TYPE_CHECKING:
    from pathlib import Path

    from hil.history import History, Point
    from hil.report.schema import Report
    from hil.stats.session_noise import SessionNoise

ROW = ("latency.p50", "digits", "fp32")
LEVELS = tuple(1 + 0.01 * (at % 3) for at in range(8))


def session(
    number: int,
    level: float,
    serial: str = "1420",
    table: str = "",
    beside: ControlSummary | None = None,
    **facts: Any,
) -> Report:
    """Return the report of a session with one row, ``ROW``, whose value is multiplied by ``level``.

    ``table`` is the report's table, ``methods`` or ``environments``, in which ``facts`` are added to the row's entry.
    """
    report = run_reports.on_jetpack(number, "6.2", serial)
    rows, tables = [], {"methods": dict(report.methods), "environments": dict(report.environments)}
    for row in report.checks:
        if row.measurement is not None and (row.id, row.model, row.precision) == ROW:
            update: dict[str, Any] = {"value": row.measurement.value * level, "control": beside}
            if table:
                field = table.removesuffix("s")
                other = {**tables[table][getattr(row.measurement, field)], **facts}
                tables[table][digest_of(other)] = other
                update[field] = digest_of(other)
            rows.append(row.model_copy(update={"measurement": row.measurement.model_copy(update=update)}))
    return seal(report.model_copy(update={"checks": tuple(rows), "digest": "", **tables}))


def control(level: float) -> ControlSummary:
    """Return a control whose median is ``level`` milliseconds."""
    return ControlSummary(workload="net v1", windows=20, median=level * 1e-3, spread=0.01)


def noise_of(folder: Path, *others: Report) -> SessionNoise:
    """Return the noise of p50 for a comparison of two sessions, in a history that also has ``others``."""
    compared = [session(90, 1.0), session(91, 1.5)]
    with open_history(f"sqlite:///{folder}/history.db", base=folder) as history:
        for report in (*others, *compared):
            assert history.append(report)
        return SessionNoises(history).of(_points(history, compared))


def _points(history: History, reports: list[Report]) -> list[Point]:
    check, model, precision = ROW
    return history.points([report.run.id for report in reports], model=model, precision=precision, checks=[check])


def test_the_compared_sessions_are_no_noise(tmp_path: Path) -> None:
    """The sessions that are compared do not count as noise."""
    noise = noise_of(tmp_path)
    assert (noise.known, noise.sessions) == (False, 0)


def test_earlier_sessions_of_the_same_target_make_the_noise_known(tmp_path: Path) -> None:
    """The noise is the standard deviation of the logarithms of n earlier sessions, with n - 1 degrees of freedom."""
    noise = noise_of(tmp_path, *(session(number, level) for number, level in enumerate(LEVELS)))
    logs = [math.log(level) for level in LEVELS]
    mean = sum(logs) / 8
    assert noise.sd == pytest.approx(math.sqrt(sum((log - mean) ** 2 for log in logs) / 7))
    assert (noise.known, noise.source, noise.sessions, noise.df) == (True, "history", 8, 7)


@pytest.mark.parametrize(
    ("changes", "sessions"),
    [
        ({"serial": "9999"}, 0),
        ({"table": "methods", "clock": "another"}, 0),
        ({"table": "methods", "control": {"workload": "w1"}}, 8),
        ({"table": "environments", "models": {"digits": {"model": "0123"}}}, 8),
    ],
)
def test_sessions_of_another_machine_or_method_do_not_count(
    tmp_path: Path, changes: dict[str, Any], sessions: int
) -> None:
    """Sessions of another board or method do not count; sessions with another control or model version do."""
    others = [session(number, level, **changes) for number, level in enumerate(LEVELS)]
    assert noise_of(tmp_path, *others).sessions == sessions


def test_versions_of_the_model_are_groups_of_their_own(tmp_path: Path) -> None:
    """The noise is computed within each version of the model, so a version that is twice as slow adds none."""
    first = [session(number, 1.0) for number in range(4)]
    second = [
        session(number, 2.0, table="environments", models={"digits": {"model": "0123"}}) for number in range(4, 8)
    ]
    noise = noise_of(tmp_path, *first, *second)
    assert (noise.sd, noise.df) == (0.0, 6)


def test_sessions_of_an_unusual_control_do_not_count(tmp_path: Path) -> None:
    """Sessions on a machine slowed by 40 %, as their control shows, do not count as noise."""
    others = [session(number, level, beside=control(1 + number / 1000)) for number, level in enumerate(LEVELS)]
    slow = [session(number, 1.4, beside=control(1.4)) for number in (20, 21)]
    noise = noise_of(tmp_path, *others, *slow)
    assert (noise.sessions, noise.sd < 0.02) == (8, True)


def test_sessions_without_a_control_count(tmp_path: Path) -> None:
    """Earlier sessions without a control count in full."""
    others = [session(number, level, beside=control(1)) for number, level in enumerate(LEVELS)]
    noise = noise_of(tmp_path, *others, *(session(number, 1.4) for number in (20, 21)))
    assert (noise.sessions, noise.sd > 0.1) == (10, True)


def test_a_calibration_comes_first(tmp_path: Path) -> None:
    """The noise of a calibration replaces that of earlier sessions, on its machine only."""
    calibrated = Noise("1420", "cpu", *ROW, 0.004, 0.0, 20, run_reports.START)
    for serial, expected in (("1420", "calibrated"), ("9999", "history")):
        folder = tmp_path / serial
        folder.mkdir()
        with open_history(f"sqlite:///{folder}/history.db", base=folder) as history:
            history.add_noise(replace(calibrated, serial=serial))
        noise = noise_of(folder, *(session(number, level) for number, level in enumerate(LEVELS)))
        assert noise.source == expected
        assert noise.known
