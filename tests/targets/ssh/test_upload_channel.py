from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.agent.store.upload import outline_of
from hil.errors import ExitCode, LabError
from hil.targets import file_transfer
from hil.targets.target import open_target
from tests.targets.sshd import ends_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.targets.client import AgentClient
    from tests.targets.conftest import Machine, MakeServer

SIZE = (40 << 20) + 12_345


@pytest.fixture(autouse=True)
def _every_way_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes are taken however short the round trip is."""
    monkeypatch.setattr(file_transfer, "FAR", 0.0)


@pytest.fixture
def agent(machine: Machine) -> Iterator[AgentClient]:
    """An agent over SSH."""
    with open_target("board", machine.spec()).start_agent() as client:
        yield client


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file large enough for lanes."""
    path = tmp_path / "model.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def sha(path: Path) -> str:
    """The digest a blob is named by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def writers(machine: Machine) -> list[int]:
    """Process ids of what writes into lanes of the machine's store."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # one that has just ended
            written = (process / "fd" / "1").readlink()
            if written.name.startswith("lane.") and machine.store in written.parents:
                found.append(int(process.name))
    return found


def leftovers(machine: Machine) -> list[str]:
    """Named pipes that are still in the store."""
    return [str(path) for path in machine.store.rglob("*") if path.is_fifo()]


def seen_writers(machine: Machine) -> tuple[threading.Thread, list[int]]:
    """Notes the writers as soon as there are as many as there should be."""
    found: list[int] = []

    def look() -> None:
        until = time.monotonic() + 20
        while len(found) < file_transfer.LANES and time.monotonic() < until:
            found[:] = writers(machine)

    thread = threading.Thread(target=look)
    thread.start()
    return thread, found


def test_a_file_comes_whole_over_lanes(machine: Machine, agent: AgentClient, source: Path) -> None:
    """Bytes that took several ways are in order, and neither processes nor pipes are left."""
    thread, found = seen_writers(machine)
    assert agent.put_blob(source) == sha(source)
    thread.join()
    assert len(found) == file_transfer.LANES
    assert (machine.store / "blobs" / sha(source)).read_bytes() == source.read_bytes()
    assert ends_within(3, lambda: not writers(machine))
    assert not leftovers(machine)
    assert agent.probe()["cores"] >= 1


def test_a_short_way_needs_none(
    machine: Machine, agent: AgentClient, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the round trip is short one channel carries as much as all: no process is started for it."""
    monkeypatch.setattr(file_transfer, "FAR", 10.0)
    with file_transfer.lanes(agent, SIZE) as further:
        assert further == []
    assert not leftovers(machine)
    assert agent.put_blob(source) == sha(source)


def test_a_server_that_allows_no_more_channels(machine: Machine, serve: MakeServer, source: Path, home: Path) -> None:
    """The upload goes over the agent's own channel then."""
    open_target("board", machine.spec()).start_agent().close()  # the agent's archive is there from now on
    server = serve("MaxSessions 1")
    (home / ".ssh" / "known_hosts").write_text(server.known_line())
    with open_target("board", machine.spec(port=server.port)).start_agent() as agent:
        assert agent.put_blob(source) == sha(source)
        assert not leftovers(machine)


def test_a_lane_that_is_killed(machine: Machine, agent: AgentClient, source: Path) -> None:
    """The upload fails in one message, nothing is left, and the next try goes on where it stopped.

    Bytes that paramiko sends on a channel just after its end make OpenSSH end the whole connection, agent and all.
    """
    size = 3 * SIZE  # more than is ever on its way at once
    source.write_bytes(os.urandom(size))
    digest = sha(source)
    with contextlib.suppress(LabError), source.open("rb") as file, file_transfer.lanes(agent, size) as further:
        upload = file_transfer._Upload(agent, file, outline_of(str(source)), size)  # noqa: SLF001 - as put does
        upload.begin(file_transfer._begin(agent, upload.name, digest, size))  # noqa: SLF001 - as put does
        replies = agent.ask_many(upload.pieces(further))
        for _ in range(4):
            next(replies)
        os.kill(writers(machine)[0], signal.SIGKILL)
        with pytest.raises(LabError, match=r"(a channel of the upload|the agent) was lost.*on target 'board'") as told:
            list(replies)
    assert told.value.exit_code == ExitCode.LAB_ERROR
    assert ends_within(3, lambda: not writers(machine))
    assert ends_within(3, lambda: not leftovers(machine))
    with contextlib.ExitStack() as stack:
        try:
            agent.probe()
        except LabError:
            agent = stack.enter_context(open_target("board", machine.spec()).start_agent())
        assert file_transfer._begin(agent, upload.name, digest, size)["offset"] >= 3 << 20  # noqa: SLF001 - as put does
        assert agent.put_blob(source) == digest


def test_an_agent_that_is_killed(machine: Machine, agent: AgentClient, source: Path) -> None:
    """Its lanes end with it, and another agent takes the rest."""
    thread, _ = seen_writers(machine)

    def kill() -> None:
        thread.join()
        os.kill(agent.hello["pid"], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(LabError, match="on target 'board'"):
        agent.put_blob(source)
    killer.join()
    assert ends_within(5, lambda: not writers(machine))
    with open_target("board", machine.spec()).start_agent() as other:
        assert other.put_blob(source) == sha(source)


def test_a_disk_that_is_full(machine: Machine, source: Path, tmp_path: Path) -> None:
    """One message, though pieces are on their way on every lane; the agent goes on, and a smaller file fits."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=16m", "none", str(disk)], check=True)
    try:
        with open_target("board", machine.spec(store=str(disk / "store"))).start_agent() as agent:
            machine.store = disk / "store"
            with pytest.raises(LabError, match=r"is full.*on target 'board': free space there"):
                agent.put_blob(source)
            assert not list((disk / "store" / "partial").iterdir())
            assert ends_within(3, lambda: not writers(machine))
            source.write_bytes(os.urandom(1 << 20))
            assert agent.put_blob(source) == sha(source)
    finally:
        subprocess.run(["/bin/umount", "-l", str(disk)], check=True)


def test_nobody_comes(agent: AgentClient) -> None:
    """A lane whose writer never comes is told, and the paths are taken away."""
    paths = agent.call("lanes_open", {"count": 2})[0]["paths"]
    assert all(Path(path).is_fifo() for path in paths)
    with open(paths[0], "wb", buffering=0) as pipe:  # noqa: PTH123 - a pipe
        pipe.write(b"not a process id....")
        with pytest.raises(LabError, match="did not come: it began with"):
            agent.call("lanes_join")
    assert not any(Path(path).exists() for path in paths)
    with pytest.raises(LabError, match="no lane has number 0"):
        agent.call("blob_append", {"name": "0" * 64, "offset": 0, "lane": 0, "length": 1})
