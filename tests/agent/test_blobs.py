from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.agent.blobs import Store
from hil.agent.failure import Failure
from hil.config.spec import TargetSpec
from hil.errors import LabError
from hil.targets.base import open_target

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
    state = agent.call("blob_begin", {"digest": sha(data), "size": len(data)})[0]
    assert state == {"have": False, "offset": 1 << 20}
    (tmp_path / "x").write_bytes(data)
    assert agent.put_blob(tmp_path / "x") == sha(data)
    assert (store / "blobs" / sha(data)).read_bytes() == data
    assert agent.call("blob_begin", {"digest": sha(data), "size": len(data)})[0]["have"]


def test_a_damaged_upload_is_deleted(store: Path, agent: AgentClient, tmp_path: Path) -> None:
    """Bytes that do not have the promised digest never become a blob, and the next try starts anew."""
    data = os.urandom(1 << 20)
    (store / "partial" / sha(data)).write_bytes(b"not the beginning")
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(LabError, match="arrived damaged and was deleted"):
        agent.put_blob(tmp_path / "x")
    assert not list((store / "partial").iterdir())
    assert not list((store / "blobs").iterdir())
    assert agent.put_blob(tmp_path / "x") == sha(data)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "A" * 64, "0" * 63, None, 7])
def test_names_that_are_no_digest_are_refused(agent: AgentClient, digest: object) -> None:
    """Only 64 hexadecimal digits become a file name."""
    with pytest.raises(LabError, match="not a SHA-256 digest"):
        agent.call("blob_begin", {"digest": digest, "size": 1})
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
    with pytest.raises(Failure, match="stands at byte"):
        store.append(digest, 1, b"b")


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
