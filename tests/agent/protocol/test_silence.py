from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from hil.agent.protocol import arrays, wire
from hil.agent.protocol.channel import Channel
from hil.config.spec import TargetSpec
from hil.targets.bundle import agent_archive
from hil.targets.client import AgentClient
from hil.targets.link import Link
from hil.targets.process import LocalProcess, spawn
from hil.targets.start_agent import agent_arguments
from tests.agent.test_supervisor import all_ended, is_running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SILENCE = 1.5


class Host:
    """The host's end of an agent's pipes. The pipes stay open even while the host sends nothing."""

    def __init__(self, archive: Path, store: Path) -> None:
        command = [sys.executable, "-B", str(archive), "--store", str(store), "--host-silence", str(SILENCE)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.channel = Channel(self.process.stdout.fileno(), self.process.stdin.fileno(), 20.0)
        self.channel.find_start()
        self.channel.receive()
        self.number = 0
        self.worker = self.worker_pid = 0

    def ask(self, op: str, body: Any = (), **fields: Any) -> None:
        """Send a request without waiting for the answer."""
        self.number += 1
        self.channel.send(dict(fields, op=op, id=self.number), *body)

    def answer(self) -> Any:
        """Return ``ok`` of the next answer, skipping heartbeats. Ping meanwhile, as a busy machine may be slow."""
        header: dict[str, Any] = {"alive": True}
        answered = threading.Event()
        pings = threading.Thread(target=self.ping_for, args=(60.0, answered))
        pings.start()
        while header.get("alive"):
            header = self.channel.receive()
        answered.set()
        pings.join()
        assert header["id"] == self.number
        self.channel.drain()
        return header["ok"]

    def spawn(self) -> int:
        """Start a worker without an engine; return its process id once it has answered a request."""
        self.ask("spawn")
        spawned = self.answer()
        self.worker, self.worker_pid = spawned["worker"], int(spawned["pid"])
        self.echo(np.zeros(4, np.float32))
        self.answer()
        return self.worker_pid

    def echo(self, array: npt.NDArray[Any]) -> None:
        """Send a request that the worker answers with the same array."""
        listing, chunks = arrays.describe([("x", array)])
        self.ask("echo", chunks, worker=self.worker, deadline=600, arrays=listing)

    def begin_long_request(self) -> None:
        """Stop the worker's process, then send it a request, which it never answers."""
        os.kill(self.worker_pid, signal.SIGSTOP)
        self.echo(np.zeros(4, np.float32))

    def ping_for(self, seconds: float, stop: threading.Event | None = None) -> None:
        """Send only pings for ``seconds``."""
        stop = stop or threading.Event()
        until = time.monotonic() + seconds
        while time.monotonic() < until and not stop.wait(SILENCE / 4):
            self.channel.send({"op": "ping"})


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """An agent with a silence limit, and its host."""
    archive, _ = agent_archive(tmp_path)
    host = Host(archive, tmp_path / "store")
    yield host
    host.process.kill()
    host.process.communicate()


def test_pings_keep_an_idle_agent(host: Host) -> None:
    """An idle agent continues while its host pings; after ``SILENCE`` without pings it ends, and its workers too."""
    pid = host.spawn()
    host.ping_for(3 * SILENCE)
    assert is_running(pid)
    host.ask("probe")
    assert host.answer()["cores"] >= 1
    began = time.monotonic()
    assert all_ended([host.process.pid, pid], SILENCE + 2)
    assert time.monotonic() - began > SILENCE / 2


def test_pings_keep_a_busy_agent(host: Host) -> None:
    """A long request continues while the host pings, also if another request waits; without pings the agent ends."""
    pid = host.spawn()
    host.begin_long_request()
    host.ping_for(2 * SILENCE)
    assert is_running(pid)
    host.ask("probe")
    host.ping_for(2 * SILENCE)
    assert is_running(pid)
    assert all_ended([host.process.pid, pid], SILENCE + 2)


def test_an_early_request_is_answered(host: Host) -> None:
    """A request that arrives while another is processed is answered, and its body is not mixed with pings."""
    host.spawn()
    for number in range(5):
        for value in (number, number + 100):
            host.channel.send({"op": "ping"})
            host.echo(np.full(10_000, value, np.int32))
            host.channel.send({"op": "ping"})
        for value in (number, number + 100):
            header = host.channel.receive()
            assert header["id"] == host.number - (value == number)
            back = np.frombuffer(bytes(host.channel.take()), np.int32)
            assert (back[:10_000] == value).all()


def test_silence_within_a_frame_has_the_limit(host: Host) -> None:
    """If a host sends part of a request and then nothing, the agent ends after the silence limit too."""
    os.write(host.channel.write_fd, wire.encode({"op": "probe", "id": 99}, 1000)[:30])
    assert all_ended([host.process.pid], 2 * SILENCE + 2)


def test_a_host_that_reads_nothing_is_lost(host: Host) -> None:
    """If the host does not read an answer within the silence limit, the agent ends."""
    pid = host.spawn()
    host.echo(np.zeros(4 << 20, np.float32))
    assert all_ended([host.process.pid, pid], 2 * SILENCE + 2)


class RemoteProcess(LocalProcess):
    """A process that reports a network between itself and the host."""

    remote = True


def remote_agent(tmp_path: Path, silence: float) -> AgentClient:
    """Return an agent on this machine that is treated as if it were across a network."""
    archive, digest = agent_archive(tmp_path)
    spec = TargetSpec.model_validate({"kind": "ssh", "host": "x", "silence": "5 s"})
    arguments = [*agent_arguments(spec), "--host-silence", str(silence)]
    command = [sys.executable, "-B", str(archive), "--store", str(tmp_path / "store"), *arguments]
    return AgentClient(Link(RemoteProcess(spawn(command, "far"), 20.0), "far", silence), digest)


def test_the_host_pings(tmp_path: Path) -> None:
    """A client that makes no requests keeps a remote agent alive for longer than the silence limit."""
    with remote_agent(tmp_path, SILENCE) as agent:
        pid = agent.hello["pid"]
        time.sleep(3 * SILENCE)
        assert agent.probe()["cores"] >= 1
        assert is_running(pid)


STOPPED = """
import sys, time
from pathlib import Path
from tests.agent.protocol.test_silence import remote_agent
agent = remote_agent(Path(sys.argv[1]), 1.5)
print(agent.hello["pid"], flush=True)
time.sleep(60)
"""


def test_a_stopped_host_loses_the_board(tmp_path: Path) -> None:
    """If the host's process is stopped, not killed, its pipes stay open, and the agent ends after the silence limit."""
    process = subprocess.Popen([sys.executable, "-c", STOPPED, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        time.sleep(2 * SILENCE)
        assert is_running(pid)
        os.kill(process.pid, signal.SIGSTOP)
        assert all_ended([pid], SILENCE + 2)
    finally:
        process.kill()
        process.communicate()


def test_a_local_agent_has_no_limit() -> None:
    """A local agent is started without a silence limit, an agent over SSH with the config's."""
    assert "--host-silence" not in agent_arguments(TargetSpec())
    spec = TargetSpec.model_validate({"kind": "ssh", "host": "x", "silence": "7 s"})
    assert agent_arguments(spec)[-2:] == ["--host-silence", "7.0"]
