from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.config.spec import TargetSpec
from hil.errors import LabError, TargetHeld
from hil.targets.target import open_target

if TYPE_CHECKING:
    from hil.targets.client import AgentClient

HOLDER = """
import sys, time
from hil.config.spec import TargetSpec
from hil.targets.target import open_target
agent = open_target("bench", TargetSpec(store=sys.argv[1])).start_agent()
agent.hold("theirs", "alice")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


def start_agent(store: Path) -> AgentClient:
    """Return an agent that does not hold the target yet."""
    return open_target("bench", TargetSpec(store=str(store))).start_agent()


def holder(store: Path, seconds: float) -> subprocess.Popen[bytes]:
    """Start another session in another process, and return once it holds the target."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(store), str(seconds)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


@pytest.mark.usefixtures("agent")
def test_a_second_session_is_refused(store: Path) -> None:
    """Another token is refused with the holder's name, host, process and time."""
    with start_agent(store) as other, pytest.raises(TargetHeld) as caught:
        other.hold("another", "bob")
    assert "the target is held by tester from host " in str(caught.value)
    assert f"(process {os.getpid()}) since 20" in str(caught.value)
    assert "on target 'bench'" in str(caught.value)


def test_agents_of_one_session_share(store: Path, agent: AgentClient) -> None:
    """Agents of the same token share the lock, as pytest-xdist's workers do; the last one releases it."""
    with start_agent(store) as second_agent, start_agent(store) as other:
        second_agent.hold("token", "tester")
        agent.close()
        with pytest.raises(TargetHeld):
            other.hold("another", "bob")
        second_agent.close()
        other.hold("another", "bob")


def test_a_killed_holder_releases_the_target(store: Path) -> None:
    """When the session that holds the target is killed, the kernel releases the lock."""
    process = holder(store, 60)
    with start_agent(store) as agent:
        with pytest.raises(TargetHeld, match="held by alice"):
            agent.hold("mine", "bob")
        process.send_signal(signal.SIGKILL)
        process.communicate()
        agent.hold("mine", "bob", wait=2.0)


def agent_of(process: subprocess.Popen[bytes]) -> int:
    """Return the process id of the agent that another session started."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


@pytest.mark.parametrize("stopped", ["session", "agent", "both"])
def test_a_stopped_holder_keeps_the_target_until_it_is_killed(store: Path, stopped: str) -> None:
    """A stopped session keeps the target, since it may continue; once it is killed, the target is free at once."""
    process = holder(store, 60)
    their_agent = agent_of(process)
    for pid in {"session": [process.pid], "agent": [their_agent], "both": [process.pid, their_agent]}[stopped]:
        os.kill(pid, signal.SIGSTOP)
    with start_agent(store) as agent:
        with pytest.raises(TargetHeld, match="held by alice"):
            agent.hold("mine", "bob", wait=0.3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if stopped != "session":  # a stopped agent cannot notice its host's end, so it is killed too
            os.kill(their_agent, signal.SIGKILL)
        began = time.monotonic()
        agent.hold("mine", "bob", wait=5.0)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("time_held", [0.0, 4e9, -1.0, "yesterday", None])
def test_a_wrong_time_does_not_hold_the_target(store: Path, time_held: object) -> None:
    """Only the kernel's lock decides who holds the target; a wrong time in the owner file never keeps it held."""
    with start_agent(store) as first:
        first.hold("theirs", "alice")
    owner = store / "owner.json"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "at": time_held, "since": "2099-01-01 00:00:00 UTC"}))
    with start_agent(store) as agent:
        agent.hold("mine", "bob")
        with start_agent(store) as other, pytest.raises(TargetHeld, match="held by bob"):
            other.hold("theirs", "alice", wait=0.2)


@pytest.mark.parametrize("time_held", [4e9, -1.0, "yesterday", None])
def test_an_agent_joins_despite_a_wrong_time(store: Path, agent: AgentClient, time_held: object) -> None:
    """A second agent of a session joins even if the board's clock has jumped since the first."""
    owner = store / "owner.json"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "at": time_held}))
    with start_agent(store) as second_agent:
        second_agent.hold("token", "tester")
    assert agent.hello["pid"]


def test_waiting_ends_with_the_holder(store: Path) -> None:
    """``wait`` ends as soon as the holder has finished."""
    process = holder(store, 1.0)
    with start_agent(store) as agent:
        began = time.monotonic()
        agent.hold("mine", "bob", wait=20.0)
        assert time.monotonic() - began < 5
    process.communicate()


@pytest.mark.usefixtures("agent")
def test_waiting_has_a_limit(store: Path) -> None:
    """``wait`` fails after that many seconds."""
    with start_agent(store) as other:
        began = time.monotonic()
        with pytest.raises(TargetHeld):
            other.hold("another", "bob", wait=0.5)
        assert 0.5 <= time.monotonic() - began < 5


def test_engines_need_the_target_held(store: Path, model: Path) -> None:
    """An agent that does not hold the target cannot build or load engines on it."""
    with start_agent(store) as agent:
        digest = agent.put_blob(model)
        with pytest.raises(LabError, match="hold it first"):
            agent.build(digest, "fp32", "onnxruntime", {}, 60)


def test_engines_of_one_session_take_turns(store: Path, agent: AgentClient, model: Path) -> None:
    """While one agent's engine runs, another agent's waits, so that measurements never overlap."""
    feed = {"x": np.zeros((1, 4), np.float32)}
    built = agent.build(agent.put_blob(model), "fp32", "onnxruntime", {}, 60)
    spans = []
    with start_agent(store) as second_agent:
        second_agent.hold("token", "tester")
        workers = [agent.load(built.key, {}, 60), second_agent.load(built.key, {}, 60)]

        def measure(index: int) -> None:
            timed = workers[index].time([feed], warmup=0.1, seconds=0.5, min_samples=1, max_samples=10**7)
            spans.append((timed.start[0], timed.start[-1]))

        threads = [threading.Thread(target=measure, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (_, first_end), (second_start, _) = sorted(spans)
    assert first_end < second_start
