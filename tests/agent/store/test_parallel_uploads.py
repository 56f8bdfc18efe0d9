"""Pipes for further channels of an upload."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest

from hil.agent.store.parallel_uploads import open_pipes

if TYPE_CHECKING:
    from pathlib import Path


def test_no_pipe_is_left_if_one_cannot_be_opened(tmp_path: Path) -> None:
    """If a process may open no further file, all pipes are deleted, also the one that exists and is not open."""
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)]
    for one in free:
        os.close(one)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(free), hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            open_pipes(str(tmp_path), 3, lambda _: None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not list(tmp_path.iterdir())
