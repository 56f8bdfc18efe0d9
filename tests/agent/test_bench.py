from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.config.spec import TargetSpec
from hil.errors import EngineBuildError
from hil.targets.base import open_target
from tests.agent.test_supervisor import all_gone, is_running

if TYPE_CHECKING:
    from hil.targets.client import AgentClient


def workers(agent: AgentClient) -> list[int]:
    """Process ids of the agent's children."""
    pid = agent.hello["pid"]
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def key(store: Path, model: Path) -> str:
    """An engine that an earlier session built."""
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as agent:
        agent.hold("earlier", "tester")
        return agent.build(agent.put_blob(model), "fp32", "onnxruntime", {}, 60).key


def test_the_worker_that_was_asked_serves_one_load(key: str, agent: AgentClient) -> None:
    """What imported the runtime to tell of it is the first engine's process, and no second one's."""
    agent.probe()
    [idle] = workers(agent)
    with agent.load(key, {}, 60, fresh=False) as first, agent.load(key, {}, 60, fresh=False) as second:
        assert first.pid == idle
        assert second.pid != idle
    agent.probe()
    assert workers(agent) == []


def test_what_must_be_fresh_is_fresh(key: str, agent: AgentClient) -> None:
    """Cold start and memory get a process that has done nothing, on a machine where no other one waits."""
    agent.probe()
    [idle] = workers(agent)
    with agent.load(key, {}, 60) as worker:
        assert worker.pid != idle
        assert worker.load["import_seconds"] > 0
        assert workers(agent) == [worker.pid]
        assert not is_running(idle)


def test_fresh_is_what_one_gets_unasked(key: str, agent: AgentClient) -> None:
    """A request that says nothing of it gets a fresh process."""
    agent.probe()
    [idle] = workers(agent)
    assert agent.call("load", {"key": key, "options": {}, "deadline": 60})[0]["pid"] != idle


def test_a_build_finds_nobody_waiting(agent: AgentClient, tmp_path: Path) -> None:
    """A build has the memory to itself, whether it succeeds or not."""
    agent.probe()
    [idle] = workers(agent)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(EngineBuildError):
        agent.build(agent.put_blob(tmp_path / "bad.onnx"), "fp32", "onnxruntime", {}, 60)
    assert not is_running(idle)
    assert workers(agent) == []


def test_a_dead_one_is_replaced(key: str, agent: AgentClient) -> None:
    """An idle worker that was killed meanwhile costs nothing but a new one."""
    agent.probe()
    [idle] = workers(agent)
    os.kill(idle, signal.SIGKILL)
    assert all_gone([idle], 2.0)
    time.sleep(0.3)  # its first thread is gone, the others may take a moment more
    with agent.load(key, {}, 60, fresh=False) as worker:
        assert worker.pid != idle


def test_it_ends_with_its_session(agent: AgentClient) -> None:
    """Nothing waits for a session that is over, killed ones included."""
    agent.probe()
    found = workers(agent)
    os.kill(agent.hello["pid"], signal.SIGKILL)
    assert all_gone(found, 2.0)
