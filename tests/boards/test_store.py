"""The store on a board over SSH: its size is limited, and the least recently used files are deleted first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.files.digests import file_digest
from tests.boards.faults import STORE, assert_clean
from tests.boards.test_faults_board import MIB, lab_error, larger, open_and_provision
from tests.boards.test_state import Opens, local, messages, start
from tests.plugins.project import toy

if TYPE_CHECKING:
    from tests.boards.board import SimulatedBoard
    from tests.plugins.project import Project

__all__ = ["local", "messages", "start"]


def blobs(board: SimulatedBoard) -> set[str]:
    """Return the names of the store's files."""
    return {path.name for path in board.file(f"{STORE}/blobs").iterdir()}


def test_the_least_recently_used_file_is_deleted(board: SimulatedBoard, local: Project, start: Opens) -> None:
    """If a model has no room, the least recently used one is deleted; engines of both sessions were downloaded."""
    model = local.root / "toy.onnx"
    digests = []
    for size in (6 * MIB, 7 * MIB):
        toy(model)
        larger(model, size)
        digests.append(file_digest(model))
        open_and_provision(start, store_size="10 MiB")
        assert digests[-1] in blobs(board)
    assert digests[0] not in blobs(board)
    downloaded = {file_digest(path) for path in (local.root / "report/engines").glob("toy-fp32-*")}
    assert downloaded == set(digests)  # ONNX Runtime's engine is the file itself
    assert_clean(board)


def test_a_model_that_is_larger_than_the_store(board: SimulatedBoard, local: Project, start: Opens) -> None:
    """If the model is larger than the store, the error names the config key that raises the store's limit."""
    larger(local.root / "toy.onnx", 6 * MIB)
    message = lab_error(open_and_provision, start=start, store_size="5 MiB")
    assert "limited to 5 MiB" in message
    assert "raise store_size" in message
    assert_clean(board)
