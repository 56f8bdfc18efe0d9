"""The facts in a run's report that concern all its boards."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from hil.history import Noise, open_history
from hil.history.entries import between
from hil.plugins.pools.board_records import with_calibration
from hil.stats.control_difference import CONTROL
from tests.report.parts.test_boards_view import report_of

if TYPE_CHECKING:
    from pathlib import Path

    from hil.report.schema import Report

TIMES = {"a": [1.0], "b": [1.001], "c": [1.04]}


def test_a_calibration_counts_only_if_it_has_all_boards_of_the_run(tmp_path: Path) -> None:
    """The report has the last calibration that covers all boards of the run, by serial number."""
    url = f"sqlite:///{tmp_path}/history.db"
    config = SimpleNamespace(root=tmp_path, spec=SimpleNamespace(project=SimpleNamespace(history=url)))
    config.spec.project.model_fields_set = {"history"}
    pytest_config = SimpleNamespace(getoption=lambda _name, default=None: default)
    run: Any = SimpleNamespace(config=config, pytest_config=pytest_config)
    plain = report_of(TIMES)
    boards = {
        name: board.model_copy(update={"facts": {"machine": "aarch64"}}) for name, board in plain.target.boards.items()
    }

    def differ(**serials: str | None) -> dict[str, float]:
        used = {
            name: board.model_copy(update={"serial": serials.get(name, board.serial)}) for name, board in boards.items()
        }
        report: Report = plain.model_copy(update={"target": plain.target.model_copy(update={"boards": used})})
        return with_calibration(run, report).target.boards_differ

    assert differ() == {}
    with open_history(url, base=tmp_path) as history:
        for spread, serials in (
            (0.5, ["140", "141", "142"]),
            (0.03, ["140", "141", "142", "143"]),
            (0.2, ["140", "141"]),
        ):
            now = datetime.now(timezone.utc)
            history.add_noise(Noise(between(serials), "orins", CONTROL, "net v1", "", spread, 0.0, 20, now))
    assert differ() == {"net v1": 0.03}
    assert differ(c="999") == differ(c=None) == {}
