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
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch, fresh_workers: None) -> None:  # noqa: ARG001 - it sets a variable
    """Use the tests' own cache folder, and start each worker as a process of its own, as a user's agent does."""
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


@pytest.fixture(scope="module")
def shared_agent(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentClient]:
    """An agent that holds its target, for tests that leave it running; its workers are forks of one process."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(cache))
        agent = open_target("bench", TargetSpec(store=str(folder / "store"))).start_agent()
    with agent:
        agent.hold("token", "tester")
        yield agent


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The path of a file with ``models.tiny``; each test's file has its own digest."""
    return models.tiny(tmp_path / "tiny.onnx", note=str(tmp_path))


def load(agent: AgentClient, model: Path, deadline: float = 60) -> EngineWorker:
    """Return a worker with the model loaded as an engine built elsewhere; an idle worker may be reused."""
    key = agent.adopt(agent.put_blob(model), "fp32", "onnxruntime", {}).key
    return agent.load(key, {"threads": 1}, deadline, fresh=False)


@pytest.fixture
def worker(agent: AgentClient, model: Path) -> Iterator[EngineWorker]:
    """A worker with ``models.tiny`` loaded."""
    with load(agent, model) as engine_worker:
        yield engine_worker


@pytest.fixture(scope="module")
def shared_worker(shared_agent: AgentClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineWorker]:
    """A worker with ``models.tiny`` loaded, for the tests of a module that leave it running."""
    with load(shared_agent, models.tiny(tmp_path_factory.mktemp("model") / "tiny.onnx")) as engine_worker:
        yield engine_worker


@pytest.fixture
def feed() -> dict[str, npt.NDArray[np.float32]]:
    """One valid input of ``models.tiny``."""
    return {"x": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}
