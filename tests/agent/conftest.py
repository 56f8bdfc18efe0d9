"""A real agent on this machine, with its own store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.config.spec import TargetSpec
from hil.targets.target import open_target
from tests.agent import models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the agent's archive, so that tests do not touch the user's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder of a test agent's store."""
    return tmp_path / "store"


@pytest.fixture
def agent(store: Path) -> Iterator[AgentClient]:
    """An agent that holds its target."""
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as client:
        client.hold("token", "tester")
        yield client


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The path of a file with ``models.tiny``."""
    return models.tiny(tmp_path / "tiny.onnx")


@pytest.fixture
def worker(agent: AgentClient, model: Path) -> Iterator[EngineWorker]:
    """A worker with ``models.tiny`` loaded."""
    built = agent.build(agent.put_blob(model), "fp32", "onnxruntime", {}, 60)
    with agent.load(built.key, {"threads": 1}, 60) as loaded:
        yield loaded


@pytest.fixture
def feed() -> dict[str, npt.NDArray[np.float32]]:
    """One valid input of ``models.tiny``."""
    return {"x": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}
