from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hil.agent.failure import Failure
from hil.agent.store.blobs import Store
from hil.agent.store.upload import outline_of
from hil.config.spec import TargetSpec
from hil.errors import LabError
from hil.targets.target import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.targets.client import AgentClient


def sha(data: bytes) -> str:
    """Return the SHA-256 of ``data``, which is the blob's name."""
    return hashlib.sha256(data).hexdigest()


def put(store: Store, data: bytes) -> str:
    """Upload ``data`` and return its digest."""
    digest = sha(data)
    assert store.begin(digest, len(data)) == 0
    store.append(digest, 0, data)
    store.commit(digest)
    return digest


def begin(agent: AgentClient, data: bytes, name: str = "") -> dict[str, Any]:
    """Return the agent's answer to the start of an upload of ``data``."""
    request = {"name": name or sha(data), "digest": sha(data), "size": len(data)}
    state: dict[str, Any] = agent.call("blob_begin", request)[0]
    return state


def folder_of(agent: AgentClient) -> Path:
    """Return the folder of the agent's store."""
    return Path(agent.hello["store"])


def files(root: Path) -> list[str]:
    """Return all files below ``root``, relative to it."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_blob_is_read_back(shared_agent: AgentClient, tmp_path: Path) -> None:
    """An uploaded file is read back byte for byte, over several pieces; an empty file too."""
    for size in (0, 1, (9 << 20) + 7):
        source, back = tmp_path / "source", tmp_path / "back"
        source.write_bytes(os.urandom(size))
        shared_agent.get_blob(shared_agent.put_blob(source), back)
        assert back.read_bytes() == source.read_bytes()


def test_an_upload_resumes(shared_agent: AgentClient, tmp_path: Path) -> None:
    """An upload continues where another agent's was interrupted."""
    data = os.urandom(3 << 20)
    (folder_of(shared_agent) / "partial" / sha(data)).write_bytes(data[: 1 << 20])
    state = begin(shared_agent, data)
    assert (state["have"], state["offset"], state["prefix"]) == (False, 1 << 20, sha(data[: 1 << 20]))
    (tmp_path / "x").write_bytes(data)
    assert shared_agent.put_blob(tmp_path / "x") == sha(data)
    assert (folder_of(shared_agent) / "blobs" / sha(data)).read_bytes() == data
    assert begin(shared_agent, data)["have"]


def test_an_upload_resumes_only_from_its_own_bytes(shared_agent: AgentClient, tmp_path: Path) -> None:
    """A partial file with other bytes is detected by its digest, and the upload starts again from the beginning."""
    data = os.urandom(1 << 20)
    (folder_of(shared_agent) / "partial" / sha(data)).write_bytes(b"not the beginning")
    (tmp_path / "x").write_bytes(data)
    assert shared_agent.put_blob(tmp_path / "x") == sha(data)
    assert (folder_of(shared_agent) / "blobs" / sha(data)).read_bytes() == data
    assert not (folder_of(shared_agent) / "partial" / sha(data)).exists()


def test_a_damaged_upload_is_deleted(shared_agent: AgentClient) -> None:
    """Bytes that do not have the announced digest never become a blob."""
    digest = sha(b"other bytes")
    shared_agent.call("blob_begin", {"name": digest, "digest": digest, "size": 5})
    shared_agent.ask_raw({"op": "blob_append", "name": digest, "offset": 0}, [b"bytes"])
    with pytest.raises(LabError, match="arrived damaged and was deleted"):
        shared_agent.call("blob_commit", {"name": digest, "digest": digest})
    assert not (folder_of(shared_agent) / "partial" / digest).exists()
    assert not (folder_of(shared_agent) / "blobs" / digest).exists()


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "A" * 64, "0" * 63, None, 7])
def test_names_that_are_no_digest_are_refused(shared_agent: AgentClient, digest: object) -> None:
    """Only 64 hexadecimal digits are accepted as a file name."""
    with pytest.raises(LabError, match="not a SHA-256 digest"):
        shared_agent.call("blob_begin", {"name": "0" * 64, "digest": digest or "", "size": 1})
    with pytest.raises(LabError, match="not a SHA-256 digest"):
        shared_agent.call("blob_begin", {"name": digest, "digest": None, "size": 1})
    with pytest.raises(LabError, match="not a SHA-256 digest"):
        shared_agent.call("blob_read", {"digest": digest, "offset": 0, "length": 10})


def test_the_least_recently_used_blob_is_evicted_first(tmp_path: Path) -> None:
    """Over the limit, the least recently used blobs are evicted, and no more than needed."""
    store = Store(str(tmp_path), limit=3000)
    old = [put(store, bytes([at]) * 1000) for at in range(3)]
    for age, digest in ((300, old[1]), (200, old[0]), (100, old[2])):
        os.utime(store.blob(digest), (time.time() - age, time.time() - age))
    reopened = Store(str(tmp_path), limit=3000)
    put(reopened, b"new" * 300)
    assert [Path(reopened.blob(digest)).exists() for digest in old] == [True, False, True]


def test_a_blob_in_use_is_not_evicted(tmp_path: Path) -> None:
    """A blob that this session uses is never evicted; the message names the limit to raise."""
    store = Store(str(tmp_path), limit=1500)
    digest = put(store, b"x" * 1000)
    with pytest.raises(Failure, match="is limited to") as caught:
        store.begin(sha(b"y" * 1000), 1000)
    assert caught.value.kind == "store_full"
    assert caught.value.advice == "raise store_size"
    assert Path(store.blob(digest)).exists()


def test_two_agents_evict_at_the_same_time(tmp_path: Path) -> None:
    """Agents that evict at the same time raise nothing about files that another one has just deleted."""
    stores = [Store(str(tmp_path), limit=1000) for _ in range(4)]
    names = [*(f"blobs/{number:064x}" for number in range(200)), *(f"tmp/{number}" for number in range(200))]
    for name in names:
        (tmp_path / name).write_bytes(b"old")
        os.utime(tmp_path / name, (1, 1))
    with ThreadPoolExecutor(len(stores)) as pool:
        assert list(pool.map(lambda store: store.make_room(1000), stores)) == [None] * len(stores)
    assert files(tmp_path) == []


def test_a_blob_damaged_at_rest_is_noticed(tmp_path: Path) -> None:
    """``verify`` raises ``Failure`` for a blob with changed bytes, and deletes the blob."""
    store = Store(str(tmp_path))
    digest = put(store, b"engine")
    Path(store.blob(digest)).write_bytes(b"engimE")
    with pytest.raises(Failure, match="damaged"):
        store.verify(digest)
    assert not Path(store.blob(digest)).exists()


def test_a_blob_is_hashed_again_only_if_it_was_written_to(tmp_path: Path) -> None:
    """A blob is hashed again only after a write to its file, even if size and date of the file are as before."""
    store = Store(str(tmp_path))
    hashed: list[int] = []
    digest = put(store, b"engine")
    store.beat = lambda: hashed.append(1)
    for _ in range(3):
        store.verify(digest)
        store.use(digest)
    assert len(hashed) == 1
    path = Path(store.blob(digest))
    before = path.stat()
    path.write_bytes(b"engimE")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    store.use(digest)
    with pytest.raises(Failure, match="damaged"):
        store.verify(digest)
    assert len(hashed) == 2


def test_hashing_sends_heartbeats(tmp_path: Path) -> None:
    """Hashing sends a heartbeat for each piece, both when a blob is verified and when it is adopted."""
    store = Store(str(tmp_path))
    beats: list[int] = []
    store.beat = lambda: beats.append(1)
    (tmp_path / "tmp" / "x").write_bytes(b"x" * (2 << 20))
    digest = store.adopt(str(tmp_path / "tmp" / "x"))
    assert len(beats) == 2
    store.verify(digest)
    assert len(beats) == 4


def test_two_agents_never_write_one_upload(tmp_path: Path) -> None:
    """While one agent uploads a blob, a second one's ``begin`` returns None; both can use the complete blob."""
    first, second = Store(str(tmp_path)), Store(str(tmp_path))
    digest = sha(b"ab")
    assert first.begin(digest, 2) == 0
    first.append(digest, 0, b"a")
    assert second.begin(digest, 2) is None
    first.append(digest, 1, b"b")
    first.commit(digest)
    assert second.use(digest)


def test_a_pieces_offset_must_fit(tmp_path: Path) -> None:
    """A piece that does not continue the upload is rejected."""
    store = Store(str(tmp_path))
    digest = sha(b"ab")
    store.begin(digest, 2)
    with pytest.raises(Failure, match="that continues at byte"):
        store.append(digest, 1, b"b")


def test_queued_pieces_are_written_in_order(tmp_path: Path) -> None:
    """All bytes queued for the writer thread are in the blob, in order, whatever the sizes of the pieces."""
    store = Store(str(tmp_path))
    data = os.urandom((11 << 20) + 13)
    digest, at = sha(data), 0
    store.begin(digest, len(data))
    while at < len(data):
        at = store.append(digest, at, data[at : at + 777_777])
    store.commit(digest)
    assert Path(store.blob(digest)).read_bytes() == data


def test_a_killed_agents_upload_resumes(store: Path, tmp_path: Path) -> None:
    """An agent killed in the middle leaves a prefix of the file, and only the rest is sent again."""
    data = os.urandom(48 << 20)
    (tmp_path / "x").write_bytes(data)
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as agent:
        partial = store / "partial" / outline_of(str(tmp_path / "x"))
        watch = threading.Thread(target=_kill_at, args=(agent.hello["pid"], partial, 8 << 20))
        watch.start()
        with pytest.raises(LabError, match="the agent was lost"):
            agent.put_blob(tmp_path / "x")
        watch.join()
    size = partial.stat().st_size
    assert 8 << 20 <= size < len(data)
    assert partial.read_bytes() == data[:size]
    with open_target("bench", TargetSpec(store=str(store))).start_agent() as agent:
        assert begin(agent, data, outline_of(str(tmp_path / "x")))["offset"] == size
        assert agent.put_blob(tmp_path / "x") == sha(data)
    assert (store / "blobs" / sha(data)).read_bytes() == data


def _kill_at(pid: int, path: Path, size: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and not (path.exists() and path.stat().st_size >= size):
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)


def test_files_with_equal_outlines_are_distinguished(shared_agent: AgentClient, tmp_path: Path) -> None:
    """A file with the same size, beginning and end, but one other byte in the middle, is sent."""
    data = bytearray(os.urandom(40 << 20))
    path, digests = tmp_path / "x", []
    for _ in range(2):
        path.write_bytes(data)
        before = shared_agent.uploaded
        digests.append(shared_agent.put_blob(path))
        assert digests[-1] == sha(bytes(data))
        assert shared_agent.uploaded - before == len(data)
        assert shared_agent.put_blob(path) == digests[-1]
        assert shared_agent.uploaded - before == len(data)
        data[20 << 20] ^= 1
    assert digests[0] != digests[1]


def test_a_partial_file_of_another_version(shared_agent: AgentClient, tmp_path: Path) -> None:
    """An earlier partial upload is resumed only if its bytes are a prefix of the file."""
    data = os.urandom(40 << 20)
    path = tmp_path / "x"
    path.write_bytes(data)
    partial = folder_of(shared_agent) / "partial" / outline_of(str(path))
    for partial_content, sent in (
        (data[: 8 << 20], 32 << 20),
        (os.urandom(8 << 20), 40 << 20),
        (data + b"more", 40 << 20),
    ):
        partial.write_bytes(partial_content)
        before = shared_agent.uploaded
        assert shared_agent.put_blob(path) == sha(data)
        assert shared_agent.uploaded - before == sent
        assert (folder_of(shared_agent) / "blobs" / sha(data)).read_bytes() == data
        (folder_of(shared_agent) / "blobs" / sha(data)).unlink()


def test_a_file_that_changes_is_hashed_again(shared_agent: AgentClient, tmp_path: Path) -> None:
    """A cached digest is never used for a file that has changed."""
    path = tmp_path / "x"
    for content in (b"one", b"two", b"333", b"one"):
        path.write_bytes(content)
        assert shared_agent.put_blob(path) == sha(content)
    old = time.time() - 100
    for content in (b"one", b"two"):
        path.write_bytes(content)
        os.utime(path, (old, old))
        assert shared_agent.put_blob(path) == sha(content)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_message(small_disk: Path, tmp_path: Path) -> None:
    """On a full disk, one message names the store and the advice, no partial file stays, and a smaller file fits."""
    (tmp_path / "big").write_bytes(os.urandom(8 << 20))
    (tmp_path / "small").write_bytes(os.urandom(1 << 20))
    with open_target("bench", TargetSpec(store=str(small_disk / "store"))).start_agent() as agent:
        agent.hold("token", "tester")
        with pytest.raises(LabError) as caught:
            agent.put_blob(tmp_path / "big")
        assert str(caught.value).count("\n") == 0
        assert str(small_disk / "store") in str(caught.value)
        assert "is full" in str(caught.value)
        assert "on target 'bench': free space there" in str(caught.value)
        assert not [name for name in files(small_disk) if "partial" in name or "blobs" in name]
        agent.put_blob(tmp_path / "small")


def test_a_store_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    """A store whose path leads through a file raises ``LabError``, in one message with advice."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match=r"the store .* cannot be used: .*: on target 'bench': set store"):
        open_target("bench", TargetSpec(store=str(tmp_path / "file" / "store"))).start_agent()
