"""On a machine with a GPU, with ``HIL_GPU_PYTHON`` the interpreter that has TensorRT; elsewhere nothing here is a test.

All tests share one store, so that each engine is built once and the timing cache helps with the others.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hil.targets.target import open_target
from tests.gpu.board import Board, spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.targets.client import AgentClient

PYTHON = os.environ.get("HIL_GPU_PYTHON", "")
HEARD = os.environ.get("HIL_GPU_FAULTS", "")
"""Where ``benchmarks.tensorrt faults`` finds the verdicts of the provoked faults."""

# Not a skip: without a GPU there is nothing that could have been tested.
collect_ignore_glob = [] if PYTHON else ["test_*.py"]

_heard: list[dict[str, Any]] = []


@pytest.fixture(scope="session")
def gpu_python() -> str:
    """The interpreter that has TensorRT."""
    return PYTHON


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def gpu_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of all tests here."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def _own_cache(_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(_cache))


@pytest.fixture
def gpu_agent(gpu_python: str, gpu_store: Path) -> Iterator[AgentClient]:
    """An agent on the GPU that holds it."""
    with open_target("gpu", spec(gpu_python, gpu_store)).start_agent() as agent:
        agent.hold(secrets.token_hex(8), "tests.gpu", 60.0)
        yield agent


@pytest.fixture
def board(gpu_python: str, gpu_store: Path, tmp_path: Path) -> Iterator[Board]:
    """A project for the GPU in a folder of its own; its sessions are closed in the end."""
    made = Board(tmp_path, gpu_python, gpu_store)
    yield made
    made.close()


@pytest.fixture
def heard() -> Callable[..., None]:
    """Keeps what a user would have read of a fault: its name, the verdict, the message, a fresh worker afterwards."""

    def keep(fault: str, verdict: str, message: str, *, fresh: bool) -> None:
        _heard.append({"fault": fault, "verdict": verdict, "message": message, "fresh": fresh})

    return keep


def pytest_sessionfinish() -> None:
    """Writes the verdicts for the benchmark that keeps them."""
    if HEARD:
        Path(HEARD).write_text(json.dumps(_heard, indent=1), encoding="utf-8")
