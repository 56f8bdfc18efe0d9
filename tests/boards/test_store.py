"""The store on a board over SSH: existing files are not sent again, and its size is limited."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.files.digests import file_digest
from tests.boards.faults import LAB, STORE, BoardProject, assert_clean, assert_ended_with
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
def project(board: SimulatedBoard, tmp_path: Path) -> BoardProject:
    """A project with a model of 6 MiB."""
    made = BoardProject.make(tmp_path, board)
    larger(made, 6 * MIB)
    return made


def test_the_least_recently_used_file_is_deleted(project: BoardProject) -> None:
    """A model without room replaces the least recently used one; the engines of both runs were downloaded."""
    project.target(store_size="10 MiB")
    first = file_digest(project.local.root / "toy.onnx")
    project.run(*CONTRACT)
    assert first in blobs(project.board)
    toy(project.local.root / "toy.onnx")
    larger(project, 7 * MIB)
    second = file_digest(project.local.root / "toy.onnx")
    ran = project.run(*CONTRACT)
    assert ran.report is not None, ran.out
    verdicts = {row["verdict"] for row in ran.report["checks"] if row["id"].startswith("contract.")}
    assert verdicts == {"passed"}, ran.out
    assert second in blobs(project.board)
    assert first not in blobs(project.board)
    downloaded = {file_digest(path) for path in (project.local.root / "report/engines").glob("toy-fp32-*")}
    assert downloaded == {first, second}  # ONNX Runtime's engine is the file itself
    assert_clean(project.board)


def test_a_model_that_is_larger_than_the_store(project: BoardProject) -> None:
    """The error names the config key that raises the limit."""
    project.target(store_size="5 MiB")
    assert_ended_with(project.run(*CONTRACT), LAB, "limited to 5 MiB", "raise store_size")
    assert_clean(project.board)
