from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest

from hil.config.spec import TargetSpec
from hil.errors import EngineBuildError
from hil.targets.target import open_target
from tests.agent import models
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


def build(agent: AgentClient, model: Path, *, more: bool = True) -> dict[str, Any]:
    """What the build says of itself."""
    return dict(agent.build(agent.put_blob(model), "fp32", "onnxruntime", {}, 60, more=more).about)


@pytest.fixture
def others(tmp_path: Path) -> list[Path]:
    """Three models, each another file: one engine of one is found in the store by no other's key."""
    made = [models.tiny(tmp_path / f"{number}.onnx") for number in range(3)]
    for number, path in enumerate(made):
        model = onnx.load(str(path))
        model.doc_string = str(number)
        onnx.save(model, str(path))
    return made


def test_builds_one_after_the_other_share_a_process(agent: AgentClient, others: list[Path]) -> None:
    """Whoever says that more follow finds the builder again, uploads between them or not; after the last it is gone."""
    assert build(agent, others[0])["process"] == "fresh"
    [builder] = workers(agent)
    assert build(agent, others[1])["process"] == "kept"
    assert workers(agent) == [builder]
    assert build(agent, others[2], more=False)["process"] == "kept"
    assert workers(agent) == []


def test_nobody_waits_unasked(agent: AgentClient, others: list[Path]) -> None:
    """A build that says nothing of another one leaves no process, and the next one gets a fresh one."""
    for model in others[:2]:
        assert build(agent, model, more=False)["process"] == "fresh"
        assert workers(agent) == []


@pytest.mark.parametrize("op", ["load", "probe", "spawn", "state"])
def test_whatever_else_is_asked_finds_no_builder(op: str, agent: AgentClient, others: list[Path]) -> None:
    """A builder holds memory and, on a GPU, a context: nothing is loaded, measured or told of beside it."""
    key = agent.build(agent.put_blob(others[0]), "fp32", "onnxruntime", {}, 60, more=True).key
    [builder] = workers(agent)
    if op == "load":
        agent.load(key, {}, 60).close()
    else:
        agent.call(op, {"quick": True})
    assert not is_running(builder)


def test_a_builder_that_died_is_replaced(agent: AgentClient, others: list[Path]) -> None:
    """Killed while it waited, for want of memory, say: the next build gets a fresh one."""
    build(agent, others[0])
    [builder] = workers(agent)
    os.kill(builder, signal.SIGKILL)
    assert all_gone([builder], 2.0)
    assert build(agent, others[1])["process"] == "fresh"


def test_what_a_kept_process_fails_at_is_tried_in_a_fresh_one(agent: AgentClient, others: list[Path]) -> None:
    """What an earlier build left there must fail no later one, and is not hidden by it."""
    build(agent, others[0])
    [builder] = workers(agent)
    resource.prlimit(builder, resource.RLIMIT_NOFILE, (0, 0))  # it can open nothing more
    about = build(agent, others[1])
    assert about["process"] == "fresh"
    assert about["retried"]
    assert not is_running(builder)
    assert "retried" not in build(agent, others[2])


def test_a_model_that_cannot_be_built_leaves_no_builder(agent: AgentClient, others: list[Path], tmp_path: Path) -> None:
    """It fails in the kept process and in a fresh one, with the runtime's words, and neither waits afterwards."""
    build(agent, others[0])
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(EngineBuildError, match="ONNX Runtime cannot load"):
        build(agent, tmp_path / "bad.onnx")
    assert workers(agent) == []


def test_both_tries_are_within_the_time_limit(agent: AgentClient, others: list[Path]) -> None:
    """A kept process that hangs until the limit is not followed by a fresh one's whole limit again."""
    build(agent, others[0])
    [builder] = workers(agent)
    os.kill(builder, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(EngineBuildError, match=r"longer than 1\.5 s"):
        agent.build(agent.put_blob(others[1]), "fp32", "onnxruntime", {}, 1.5, more=True)
    assert time.monotonic() - began < 6
    assert workers(agent) == []


def test_it_ends_with_its_session(agent: AgentClient) -> None:
    """Nothing waits for a session that is over, killed ones included."""
    agent.probe()
    found = workers(agent)
    os.kill(agent.hello["pid"], signal.SIGKILL)
    assert all_gone(found, 2.0)
