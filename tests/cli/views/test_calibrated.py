"""Calibrating a pool: each member as a board of its own, then how much the boards differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hil.cli.views import calibrated
from hil.errors import LabError, UserError
from hil.history import open_history
from hil.stats.control_difference import CONTROL
from tests.board.test_noise import simulated_sessions
from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

    from hil.board.noise import Values

POOL = """
[targets.orins]
kind = "pool"
members = ["orin-1", "orin-2", "orin-3"]
[targets.orin-1]
store = "1"
[targets.orin-2]
store = "2"
[targets.orin-3]
store = "3"
[targets.lab]
kind = "labgrid"
coordinator = "lab.invalid"
filter = { board = "orin" }
"""
ROW = ("latency.p50", "toy", "fp32")
LEVELS = {"orin-1": 1.0, "orin-2": 1.04, "orin-3": 1.01}


def sessions(level: float) -> Values:
    """Return the sessions of one board; boards differ only in ``level``."""
    made = [tuple(value * level for value in one) for one in simulated_sessions(40, between=0.002)]
    return {ROW: made, (CONTROL, "net v1", ""): made}


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config of a pool, with ``sessions`` in place of real measurements, which take minutes."""
    project = Project.make(tmp_path)
    project.toml.write_text(project.toml.read_text() + POOL)

    def measure(_config: Any, target: str, *_rest: Any, **_how: Any) -> tuple[str, Values]:
        return f"serial of {target}", sessions(LEVELS[target])

    monkeypatch.setattr(calibrated, "measure", measure)
    return project.toml


def test_a_pool_stores_the_noise_of_each_board_and_the_most_by_which_two_differ(
    pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Calibrating a pool stores the noise of each board, and the largest difference between two of its boards."""
    url = f"sqlite:///{pool.parent}/history.db"
    calibrated.calibrate("orins", (), 20, url, pool)
    boards = [f"serial of {name}" for name in LEVELS]
    assert "orins: the most by which two of the boards" in " ".join(capsys.readouterr().out.split())
    with open_history(url, base=pool.parent, read_only=True) as history:
        for board in boards:
            assert history.noise(board, *ROW) is not None
            assert history.noise(board, CONTROL, "net v1", "") is None
        for key in (ROW, (CONTROL, "net v1", "")):
            entry = history.between_boards(boards[:2], *key)
            assert entry is not None
            assert 0.04 < entry.sd < 0.05
        assert history.between_boards([*boards[:2], "another"], *ROW) is None
        assert history.between_boards(boards, "latency.p99", "toy", "fp32") is None


def test_one_board_under_two_names_and_a_lab_cannot_be_calibrated(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool in which one board has two names, and a lab, whose boards may change, cannot be calibrated."""
    url = f"sqlite:///{pool.parent}/history.db"
    with pytest.raises(UserError, match=r"lab is a lab.*on target 'lab': write its boards as a pool"):
        calibrated.calibrate("lab", (), 20, url, pool)
    monkeypatch.setattr(calibrated, "measure", lambda *_, **__: ("one serial", sessions(1.0)))
    with pytest.raises(LabError, match=r"orin-2 is the same board as another member.*on target 'orins'"):
        calibrated.calibrate("orins", (), 20, url, pool)
    with open_history(url, base=pool.parent, read_only=True) as history:
        assert history.between_boards(["one serial"], *ROW) is None
