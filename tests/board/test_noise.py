"""A board's own noise out of A/A sessions, real and simulated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.board.noise import CHECKS, learn, measure
from hil.config.load import load
from hil.errors import UserError
from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("latency.p50", "detector", "fp16")


def days(count: int, *, between: float, within: float = 0.002) -> list[tuple[float, ...]]:
    """Sessions of five runs around 5 ms, each session at a level of its own."""
    random = np.random.default_rng(3)
    levels = 0.005 * np.exp(between * random.standard_normal((count, 1)))
    return [tuple(day) for day in (levels * np.exp(within * random.standard_normal((count, 5)))).tolist()]


def test_what_sessions_share_is_learned_and_no_longer_an_alarm() -> None:
    """A board that differs by 2 % from session to session cries wolf until that is known."""
    (learned,) = learn({KEY: days(80, between=0.02)})
    assert learned.key == KEY
    assert learned.sessions == pytest.approx(0.02, rel=0.3)
    assert learned.runs == pytest.approx(0.002, rel=0.3)
    assert learned.comparisons == 40
    assert learned.alarms <= 2
    assert learned.unaware > 20


def test_a_calm_board_has_nothing_to_learn() -> None:
    """Sessions that differ no more than their runs do have a noise of next to none."""
    (learned,) = learn({KEY: days(80, between=0.0)})
    assert learned.sessions < 0.001
    assert (learned.unaware, learned.alarms) == (0, 0)


@pytest.mark.parametrize("count", [0, 2, 5])
def test_too_few_sessions_teach_nothing(count: int) -> None:
    """One pair has no others to learn from, and one session no partner."""
    with pytest.raises(ValueError, match="are not two or more pairs"):
        learn({KEY: days(count, between=0.01)})


def test_sessions_are_real_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four sessions of five fresh processes on this machine, and on which machine that was."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Project.make(tmp_path).edit('warmup = "0.1 s"', 'warmup = "5 ms"\nrun_duration = "100 ms"')
    told: list[str] = []
    at, values = measure(load(tmp_path / "hil.toml"), "cpu", [("toy", "fp32")], told.append, comparisons=2)
    assert at
    assert set(values) == {(check, "toy", "fp32") for check in CHECKS}
    for sessions in values.values():
        assert [len(session) for session in sessions] == [5] * 4
        assert all(math.isfinite(value) and value > 0 for session in sessions for value in session)
    assert "session 4 of 4: about 0 s left" in told
    assert all(one.comparisons == 2 for one in learn(values))


def test_what_the_target_cannot_do_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that can be timed is the user's mistake, and not a calibration of nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Project.make(tmp_path).edit('["fp32"]', '["fp16"]')
    with pytest.raises(UserError, match=r"nothing can be timed on target 'cpu': .*fp16"):
        measure(load(tmp_path / "hil.toml"), "cpu", [("toy", "fp16")], lambda _: None, comparisons=2)
