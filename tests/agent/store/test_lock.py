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

from hil.agent.store.lock import SessionLock
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
    """A session with a different token is refused, and the message has the holder's name, host, process and time."""
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


@pytest.mark.parametrize("stopped", ["session", "both"])
def test_a_stopped_holder_keeps_the_target_until_it_is_killed(store: Path, stopped: str) -> None:
    """A stopped session keeps the target, since it may continue; once it is killed, the target is free at once."""
    process = holder(store, 60)
    their_agent = agent_of(process)
    for pid in {"session": [process.pid], "both": [process.pid, their_agent]}[stopped]:
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


CLAIM = {"token": "theirs", "who": "alice", "host": "runner", "pid": "7"}


@pytest.mark.parametrize("time_held", [0.0, 4e9, -1.0, "yesterday", None])
def test_a_wrong_time_decides_nothing(tmp_path: Path, time_held: object) -> None:
    """Only the kernel's lock decides who holds the target, whatever the time in the owner file."""
    owner = tmp_path / "owner.json"
    locks = [SessionLock(str(tmp_path)) for _ in range(3)]
    assert locks[0].attempt(CLAIM)
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "at": time_held, "since": "2099-01-01 00:00:00 UTC"}))
    assert locks[1].attempt(CLAIM)
    assert not locks[2].attempt({**CLAIM, "token": "mine"})
    for lock in locks[:2]:
        lock.release()
    assert locks[2].attempt({**CLAIM, "token": "mine"})
    locks[2].release()


def test_waiting_ends_with_the_holder(store: Path, agent: AgentClient) -> None:
    """``wait`` ends as soon as the holder has finished."""
    threading.Timer(0.5, agent.close).start()
    with start_agent(store) as other:
        began = time.monotonic()
        other.hold("mine", "bob", wait=20.0)
        assert time.monotonic() - began < 5


@pytest.mark.usefixtures("agent")
def test_waiting_has_a_limit(store: Path) -> None:
    """Waiting for a held target fails after ``wait`` seconds."""
    with start_agent(store) as other:
        began = time.monotonic()
        with pytest.raises(TargetHeld):
            other.hold("another", "bob", wait=0.5)
        assert 0.5 <= time.monotonic() - began < 5


def test_engines_need_the_target_held(store: Path, model: Path) -> None:
    """An agent that does not hold the target cannot build, load or adopt engines on it."""
    with start_agent(store) as agent:
        digest = agent.put_blob(model)
        for request in (
            lambda: agent.build(digest, "fp32", "onnxruntime", {}, 60),
            lambda: agent.adopt(digest, "fp32", "onnxruntime", {}),
            lambda: agent.load("0" * 64, {}, 60),
        ):
            with pytest.raises(LabError, match="hold it first"):
                request()


def test_engines_of_one_session_take_turns(store: Path, agent: AgentClient, model: Path) -> None:
    """While one agent's engine runs, another agent's waits, so that measurements never overlap."""
    feed = {"x": np.zeros((1, 4), np.float32)}
    key = agent.adopt(agent.put_blob(model), "fp32", "onnxruntime", {}).key
    spans = []
    with start_agent(store) as second_agent:
        second_agent.hold("token", "tester")
        workers = [holder.load(key, {}, 60, fresh=False) for holder in (agent, second_agent)]

        def measure(index: int) -> None:
            timed = workers[index].time([feed], warmup=0.1, seconds=0.3, min_samples=1, max_samples=10**7)
            spans.append((timed.start[0], timed.start[-1]))

        threads = [threading.Thread(target=measure, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (_, first_end), (second_start, _) = sorted(spans)
    assert first_end < second_start
