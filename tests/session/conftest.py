"""Requests for sessions: a real project, and a real agent with its own cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from hil.config.load import load
from hil.session import Request
from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = """
[targets.stand-in]
evidence = "emulated"

[targets.contained]
container = { engine = "podman", image = "none" }

[targets.gpu]
runtime = "tensorrt"
board = "h200"

[targets.misled]
board = "h200"
gpu = 1

[targets.threaded]
runtime = "tensorrt"
threads = 2

[targets.module]
board = "orin-nx-16gb"

[targets.numbered]
serial = "1424721012345"

[targets.board]
kind = "ssh"
host = "board.invalid"
"""


class MakesRequests(Protocol):
    """Return a request; omitted arguments have defaults."""

    def __call__(self, target: str = "cpu", fallback: str = "cpu", run_id: str = "one") -> Request:
        """Return the request of one process of run ``run_id``."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def messages() -> list[str]:
    """Return the list that collects a session's progress messages."""
    return []


@pytest.fixture
def make_request(tmp_path: Path, messages: list[str]) -> MakesRequests:
    """Return a factory of requests for one project with the targets of ``TARGETS``."""
    project = Project.make(tmp_path)
    path = project.root / "hil.toml"
    path.write_text(path.read_text() + TARGETS)
    config = load(path)

    def make(target: str = "cpu", fallback: str = "cpu", run_id: str = "one") -> Request:
        return Request(config, target, fallback, 0.0, run_id, tmp_path / "report", messages.append)

    return make
