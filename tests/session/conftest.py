"""Requests for sessions: a real project, and a real agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from hil.config.load import load
from hil.session import Request
from tests.plugins.project import Project, samples, save

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

[targets.board]
kind = "ssh"
host = "board.invalid"
"""


class MakesRequests(Protocol):
    """A function that makes requests; omitted arguments have defaults."""

    def __call__(self, target: str = "cpu", fallback: str = "cpu", run_id: str = "one") -> Request:
        """Return the request of one process of run ``run_id``."""


SAMPLES = 40
"""Validation samples of the project; each costs a request to the engine."""


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache in which the project's engine is built once for all tests that do not count builds."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture
def messages() -> list[str]:
    """Return the list that collects a session's progress messages."""
    return []


@pytest.fixture
def make_request(tmp_path: Path, messages: list[str]) -> MakesRequests:
    """Return a factory of requests for one project with the targets of ``TARGETS``."""
    project = Project.make(tmp_path)
    save(project.root / "validation.npz", samples(SAMPLES))
    path = project.root / "hil.toml"
    path.write_text(path.read_text() + TARGETS)
    config = load(path)

    def make(target: str = "cpu", fallback: str = "cpu", run_id: str = "one") -> Request:
        return Request(config, target, fallback, 0.0, run_id, tmp_path / "report", messages.append)

    return make
