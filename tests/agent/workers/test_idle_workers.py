from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.errors import EngineBuildError
from tests.agent import models
from tests.agent.test_supervisor import all_ended, is_running

if TYPE_CHECKING:
    from hil.targets.client import AgentClient


def workers(agent: AgentClient) -> list[int]:
    """Return the process ids of the agent's children."""
    pid = agent.hello["pid"]
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def key(agent: AgentClient, model: Path) -> str:
    """The key of an adopted engine; adopting it leaves one idle worker in the agent."""
    return agent.adopt(agent.put_blob(model), "fp32", "onnxruntime", {}).key


def test_the_probing_worker_serves_one_load(key: str, agent: AgentClient) -> None:
    """The worker that imported the runtimes for a probe serves the next load, and only that one."""
    [idle] = workers(agent)
    with agent.load(key, {}, 60, fresh=False) as first, agent.load(key, {}, 60, fresh=False) as second:
        assert first.pid == idle
        assert second.pid != idle
    agent.probe()
    assert workers(agent) == []


def test_a_fresh_load_gets_a_fresh_process(key: str, agent: AgentClient) -> None:
    """A fresh load gets a new process, and the idle worker is stopped first."""
    [idle] = workers(agent)
    with agent.load(key, {}, 60) as worker:
        assert worker.pid != idle
        assert worker.load["import_seconds"] > 0
        assert workers(agent) == [worker.pid]
        assert not is_running(idle)


def test_a_load_is_fresh_by_default(key: str, agent: AgentClient) -> None:
    """A load request without ``fresh`` gets a fresh process."""
    [idle] = workers(agent)
    assert agent.call("load", {"key": key, "options": {}, "deadline": 60})[0]["pid"] != idle


def test_announced_loads_get_processes_that_started_together(key: str, agent: AgentClient) -> None:
    """Each announced load gets a process that loaded no other engine; after the last one no process is left."""
    pids: list[int] = []
    waiting: set[int] = set()
    for more in (2, 1, 0):
        with agent.load(key, {}, 60, more=more) as worker:
            assert set(workers(agent)) >= waiting | {worker.pid}
            waiting = set(workers(agent)) - {worker.pid}
            assert len(waiting) == more
            assert worker.load["import_seconds"] > 0
            shapes = {one.name: [size if isinstance(size, int) else 1 for size in one.shape] for one in worker.inputs}
            feeds = {one.name: np.zeros(shapes[one.name], one.dtype) for one in worker.inputs}
            assert worker.first(feeds) > 0  # raised if an inference has run before
            pids.append(worker.pid)
    assert len(set(pids)) == 3
    assert workers(agent) == []


def test_what_was_announced_and_is_not_needed_is_stopped(key: str, agent: AgentClient) -> None:
    """A killed waiting process is replaced; a load that announces no more takes one and stops the others that wait."""
    with agent.load(key, {}, 60, more=2) as worker:
        first, second = set(workers(agent)) - {worker.pid}
    os.kill(first, signal.SIGKILL)
    assert all_ended([first], 2.0)
    time.sleep(0.3)  # its main thread has ended, the others may take a moment longer
    with agent.load(key, {}, 60, more=2) as worker:
        assert worker.pid == second
        waiting = set(workers(agent)) - {second}
        assert len(waiting) == 2
    with agent.load(key, {}, 60) as worker:
        assert workers(agent) == [worker.pid]
        assert worker.pid in waiting


def test_a_build_stops_the_idle_worker(agent: AgentClient, tmp_path: Path) -> None:
    """A build stops the idle worker first, so that it has all the memory, whether it succeeds or fails."""
    agent.probe()
    [idle] = workers(agent)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(EngineBuildError):
        agent.build(agent.put_blob(tmp_path / "bad.onnx"), "fp32", "onnxruntime", {}, 60)
    assert not is_running(idle)
    assert workers(agent) == []


def test_a_killed_idle_worker_is_replaced(key: str, agent: AgentClient) -> None:
    """An idle worker that was killed is replaced by a new one, without an error."""
    [idle] = workers(agent)
    os.kill(idle, signal.SIGKILL)
    assert all_ended([idle], 2.0)
    time.sleep(0.3)  # its main thread has ended, the others may take a moment longer
    with agent.load(key, {}, 60, fresh=False) as worker:
        assert worker.pid != idle


def build(agent: AgentClient, model: Path, *, more: bool = True) -> dict[str, Any]:
    """Build the model and return the ``about`` of its record."""
    return dict(agent.build(agent.put_blob(model), "fp32", "onnxruntime", {}, 60, more=more).about)


@pytest.fixture
def model_files(tmp_path: Path) -> list[Path]:
    """Four models with the same graph and different digests, so that none shares an engine with another."""
    return [models.tiny(tmp_path / f"{number}.onnx", note=f"{tmp_path} {number}") for number in range(4)]


@pytest.fixture
def build_agent(shared_agent: AgentClient) -> AgentClient:
    """An agent that keeps no builder."""
    shared_agent.call("state", {"quick": True})
    return shared_agent


def test_builds_one_after_the_other_share_a_process(build_agent: AgentClient, model_files: list[Path]) -> None:
    """A build with ``more`` keeps its process for the next build; a build without ``more`` leaves no process."""
    assert build(build_agent, model_files[0])["process"] == "fresh"
    [builder] = workers(build_agent)
    assert build(build_agent, model_files[1])["process"] == "kept"
    assert workers(build_agent) == [builder]
    assert build(build_agent, model_files[2], more=False)["process"] == "kept"
    assert workers(build_agent) == []
    assert build(build_agent, model_files[3], more=False)["process"] == "fresh"
    assert workers(build_agent) == []


@pytest.mark.parametrize("op", ["load", "probe", "spawn", "state"])
def test_other_requests_stop_the_builder(op: str, build_agent: AgentClient, model_files: list[Path]) -> None:
    """A builder is stopped before anything is loaded or measured."""
    key = build_agent.build(build_agent.put_blob(model_files[0]), "fp32", "onnxruntime", {}, 60, more=True).key
    [builder] = workers(build_agent)
    if op == "load":
        build_agent.load(key, {}, 60, fresh=False).close()
    else:
        reply = build_agent.call(op, {"quick": True})[0]
        if op == "spawn":
            build_agent.call("unload", {"worker": reply["worker"]})
    assert not is_running(builder)


def test_a_killed_builder_is_replaced(build_agent: AgentClient, model_files: list[Path]) -> None:
    """If the idle builder was killed, for example because memory ran out, the next build gets a fresh process."""
    build(build_agent, model_files[0])
    [builder] = workers(build_agent)
    os.kill(builder, signal.SIGKILL)
    assert all_ended([builder], 2.0)
    assert build(build_agent, model_files[1])["process"] == "fresh"


def test_a_failure_in_an_idle_builder_is_retried_in_a_fresh_one(
    build_agent: AgentClient, model_files: list[Path]
) -> None:
    """A failure caused by an earlier build in the same process does not fail this build, and it is recorded."""
    build(build_agent, model_files[0])
    [builder] = workers(build_agent)
    resource.prlimit(builder, resource.RLIMIT_NOFILE, (0, 0))  # it can open nothing more
    about = build(build_agent, model_files[1])
    assert about["process"] == "fresh"
    assert about["retried"]
    assert not is_running(builder)
    assert "retried" not in build(build_agent, model_files[2])


def test_a_model_that_cannot_be_built_leaves_no_builder(
    build_agent: AgentClient, model_files: list[Path], tmp_path: Path
) -> None:
    """If both attempts fail, the error is the runtime's own, and no builder is kept."""
    build(build_agent, model_files[0])
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(EngineBuildError, match="ONNX Runtime cannot load"):
        build(build_agent, tmp_path / "bad.onnx")
    assert workers(build_agent) == []


def test_both_attempts_share_the_time_limit(build_agent: AgentClient, model_files: list[Path]) -> None:
    """If the idle builder hangs until the time limit, there is no second attempt."""
    build(build_agent, model_files[0])
    [builder] = workers(build_agent)
    os.kill(builder, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(EngineBuildError, match=r"longer than 1\.5 s"):
        build_agent.build(build_agent.put_blob(model_files[1]), "fp32", "onnxruntime", {}, 1.5, more=True)
    assert time.monotonic() - began < 6
    assert workers(build_agent) == []


def test_idle_workers_end_with_the_session(agent: AgentClient) -> None:
    """No idle worker survives its session, even if the agent is killed."""
    agent.probe()
    idle = workers(agent)
    os.kill(agent.hello["pid"], signal.SIGKILL)
    assert all_ended(idle, 2.0)


def test_a_kept_worker_loads_the_next_engine(key: str, agent: AgentClient, feed: dict[str, Any]) -> None:
    """A worker that is unloaded with ``keep`` runs the next engine that needs no fresh process, as if it were new."""
    first = agent.load(key, {}, 60, fresh=False)
    first.first(feed)
    first.close(keep=True)
    with agent.load(key, {}, 60, fresh=False) as second:
        assert second.pid == first.pid
        assert second.first(feed) > 0
    with agent.load(key, {}, 60, fresh=False) as third:
        assert third.pid != first.pid
