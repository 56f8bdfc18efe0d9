"""The JetPack matrix: boards of two releases, each run over SSH, in one history."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hil.compare import Document, Status
from tests.boards.faults import BoardProject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

RELEASES = ("jp62", "jp72")
SUITE = ("-k", "p50 or engine_size or task", "--hil-runs=2", "--hil-history=sqlite:///history.db")
SHORT = '[measure]\nrun_duration = "50 ms"'


def test_two_jetpacks_side_by_side(boards: Callable[..., SimulatedBoard], tmp_path: Path) -> None:
    """A comparison with another board is confounded and does not pass; on request, its rows are judged."""
    for release in RELEASES:
        project = BoardProject.make(tmp_path, boards(release))
        project.local.edit("[measure]", SHORT)
        project.local.edit('duration = "0.5 s"', 'duration = "200 ms"')
        ran = project.run(*SUITE)
        assert ran.report is not None, ran.out
    compare = ("compare", "--by", "jetpack", "--model", "toy", "--history", "sqlite:///history.db")
    files = ("--json", "m.json", "--html", "m.html", "--markdown", "m.md")
    hil = project.local.hil
    confounded = hil(*compare)
    assert confounded.code == 1
    assert "measured on different machines" in " ".join(confounded.out.split())
    across = hil(*compare, "--across-boards", *files)
    (compared,) = Document.model_validate_json((tmp_path / "m.json").read_text(encoding="utf-8")).comparisons
    assert (compared.base.name, compared.cand.name) == ("6.2", "7.2")
    status = {row.check: row.status for row in compared.rows}
    assert status["memory.engine_size"] is status["parity.task"] is Status.SAME
    assert status["latency.p50"] in {Status.UNCLEAR, Status.CONFOUNDED}
    changed = {each.name: (each.base, each.cand) for each in compared.changed}
    assert changed["JetPack"] == ("6.2", "7.2")
    assert {"L4T", "serial", "module"} <= set(changed)
    assert across.code == 1  # two runs on each side are too few for a decision, which does not pass
    for page in ("m.html", "m.md"):
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert all(piece in text for piece in ("7.2", "L4T", "engine size"))
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))["by"] == "jetpack"
