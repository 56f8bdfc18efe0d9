from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from hil.errors import EngineBuildError
from hil.session.sampling.spreading import spread
from hil.session.steps import Progress


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list with the time of a simulated clock, in which sleeping takes no time."""
    clock = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    return clock


def session(over: float, messages: list[str], closed: list[float], now: list[float]) -> Any:
    """Return the part of a session that spreading needs, with engines in two precisions."""
    engines = SimpleNamespace(needed=lambda _: ["fp32", "int8"], close=lambda: closed.append(now[0]))
    return SimpleNamespace(over=over, engines=engines, progress=Progress(messages.append))


def runs_of(over: float, n: int, took: float, now: list[float]) -> tuple[list[tuple[str, int, float]], list[str]]:
    """Return the runs (precision, number, seconds from the beginning to its start), and the messages."""
    messages: list[str] = []
    closed: list[float] = []
    runs = []

    def measure(precision: str, number: int) -> None:
        runs.append((precision, number, now[0] - 50))
        now[0] += took
        if precision == "int8" and number == 2:
            raise EngineBuildError("it crashes")

    spread(session(over, messages, closed, now), "digits", "fp32", n, measure)
    assert len(closed) == sum("waiting before run" in message for message in messages)
    return runs, messages


def test_the_runs_of_all_engines_are_spread(now: list[float]) -> None:
    """Each engine's first run is at the beginning and its last at the end; an engine that fails is left out."""
    runs, messages = runs_of(600, 4, 5, now)
    assert runs[:4] == [("fp32", 1, 0.0), ("int8", 1, 5.0), ("fp32", 2, pytest.approx(590 / 3)), runs[3]]
    assert [run[:2] for run in runs[3:]] == [("int8", 2), ("fp32", 3), ("fp32", 4)]
    assert runs[-1][2] == pytest.approx(590)
    assert "digits: waiting before run 2 of 4" in messages


def test_without_an_engine_nothing_waits(now: list[float]) -> None:
    """Once every engine has failed, no time passes."""

    def fail(precision: str, number: int) -> None:
        raise EngineBuildError(f"{precision} {number} crashes")

    messages: list[str] = []
    spread(session(600, messages, [], now), "digits", "fp32", 4, fail)
    assert (now, messages) == ([50.0], [])


def test_a_short_time_makes_no_run_wait(now: list[float]) -> None:
    """If the runs take longer than ``--hil-over``, no run waits, and a message states this."""
    runs, messages = runs_of(20, 4, 5, now)
    assert [run[2] for run in runs] == [0, 5, 10, 15, 20, 25]
    assert messages == ["digits: 4 runs take longer than --hil-over, 20 s: they follow each other without waiting"]
