"""Measuring a board's noise with A/A sessions, real and simulated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.board.noise import CHECKS, between_boards, learn, measure
from hil.config.load import load
from hil.errors import UserError
from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("latency.p50", "detector", "fp16")


def simulated_sessions(count: int, *, between: float, within: float = 0.002) -> list[tuple[float, ...]]:
    """Return sessions of five runs around 5 ms; each session has its own mean level."""
    random = np.random.default_rng(3)
    levels = 0.005 * np.exp(between * random.standard_normal((count, 1)))
    return [tuple(session) for session in (levels * np.exp(within * random.standard_normal((count, 5)))).tolist()]


def test_noise_between_sessions_prevents_false_alarms() -> None:
    """A board that differs by 2 % between sessions raises false alarms until its noise is known."""
    (learned,) = learn({KEY: simulated_sessions(80, between=0.02)})
    assert learned.key == KEY
    assert learned.sessions == pytest.approx(0.02, rel=0.3)
    assert learned.runs == pytest.approx(0.002, rel=0.3)
    assert learned.comparisons == 40
    assert learned.alarms <= 2
    assert learned.unaware > 20


def test_a_board_without_noise_between_sessions() -> None:
    """If sessions differ no more than their runs do, the noise between sessions is almost zero."""
    (learned,) = learn({KEY: simulated_sessions(80, between=0.0)})
    assert learned.sessions < 0.001
    assert (learned.unaware, learned.alarms) == (0, 0)


@pytest.mark.parametrize("count", [0, 2, 5])
def test_too_few_sessions_are_an_error(count: int) -> None:
    """One pair of sessions, or an odd number of sessions, is an error."""
    with pytest.raises(ValueError, match="do not make two or more pairs"):
        learn({KEY: simulated_sessions(count, between=0.01)})


def test_measuring_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``measure`` returns the machine, and values of four sessions with five new processes each."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Project.make(tmp_path).edit('warmup = "0.1 s"', 'warmup = "5 ms"\nrun_duration = "100 ms"')
    messages: list[str] = []
    at, values = measure(load(tmp_path / "hil.toml"), "cpu", [("toy", "fp32")], messages.append, comparisons=2)
    assert at
    assert set(values) == {(check, "toy", "fp32") for check in CHECKS}
    for sessions in values.values():
        assert [len(session) for session in sessions] == [5] * 4
        assert all(math.isfinite(value) and value > 0 for session in sessions for value in session)
    assert "session 4 of 4: about 0 s left" in messages
    assert {noise.comparisons for noise in learn(values)} == {2}


def test_nothing_to_time_is_a_user_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the target cannot time any engine, the error is the user's and names the reason."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Project.make(tmp_path).edit('["fp32"]', '["fp16"]')
    with pytest.raises(UserError, match=r"nothing can be timed on target 'cpu': .*fp16"):
        measure(load(tmp_path / "hil.toml"), "cpu", [("toy", "fp16")], lambda _: None, comparisons=2)


def test_the_difference_between_boards_is_the_largest_of_any_two_with_its_interval() -> None:
    """The difference of a row is the largest between any two boards; a row that one board lacks has none."""
    sessions = simulated_sessions(40, between=0.002)
    boards = {
        name: {KEY: [tuple(value * level for value in one) for one in sessions]}
        for name, level in (("a", 1.0), ("b", 0.97), ("c", 1.01))
    }
    assert 1.01 / 0.97 - 1 < between_boards(boards)[KEY] < 1.01 / 0.97 - 1 + 0.005
    other = {"d": {("latency.p99", "detector", "fp16"): sessions}}
    assert between_boards({**boards, **other}) == {}
    with pytest.raises(ValueError, match="needs two boards"):
        between_boards({"a": boards["a"]})
