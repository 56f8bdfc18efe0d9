"""Tests for a machine with a GPU; ``HIL_GPU_PYTHON`` is the interpreter with TensorRT. Not collected elsewhere.

All tests share one store, so that each engine is built once and the timing cache speeds up the others.
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
FAULTS = os.environ.get("HIL_GPU_FAULTS", "")
"""File in which ``benchmarks.tensorrt faults`` expects the verdicts of the provoked faults."""

# Not a skip: without a GPU there is nothing to test.
collect_ignore_glob = [] if PYTHON else ["test_*.py"]

_faults: list[dict[str, Any]] = []


@pytest.fixture(scope="session")
def gpu_python() -> str:
    """The interpreter with TensorRT."""
    return PYTHON


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def gpu_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of all tests in this folder."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def _own_cache(_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(_cache))


@pytest.fixture
def gpu_agent(gpu_python: str, gpu_store: Path) -> Iterator[AgentClient]:
    """An agent that holds the GPU."""
    with open_target("gpu", spec(gpu_python, gpu_store)).start_agent() as agent:
        agent.hold(secrets.token_hex(8), "tests.gpu", 60.0)
        yield agent


@pytest.fixture
def board(gpu_python: str, gpu_store: Path, tmp_path: Path) -> Iterator[Board]:
    """A project for the GPU in a folder of its own; its sessions are closed after the test."""
    project = Board(tmp_path, gpu_python, gpu_store)
    yield project
    project.close()


@pytest.fixture
def record_fault() -> Callable[..., None]:
    """Return a function that records a fault's name, verdict, message, and whether a fresh worker ran afterwards."""

    def record(fault: str, verdict: str, message: str, *, fresh: bool) -> None:
        _faults.append({"fault": fault, "verdict": verdict, "message": message, "fresh": fresh})

    return record


def pytest_sessionfinish() -> None:
    """Write the verdicts for the benchmark that stores them."""
    if FAULTS:
        Path(FAULTS).write_text(json.dumps(_faults, indent=1), encoding="utf-8")
