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

import paramiko
import pytest

from hil.agent.store.upload import outline_of
from hil.errors import ExitCode, LabError
from hil.targets import file_transfer
from hil.targets.target import open_target
from tests.targets.sshd import becomes_true

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.targets.client import AgentClient
    from tests.targets.conftest import Machine, MakeServer

THRESHOLD = 8 << 20
SIZE = (16 << 20) + 12_345


@pytest.fixture(autouse=True)
def _upload_channels_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use upload channels however short the round trip is, and from a size that is cheap to encrypt."""
    monkeypatch.setattr(file_transfer, "FAR", 0.0)
    monkeypatch.setattr(file_transfer, "OUTLINE_FROM", THRESHOLD)
    monkeypatch.setattr(file_transfer, "CHANNELS_FROM", THRESHOLD)


@pytest.fixture
def agent(machine: Machine) -> Iterator[AgentClient]:
    """Return an agent reached over SSH."""
    with open_target("board", machine.spec()).start_agent() as client:
        yield client


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a file large enough for upload channels."""
    path = tmp_path / "model.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def sha(path: Path) -> str:
    """Return the digest that the file's blob is named by."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def writers(machine: Machine) -> list[int]:
    """Return the ids of the processes that write into named pipes of the machine's store."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has just ended
            pipe = (process / "fd" / "1").readlink()
            if pipe.name.startswith("pipe.") and machine.store in pipe.parents:
                pids.append(int(process.name))
    return pids


def leftovers(machine: Machine) -> list[str]:
    """Return the named pipes that are still in the store."""
    return [str(path) for path in machine.store.rglob("*") if path.is_fifo()]


def watch_writers(machine: Machine) -> tuple[threading.Thread, list[int]]:
    """Start a thread that fills the returned list with the writers' ids and ends once all have started."""
    pids: list[int] = []

    def watch() -> None:
        until = time.monotonic() + 20
        while len(pids) < file_transfer.CHANNELS and time.monotonic() < until:
            pids[:] = writers(machine)
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread, pids


def test_a_file_over_several_channels(machine: Machine, agent: AgentClient, source: Path) -> None:
    """Bytes sent over several channels arrive in order, and neither processes nor pipes are left."""
    thread, pids = watch_writers(machine)
    assert agent.put_blob(source) == sha(source)
    thread.join()
    assert len(pids) == file_transfer.CHANNELS
    assert (machine.store / "blobs" / sha(source)).read_bytes() == source.read_bytes()
    assert becomes_true(3, lambda: not writers(machine))
    assert not leftovers(machine)
    assert agent.probe()["cores"] >= 1


def test_no_channels_on_a_short_round_trip(
    machine: Machine, agent: AgentClient, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a short round trip no upload channels are opened."""
    monkeypatch.setattr(file_transfer, "FAR", 10.0)
    with file_transfer.upload_channels(agent, SIZE) as further:
        assert further == []
    assert not leftovers(machine)
    assert agent.put_blob(source) == sha(source)


def test_a_server_that_allows_no_more_channels(machine: Machine, serve: MakeServer, source: Path, home: Path) -> None:
    """If the server allows no more channels, the upload uses the agent's own."""
    open_target("board", machine.spec()).start_agent().close()  # installs the agent
    server = serve("MaxSessions 1")
    (home / ".ssh" / "known_hosts").write_text(server.known_line())
    with open_target("board", machine.spec(port=server.port)).start_agent() as agent:
        assert agent.put_blob(source) == sha(source)
        assert not leftovers(machine)


def test_an_upload_channel_that_is_killed(machine: Machine, agent: AgentClient, source: Path) -> None:
    """The upload fails with one message, leaves nothing behind, and the next one resumes where it stopped."""
    size = 3 * SIZE  # more than is in flight at once
    source.write_bytes(os.urandom(size))
    digest = sha(source)
    with (
        contextlib.suppress(LabError),
        source.open("rb") as file,
        file_transfer.upload_channels(agent, size) as further,
    ):
        upload = file_transfer._Upload(agent, file, outline_of(str(source)), size)  # noqa: SLF001 - as put does
        upload.begin(file_transfer._begin(agent, upload.name, digest, size))  # noqa: SLF001 - as put does
        replies = agent.ask_many(upload.pieces(further))
        for _ in range(4):
            next(replies)
        os.kill(writers(machine)[0], signal.SIGKILL)
        with pytest.raises(
            LabError, match=r"(a channel of the upload|the agent) was lost.*on target 'board'"
        ) as caught:
            list(replies)
    assert caught.value.exit_code == ExitCode.LAB_ERROR
    assert becomes_true(3, lambda: not writers(machine))
    assert becomes_true(3, lambda: not leftovers(machine))
    with contextlib.ExitStack() as stack:
        try:
            agent.probe()
        except LabError:
            agent = stack.enter_context(open_target("board", machine.spec()).start_agent())
        assert file_transfer._begin(agent, upload.name, digest, size)["offset"] >= 3 << 20  # noqa: SLF001 - as put does
        assert agent.put_blob(source) == digest


def test_an_agent_that_is_killed(machine: Machine, agent: AgentClient, source: Path) -> None:
    """When the agent is killed its upload channels end too, and another agent resumes the upload."""
    source.write_bytes(os.urandom(2 * SIZE))  # still in progress once the writers are observed
    thread, _ = watch_writers(machine)

    def kill() -> None:
        thread.join()
        os.kill(agent.hello["pid"], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(LabError, match="on target 'board'"):
        agent.put_blob(source)
    killer.join()
    assert becomes_true(5, lambda: not writers(machine))
    with open_target("board", machine.spec()).start_agent() as other:
        assert other.put_blob(source) == sha(source)


def test_a_disk_that_is_full(machine: Machine, source: Path, tmp_path: Path) -> None:
    """A full disk gives one message although pieces are in flight on every channel; then a smaller file still fits."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=10m", "none", str(disk)], check=True)
    try:
        with open_target("board", machine.spec(store=str(disk / "store"))).start_agent() as agent:
            machine.store = disk / "store"
            with pytest.raises(LabError, match=r"is full.*on target 'board': free space there"):
                agent.put_blob(source)
            assert not list((disk / "store" / "partial").iterdir())
            assert becomes_true(3, lambda: not writers(machine))
            source.write_bytes(os.urandom(1 << 20))
            assert agent.put_blob(source) == sha(source)
    finally:
        subprocess.run(["/bin/umount", "-l", str(disk)], check=True)


def test_a_channel_closed_while_it_sends(agent: AgentClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bytes follow the end of a channel that is closed in the middle of a piece, so the agent stays connected."""
    send_message = paramiko.Transport._send_user_message  # noqa: SLF001 - the last moment before a message is sent

    def send_late(transport: paramiko.Transport, message: paramiko.Message) -> None:
        if threading.current_thread().name == "hil-upload":
            time.sleep(0.05)
        send_message(transport, message)

    monkeypatch.setattr(paramiko.Transport, "_send_user_message", send_late)
    with file_transfer.upload_channels(agent, SIZE) as channels:
        for channel in channels:
            channel.put(bytes(file_transfer.PIECE))
        time.sleep(0.12)
    assert len(channels) == file_transfer.CHANNELS
    for _ in range(5):
        time.sleep(0.05)
        assert agent.probe()["cores"] >= 1


def test_a_channel_without_a_writer(agent: AgentClient) -> None:
    """A named pipe whose writer does not start is reported, and the pipes are deleted."""
    paths = agent.call("pipes_open", {"count": 2})[0]["paths"]
    assert all(Path(path).is_fifo() for path in paths)
    with open(paths[0], "wb", buffering=0) as pipe:  # noqa: PTH123 - a pipe
        pipe.write(b"not a process id....")
        with pytest.raises(LabError, match="did not open: it began with"):
            agent.call("pipes_join")
    assert not any(Path(path).exists() for path in paths)
    with pytest.raises(LabError, match="no pipe has number 0"):
        agent.call("blob_append", {"name": "0" * 64, "offset": 0, "pipe": 0, "length": 1})
