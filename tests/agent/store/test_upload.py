from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hil.agent.failure import Failure
from hil.agent.store.blobs import Store

if TYPE_CHECKING:
    from pathlib import Path

NAME = "0" * 64


def open_files() -> int:
    """Return the number of open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number matters


def test_an_upload_whose_file_was_deleted_is_closed(tmp_path: Path) -> None:
    """If the partial file is deleted before the commit, the commit fails, and no descriptor leaks."""
    store = Store(str(tmp_path))
    before = open_files()
    store.begin(NAME, 3)
    store.append(NAME, 0, b"abc")
    (tmp_path / "partial" / NAME).unlink()
    with pytest.raises(Failure, match="arrived damaged"):
        store.commit(NAME)
    assert not store.uploads
    assert open_files() == before


def test_an_upload_that_cannot_begin_leaves_nothing_open(tmp_path: Path) -> None:
    """If an earlier partial file cannot be read, one message reports it and no descriptor leaks."""
    store = Store(str(tmp_path))
    before = open_files()

    def broken() -> None:
        raise OSError(5, "Input/output error")

    (tmp_path / "partial" / NAME).write_bytes(b"abc")
    store.beat = broken  # called while the partial file is hashed
    with pytest.raises(Failure, match="Input/output error"):
        store.begin(NAME, 10)
    assert not store.uploads
    assert open_files() == before
