"""Reports of real runs on a simulated board and on this machine, created once, and robots to deploy them to."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.boards.board import SimulatedBoard
from tests.boards.conftest import board, boards, environments, interpreters, missing_requirement
from tests.boards.faults import BoardProject
from tests.boards.generations import facts_of
from tests.deploy import container
from tests.deploy.fleet import Fleet
from tests.deploy.robot import Robot
from tests.models import externalize

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.boards.board import Interpreter

__all__ = ["board", "boards", "environments", "interpreters"]

DISK = 16 << 20
"""Bytes of the disk for releases: small, so that it can be filled."""


@pytest.fixture(scope="session")
def judged(
    interpreters: Callable[..., Interpreter],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A project with a report from a board of JetPack 6.2; the model has external weights."""
    if why := missing_requirement():
        pytest.skip(why)
    board = SimulatedBoard("jp62", interpreters(facts_of("jp62")["python"]), tmp_path_factory.mktemp("judged-on"))
    try:
        root = tmp_path_factory.mktemp("project")
        project = BoardProject.make(root, board)
        externalize(root / "toy.onnx")
        project.local.require(*container.REQUIRED)
        ran = project.run(*container.SELECTED, "--hil-gate")
    finally:
        board.close()
    assert ran.code == 0, ran.out
    return root


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a report from this machine."""
    return container.judged_project(tmp_path_factory.mktemp("local"))


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Return a function that copies a project to a new folder."""

    def copy(source: Path) -> Path:
        root = tmp_path / "project"
        shutil.copytree(source, root, ignore=shutil.ignore_patterns("cache"))
        return root

    return copy


@pytest.fixture
def fleet(judged: Path, board: SimulatedBoard, copied: Callable[[Path], Path]) -> Fleet:
    """A copy of the judged project, with a robot as its target ``rover``."""
    return Fleet.make(copied(judged), Robot(board, DISK))
