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
from hil.agent.workers.worker_process import signal_name
from hil.errors import LabError, WorkerLost
from tests.agent.conftest import load

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker

    Feed = dict[str, npt.NDArray[np.float32]]

HOST = """
import os, signal, sys
from hil.config.spec import TargetSpec
from hil.targets.target import open_target
agent = open_target("bench", TargetSpec(store=sys.argv[1])).start_agent()
agent.hold("token", "host")
busy, idle = (agent.call("spawn")[0] for _ in range(2))
for worker in (busy, idle):
    agent.call("echo", {"worker": worker["worker"], "deadline": 60, "arrays": []})
os.kill(busy["pid"], signal.SIGSTOP)
print(agent.hello["pid"], busy["pid"], idle["pid"], flush=True)
agent.call("echo", {"worker": busy["worker"], "deadline": 600, "arrays": []})
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


def start_host(store: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Start a host process with a busy and an idle worker; return it and the pids of [supervisor, busy, idle]."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOST, str(store)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    time.sleep(0.3)
    assert len(pids) == 3
    assert all(map(is_running, pids))
    return process, pids


def test_no_orphan_when_the_host_is_killed(store: Path) -> None:
    """Two seconds after SIGKILL of the host, the supervisor and its workers have ended, the busy one too."""
    process, pids = start_host(store)
    process.kill()
    assert all_ended(pids, 2.0)
    process.communicate()


def test_no_orphan_when_the_supervisor_is_killed(store: Path) -> None:
    """Two seconds after SIGKILL of the supervisor, its workers have ended and the host has noticed."""
    process, pids = start_host(store)
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


def test_a_slow_request_is_not_silence(agent: AgentClient) -> None:
    """The agent sends heartbeats until a worker answers, so that the host's timeout can be short."""
    agent._link.channel.patience = 3.0  # noqa: SLF001 - the default is a minute
    worker = agent.call("spawn")[0]
    os.kill(worker["pid"], signal.SIGSTOP)
    threading.Timer(4.0, os.kill, (worker["pid"], signal.SIGCONT)).start()
    began = time.monotonic()
    agent.call("echo", {"worker": worker["worker"], "deadline": 60, "arrays": []})
    assert time.monotonic() - began > 3


def test_an_overdue_worker_is_killed(worker: EngineWorker, feed: Feed) -> None:
    """A worker that exceeds its deadline is killed. That run and any later one raise ``WorkerLost``."""
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(WorkerLost, match=r"run took longer than its deadline of 0\.5 s; its worker .* was killed"):
        worker.run(feed, deadline=0.5)
    assert all_ended([worker.pid], 1.0)
    assert worker.lost
    with pytest.raises(WorkerLost, match="is gone"):
        worker.run(feed)


def test_a_crash_names_its_signal_and_shows_the_last_output(
    agent: AgentClient, model: Path, worker: EngineWorker, feed: Feed
) -> None:
    """If a worker dies in a run, the message has the signal and faulthandler's output; the next load works."""
    threading.Timer(0.3, os.kill, (worker.pid, signal.SIGSEGV)).start()
    with pytest.raises(WorkerLost, match=r"was killed by SIGSEGV; its last output: .*worker\.py"):
        worker.soak(feed, 10**9)
    with load(agent, model) as fresh:
        assert len(fresh.run(feed)) == 1


@pytest.mark.parametrize(
    ("number", "name"), [(9, "SIGKILL"), (11, "SIGSEGV"), (6, "SIGABRT"), (34, "SIGRTMIN"), (35, "signal 35")]
)
def test_signals_are_named(number: int, name: str) -> None:
    """A signal has its name, or its number if it has no name."""
    assert signal_name(number) == name


def test_a_worker_can_be_identified_and_closed(worker: EngineWorker) -> None:
    """A worker is the kernel's first choice to kill, ``ps`` shows it as a worker, and closing twice is allowed."""
    assert int(Path(f"/proc/{worker.pid}/oom_score_adj").read_text()) == 900
    assert b"\0--worker\0" in Path(f"/proc/{worker.pid}/cmdline").read_bytes()
    worker.close()
    assert all_ended([worker.pid], 1.0)
    worker.close()


def test_many_workers_leak_nothing(shared_agent: AgentClient) -> None:
    """Starting and stopping workers repeatedly leaks no descriptors."""
    folder = Path(f"/proc/{shared_agent.hello['pid']}/fd")
    counts = []
    for _ in range(3):
        worker = shared_agent.call("spawn")[0]["worker"]
        shared_agent.call("unload", {"worker": worker})
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


def test_malformed_requests_are_answered(shared_agent: AgentClient) -> None:
    """Unknown operations, missing fields and wrong types are errors with one message, and the agent goes on."""
    for op, fields in (("fly", {}), ("load", {}), ("run", {"worker": []}), ("blob_append", {"digest": 1, "offset": 0})):
        with pytest.raises(LabError, match="on target 'bench'"):
            shared_agent.call(op, fields)
    assert shared_agent.probe()["cores"] >= 1


def test_a_malformed_frame_ends_the_agent(agent: AgentClient) -> None:
    """A malformed frame ends the agent, which reports the reason."""
    channel = agent._link.channel  # noqa: SLF001 - the raw pipe
    assert isinstance(channel, Channel)
    os.write(channel.write_fd, b"x" * 100)
    with pytest.raises(LabError, match="not the start of a frame"):
        agent.call("probe")


def test_standard_output_goes_to_stderr(shared_agent: AgentClient) -> None:
    """Whatever is printed to descriptor 1 goes to stderr and never between frames."""
    pid = shared_agent.hello["pid"]
    assert Path(f"/proc/{pid}/fd/1").readlink() == Path(f"/proc/{pid}/fd/2").readlink()
