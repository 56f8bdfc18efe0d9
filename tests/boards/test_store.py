"""The store on a board over SSH: existing files are not sent again, and its size is limited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.files.digests import file_digest
from tests.boards.faults import LAB, STORE, Judged, clean, ended_with
from tests.boards.test_faults_board import MIB, larger
from tests.plugins.project import toy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

CONTRACT = ("-k", "contract")


def blobs(board: SimulatedBoard) -> set[str]:
    """Return the names of the store's files."""
    return {path.name for path in board.file(f"{STORE}/blobs").iterdir()}


@pytest.fixture
def judged(board: SimulatedBoard, tmp_path: Path) -> Judged:
    """A project with a model of 6 MiB."""
    made = Judged.make(tmp_path, board)
    larger(made, 6 * MIB)
    return made


def test_what_was_least_used_goes(judged: Judged) -> None:
    """A model without room replaces the least recently used one; the engines of both runs were downloaded."""
    judged.target(store_size="10 MiB")
    first = file_digest(judged.project.root / "toy.onnx")
    judged.run(*CONTRACT)
    assert first in blobs(judged.board)
    toy(judged.project.root / "toy.onnx")
    larger(judged, 7 * MIB)
    second = file_digest(judged.project.root / "toy.onnx")
    ran = judged.run(*CONTRACT)
    assert ran.report is not None, ran.out
    found = {row["verdict"] for row in ran.report["checks"] if row["id"].startswith("contract.")}
    assert found == {"passed"}, ran.out
    assert second in blobs(judged.board)
    assert first not in blobs(judged.board)
    home = {file_digest(path) for path in (judged.project.root / "report/engines").glob("toy-fp32-*")}
    assert home == {first, second}  # ONNX Runtime's engine is the file itself
    clean(judged.board)


def test_a_model_that_is_larger_than_the_store(judged: Judged) -> None:
    """The error names the config key that raises the limit."""
    judged.target(store_size="5 MiB")
    ended_with(judged.run(*CONTRACT), LAB, "limited to 5 MiB", "raise store_size")
    clean(judged.board)
