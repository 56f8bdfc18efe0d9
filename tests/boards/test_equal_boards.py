"""Engines of a pool over SSH: equal boards share one, and no other board takes it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

from hil.config.load import load
from hil.pools.pool_board import PoolBoard
from hil.results import Row
from hil.session import Request, Session, records
from tests.plugins.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.boards.board import SimulatedBoard

ROW = Row(id="parity.outputs", model="toy", precision="fp32", required=True)


def test_an_engine_is_built_once_for_equal_boards(
    boards: Callable[..., SimulatedBoard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two equal boards one builds an engine, and the other uses it; in another power mode a board builds its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pool = {name: boards("jp62") for name in ("orin-1", "orin-2")}
    for name, board in pool.items():
        board.file("/sys/firmware/devicetree/base/serial-number").write_text(f"{name[-1]}422\0", encoding="ascii")
    project = Project.make(tmp_path)
    with project.toml.open("a") as file:
        tables = "".join(board.toml(name) for name, board in pool.items())
        file.write(f'[targets.orins]\nkind = "pool"\nmembers = ["orin-1", "orin-2"]\n{tables}')
    config = load(project.toml)

    def built_on(name: str) -> str | None:
        folder = tmp_path / f"report-{name}"
        board = PoolBoard(name, f"run:{name}")
        request = Request(config, "orins", "fail", 0.0, "run", folder, lambda _line: None, board=board)
        with closing(Session.open(request)) as session:
            [engine] = records.engines(session, ROW)
            assert (folder / engine["file"]).is_file()
            builder: str | None = engine["built_on"]
            return builder

    with ThreadPoolExecutor(2) as threads:
        found = dict(zip(pool, threads.map(built_on, pool), strict=True))
    assert list(found.values()).count(None) == 1, found
    [(other, builder)] = [(name, by) for name, by in found.items() if by is not None]
    assert builder == {"orin-2": "orin-1 (serial 1422)", "orin-1": "orin-2 (serial 2422)"}[other]
    assert built_on(other) == builder
    pool[other].power_mode("10W")
    assert built_on(other) is None
