from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
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
    """The digest a blob is named by."""
    return hashlib.sha256(data).hexdigest()


def put(store: Store, data: bytes) -> str:
    """Uploads ``data`` whole."""
    digest = sha(data)
    assert store.begin(digest, len(data)) == 0
    store.append(digest, 0, data)
    store.commit(digest)
    return digest


def begin(agent: AgentClient, data: bytes, name: str = "") -> dict[str, Any]:
    """What the agent says of an upload of ``data``."""
    asked = {"name": name or sha(data), "digest": sha(data), "size": len(data)}
    state: dict[str, Any] = agent.call("blob_begin", asked)[0]
    return state


def files(root: Path) -> list[str]:
    """All files below ``root``, relative to it."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_blob_comes_back(agent: AgentClient, tmp_path: Path) -> None:
    """What was put in is got back byte by byte, over several pieces; the empty file too."""
    for size in (0, 1, (9 << 20) + 7):
        source, back = tmp_path / "source", tmp_path / "back"
        source.write_bytes(os.urandom(size))
        agent.get_blob(agent.put_blob(source), back)
        assert back.read_bytes() == source.read_bytes()


def test_an_upload_resumes(store: Path, agent: AgentClient, tmp_path: Path) -> None:
    """An upload goes on where another agent's was interrupted."""
    data = os.urandom(3 << 20)
    (store / "partial" / sha(data)).write_bytes(data[: 1 << 20])
    state = begin(agent, data)
    assert (state["have"], state["offset"], state["prefix"]) == (False, 1 << 20, sha(data[: 1 << 20]))
    (tmp_path / "x").write_bytes(data)
    assert agent.put_blob(tmp_path / "x") == sha(data)
    assert (store / "blobs" / sha(data)).read_bytes() == data
    assert begin(agent, data)["have"]


def test_an_upload_goes_on_from_what_is_the_files_own(store: Path, agent: AgentClient, tmp_path: Path) -> None:
    """A partial file with other bytes is found out by the digest, and the upload starts anew, once, by itself."""
    data = os.urandom(1 << 20)
    (store / "partial" / sha(data)).write_bytes(b"not the beginning")
    (tmp_path / "x").write_bytes(data)
    assert agent.put_blob(tmp_path / "x") == sha(data)
    assert (store / "blobs" / sha(data)).read_bytes() == data
    assert not list((store / "partial").iterdir())


def test_a_damaged_upload_is_deleted(store: Path, agent: AgentClient) -> None:
    """Bytes that do not have the promised digest never become a blob."""
    digest = sha(b"other bytes")
    agent.call("blob_begin", {"name": digest, "digest": digest, "size": 5})
    agent.ask_raw({"op": "blob_append", "name": digest, "offset": 0}, [b"bytes"])
    with pytest.raises(LabError, match="arrived damaged and was deleted"):
        agent.call("blob_commit", {"name": digest, "digest": digest})
    assert not list((store / "partial").iterdir())
    assert not list((store / "blobs").iterdir())


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "A" * 64, "0" * 63, None, 7])
def test_names_that_are_no_digest_are_refused(agent: AgentClient, digest: object) -> None:
    """Only 64 hexadecimal digits become a file name."""
    with pytest.raises(LabError, match="not a SHA-256 digest"):
        agent.call("blob_begin", {"name": "0" * 64, "digest": digest or "", "size": 1})
    with pytest.raises(LabError, match="not a SHA-256 digest"):
        agent.call("blob_begin", {"name": digest, "digest": None, "size": 1})
    with pytest.raises(LabError, match="not a SHA-256 digest"):
        agent.call("blob_read", {"digest": digest, "offset": 0, "length": 10})


def test_least_recently_used_goes_first(tmp_path: Path) -> None:
    """Over the limit the blob whose last use is longest ago is evicted, and no more than needed."""
    store = Store(str(tmp_path), limit=3000)
    old = [put(store, bytes([at]) * 1000) for at in range(3)]
    for age, digest in ((300, old[1]), (200, old[0]), (100, old[2])):
        os.utime(store.blob(digest), (time.time() - age, time.time() - age))
    again = Store(str(tmp_path), limit=3000)
    put(again, b"new" * 300)
    assert [Path(again.blob(digest)).exists() for digest in old] == [True, False, True]


def test_what_the_session_uses_stays(tmp_path: Path) -> None:
    """A blob of this session is never evicted; there is one message that says what to raise."""
    store = Store(str(tmp_path), limit=1500)
    digest = put(store, b"x" * 1000)
    with pytest.raises(Failure, match="is limited to") as caught:
        store.begin(sha(b"y" * 1000), 1000)
    assert caught.value.kind == "store_full"
    assert caught.value.advice == "raise store_size"
    assert Path(store.blob(digest)).exists()


def test_a_blob_damaged_at_rest_is_noticed(tmp_path: Path) -> None:
    """Bytes are hashed again before use; a damaged blob is deleted."""
    store = Store(str(tmp_path))
    digest = put(store, b"engine")
    Path(store.blob(digest)).write_bytes(b"engimE")
    with pytest.raises(Failure, match="damaged"):
        store.verify(digest)
    assert not Path(store.blob(digest)).exists()


def test_a_blob_is_hashed_once_until_somebody_touches_it(tmp_path: Path) -> None:
    """A large blob is not read again for each load; one that was written to, of the same size and date, is."""
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


def test_hashing_gives_signs_of_life(tmp_path: Path) -> None:
    """Each piece of a blob that is hashed is one, when it is verified and when it is adopted."""
    store = Store(str(tmp_path))
    beats: list[int] = []
    store.beat = lambda: beats.append(1)
    (tmp_path / "tmp" / "x").write_bytes(b"x" * (2 << 20))
    digest = store.adopt(str(tmp_path / "tmp" / "x"))
    assert len(beats) == 2
    store.verify(digest)
    assert len(beats) == 4


def test_two_agents_never_write_one_upload(tmp_path: Path) -> None:
    """The second agent waits for the first, and finds the blob or goes on after it."""
    one, two = Store(str(tmp_path)), Store(str(tmp_path))
    digest = sha(b"ab")
    assert one.begin(digest, 2) == 0
    one.append(digest, 0, b"a")
    assert two.begin(digest, 2) is None
    one.append(digest, 1, b"b")
    one.commit(digest)
    assert two.use(digest)


def test_a_pieces_offset_must_fit(tmp_path: Path) -> None:
    """A piece that does not continue the upload is refused."""
    store = Store(str(tmp_path))
    digest = sha(b"ab")
    store.begin(digest, 2)
    with pytest.raises(Failure, match="that continues at byte"):
        store.append(digest, 1, b"b")


def test_what_was_written_late_counts(tmp_path: Path) -> None:
    """Bytes that a thread of their own writes are all there, in order, before the blob is; however they come."""
    store = Store(str(tmp_path))
    data = os.urandom((11 << 20) + 13)
    digest, at = sha(data), 0
    store.begin(digest, len(data))
    while at < len(data):
        at = store.append(digest, at, data[at : at + 777_777])
    store.commit(digest)
    assert Path(store.blob(digest)).read_bytes() == data


def test_an_upload_that_is_cut_goes_on(store: Path, tmp_path: Path) -> None:
    """An agent killed in the middle of many pieces leaves a beginning of the file, and only the rest is sent again."""
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


def test_files_that_look_alike_are_told_apart(agent: AgentClient, tmp_path: Path) -> None:
    """The same size, beginning and end are not the same file: one byte in the middle, and it is sent."""
    data = bytearray(os.urandom(40 << 20))
    path, digests = tmp_path / "x", []
    for _ in range(2):
        path.write_bytes(data)
        before = agent.uploaded
        digests.append(agent.put_blob(path))
        assert digests[-1] == sha(bytes(data))
        assert agent.uploaded - before == len(data)
        assert agent.put_blob(path) == digests[-1]
        assert agent.uploaded - before == len(data)
        data[20 << 20] ^= 1
    assert digests[0] != digests[1]


def test_a_large_file_that_was_begun_as_another(store: Path, agent: AgentClient, tmp_path: Path) -> None:
    """What an earlier upload left is gone on with only if its bytes are the file's own."""
    data = os.urandom(40 << 20)
    path = tmp_path / "x"
    path.write_bytes(data)
    partial = store / "partial" / outline_of(str(path))
    for left, sent in ((data[: 8 << 20], 32 << 20), (os.urandom(8 << 20), 40 << 20), (data + b"more", 40 << 20)):
        partial.write_bytes(left)
        before = agent.uploaded
        assert agent.put_blob(path) == sha(data)
        assert agent.uploaded - before == sent
        assert (store / "blobs" / sha(data)).read_bytes() == data
        (store / "blobs" / sha(data)).unlink()


def test_a_file_that_changes_is_hashed_again(agent: AgentClient, tmp_path: Path) -> None:
    """The digest that is kept for a file is that of its bytes, whatever was done to it meanwhile."""
    path = tmp_path / "x"
    for content in (b"one", b"two", b"333", b"one"):
        path.write_bytes(content)
        assert agent.put_blob(path) == sha(content)
    old = time.time() - 100
    for content in (b"one", b"two"):
        path.write_bytes(content)
        os.utime(path, (old, old))
        assert agent.put_blob(path) == sha(content)


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
    """ENOSPC names the store and what to do, and leaves nothing half-written; smaller files still fit."""
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
    """A store below a file is the lab's error, said before any work."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match=r"the store .* cannot be used: .*: on target 'bench': set store"):
        open_target("bench", TargetSpec(store=str(tmp_path / "file" / "store"))).start_agent()
