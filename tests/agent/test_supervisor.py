from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.agent import supervisor
from hil.agent.protocol import wire
from hil.agent.protocol.channel import Channel
from hil.config.spec import TargetSpec
from hil.errors import LabError, WorkerLost
from hil.targets.target import open_target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker

    Feed = dict[str, npt.NDArray[np.float32]]

HOST = """
import sys, time
from pathlib import Path
import numpy as np
from hil.config.spec import TargetSpec
from hil.targets.target import open_target
agent = open_target("bench", TargetSpec(store=sys.argv[1])).start_agent()
agent.hold("token", "host")
built = agent.build(agent.put_blob(Path(sys.argv[2])), "fp32", "onnxruntime", {}, 60)
worker, idle = agent.load(built.key, {}, 60), agent.load(built.key, {}, 60)
print(agent.hello["pid"], worker.pid, idle.pid, flush=True)
worker.soak({"x": np.zeros((1, 4), np.float32)}, 10**9, deadline=600)
"""


def is_running(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def all_ended(pids: list[int], seconds: float) -> bool:
    """Return whether all processes end within ``seconds``."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(map(is_running, pids)):
            return True
        time.sleep(0.02)
    return False


def start_host(store: Path, model: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Start a host process with a busy and an idle worker; return it and the pids of [supervisor, busy, idle]."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOST, str(store), str(model)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    time.sleep(0.3)
    assert len(pids) == 3
    assert all(map(is_running, pids))
    return process, pids


def test_no_orphan_when_the_host_is_killed(store: Path, model: Path) -> None:
    """Two seconds after SIGKILL of the host, the supervisor and its workers have ended, the busy one too."""
    process, pids = start_host(store, model)
    process.kill()
    assert all_ended(pids, 2.0)
    process.communicate()


def test_no_orphan_when_the_supervisor_is_killed(store: Path, model: Path) -> None:
    """Two seconds after SIGKILL of the supervisor, its workers have ended and the host has noticed."""
    process, pids = start_host(store, model)
    os.kill(pids[0], signal.SIGKILL)
    assert all_ended(pids[1:], 2.0)
    process.communicate(timeout=10)
    assert process.returncode == 1


def test_a_killed_supervisor_is_one_message(agent: AgentClient) -> None:
    """A lost agent raises ``LabError``, at once and at every later call."""
    os.kill(agent.hello["pid"], signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(LabError, match=r"the agent was lost.*on target 'bench'"):
            agent.probe()


def test_a_silent_agent_is_lost(agent: AgentClient) -> None:
    """An agent that sends no heartbeat is killed after the grace time."""
    agent._link.channel.patience = 0.5  # noqa: SLF001 - the default is a minute
    pid = agent.hello["pid"]
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(LabError, match=r"no data was transferred for 0\.5 s"):
        agent.probe()
    assert all_ended([pid], 2.0)


def test_a_slow_request_is_not_silence(agent: AgentClient, worker: EngineWorker, feed: Feed) -> None:
    """The agent sends heartbeats while a worker is busy, so that the host's timeout can be short."""
    agent._link.channel.patience = 3.0  # noqa: SLF001 - the default is a minute
    soak = worker.soak(feed, 10**9, deadline=5)
    assert soak.t[-1] > 3


def test_an_overdue_worker_is_killed(worker: EngineWorker, feed: Feed) -> None:
    """A worker that exceeds its deadline is killed and reported, and the next load works."""
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLost, match=r"run took longer than its deadline of 0\.5 s; its worker .* was killed"):
        worker.run(feed, deadline=0.5)
    assert all_ended([worker.pid], 1.0)
    assert worker.lost
    with pytest.raises(WorkerLost, match="is gone"):
        worker.run(feed)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_the_signal_that_killed_a_worker_is_named(
    agent: AgentClient, model: Path, worker: EngineWorker, feed: Feed, number: signal.Signals
) -> None:
    """If a worker dies during a run, the message names the signal, and the next load works."""
    threading.Timer(0.3, os.kill, (worker.pid, number)).start()
    with pytest.raises(WorkerLost, match=f"was killed by {number.name}"):
        worker.soak(feed, 10**9)
    built = agent.build(agent.put_blob(model), "fp32", "onnxruntime", {}, 60)
    with agent.load(built.key, {}, 60) as fresh:
        assert len(fresh.run(feed)) == 1


def test_a_crash_shows_the_last_output(worker: EngineWorker, feed: Feed) -> None:
    """The message about a worker that died quotes the end of its stderr, here faulthandler's output."""
    os.kill(worker.pid, signal.SIGSEGV)
    with pytest.raises(WorkerLost, match=r"its last output: .*Segmentation fault"):
        worker.run(feed)


def test_the_kernel_kills_workers_first(worker: EngineWorker) -> None:
    """When memory runs out, the kernel kills a worker before the supervisor."""
    assert int(Path(f"/proc/{worker.pid}/oom_score_adj").read_text()) == 900


def test_workers_show_on_the_command_line(worker: EngineWorker) -> None:
    """A worker can be distinguished from its supervisor in the output of ``ps``."""
    assert b"\0--worker\0" in Path(f"/proc/{worker.pid}/cmdline").read_bytes()


def test_close_ends_the_worker(worker: EngineWorker) -> None:
    """Closing a worker ends its process; closing it again does nothing."""
    worker.close()
    assert all_ended([worker.pid], 1.0)
    worker.close()


def test_repeated_loads_leak_nothing(agent: AgentClient, model: Path) -> None:
    """Loading and closing repeatedly leaks neither descriptors nor processes."""
    built = agent.build(agent.put_blob(model), "fp32", "onnxruntime", {}, 60)
    folder = Path(f"/proc/{agent.hello['pid']}/fd")
    counts = []
    for _ in range(3):
        agent.load(built.key, {}, 60).close()
        counts.append(len(list(folder.iterdir())))
    assert len(set(counts)) == 1


def test_heartbeats_are_for_open_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats are sent every ``HEARTBEAT`` seconds while a request is processed, and never otherwise."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        host = Channel(ours.fileno(), ours.fileno())
        agent = supervisor.Supervisor(Channel(theirs.fileno(), theirs.fileno()), "", "")

        def answer(_request: wire.Header) -> None:
            agent.host.drain()
            agent.beat()  # too early for a heartbeat
            monkeypatch.setattr(time, "monotonic", lambda: began + 2 * supervisor.HEARTBEAT + 60)
            agent.beat()
            agent.beat()
            monkeypatch.undo()

        began = time.monotonic()
        agent.beat()
        host.send({"op": "x"})
        ours.shutdown(socket.SHUT_WR)
        agent.serve(answer)
        agent.beat()
        theirs.shutdown(socket.SHUT_WR)
        assert host.receive() == {"alive": True}
        with pytest.raises(wire.Closed):
            host.receive()


def test_malformed_requests_are_answered(agent: AgentClient) -> None:
    """Unknown operations, missing fields and wrong types are errors with one message, and the agent goes on."""
    for op, fields in (("fly", {}), ("load", {}), ("run", {"worker": []}), ("blob_append", {"digest": 1, "offset": 0})):
        with pytest.raises(LabError, match="on target 'bench'"):
            agent.call(op, fields)
    assert agent.probe()["cores"] >= 1


def test_a_malformed_frame_ends_the_agent(agent: AgentClient) -> None:
    """After a malformed frame the next one cannot be found: the agent reports the reason and ends."""
    channel = agent._link.channel  # noqa: SLF001 - the raw pipe
    assert isinstance(channel, Channel)
    os.write(channel.write_fd, b"x" * 100)
    with pytest.raises(LabError, match="not the start of a frame"):
        agent.call("probe")


def test_standard_output_goes_to_stderr(store: Path) -> None:
    """Whatever is printed to descriptor 1 goes to stderr and never between frames."""
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as agent:
        pid = agent.hello["pid"]
        assert Path(f"/proc/{pid}/fd/1").readlink() == Path(f"/proc/{pid}/fd/2").readlink()
