"""A robot's folder of releases: staging, damage, the current link, pruning and the lock."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from hil.agent.failure import Failure
from hil.agent.releases.activating import Activation
from hil.agent.releases.journal import Journal
from hil.agent.releases.releases import Releases
from hil.agent.releases.staging import Staging

CLAIM = {"who": "ada", "host": "ci", "pid": "7"}


class Blobs:
    """Blobs by digest, as the store has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def add(self, content: bytes) -> str:
        """Store the content and return its digest."""
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / digest).write_bytes(content)
        return digest

    def release(self, **files: str) -> str:
        """Store a release of ``config/NAME`` files with these texts, and return its digest."""
        entries = [
            {"path": f"config/{name}", "sha256": self.add(text.encode()), "size": len(text)}
            for name, text in files.items()
        ]
        return self.add(json.dumps({"schema": 1, "files": entries}).encode())

    def __call__(self, digest: str) -> str:
        return str(self.folder / digest)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """An empty store of blobs."""
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def folder(tmp_path: Path) -> Releases:
    """A new folder of releases."""
    releases = Releases(str(tmp_path / "robot/perception"))
    releases.make()
    return releases


def names(folder: Releases) -> list[str]:
    """Return the names of all entries in the releases' folder."""
    return [place.name for place in Path(folder.path("releases")).iterdir()]


def activate(folder: Releases, to: str, tmp_path: Path, *, healthy: bool = True, keep: int = 3) -> None:
    """Make a staged release the current one; its restart command logs the target of the ``current`` link."""
    log = tmp_path / "log"
    restart = ["sh", "-c", f"readlink {folder.path('current')} >>{log}"]
    plan: dict[str, Any] = {
        "service": None,
        "restart": restart,
        "restart_within": 5,
        "safe_state": [],
        "safe_within": 5,
        "keep": keep,
    }
    plan |= {"health": ["true" if healthy else "false"], "health_within": 5 if healthy else 0.2}
    operation = {"kind": "deploy", "from": folder.current(), "to": to, "plan": plan, "was_healthy": folder.healthy(to)}
    Journal(folder).ready(operation)
    Activation(folder, operation).forward()
    assert Journal(folder).operation() is None


def test_a_staged_release_is_complete_and_readable(folder: Releases, blobs: Blobs) -> None:
    """A staged release has exactly its files, readable by others whatever the umask; staging again does nothing."""
    before = os.umask(0o077)
    try:
        release = blobs.release(robot="mood: well", arm="reach: 1")
        assert Staging(folder).stage(release, blobs)
    finally:
        os.umask(before)
    assert folder.damage(release) == ""
    place = Path(folder.path("releases", release, "config", "robot"))
    assert place.stat().st_mode & 0o777 == 0o644
    assert place.parent.stat().st_mode & 0o777 == 0o755
    assert not Staging(folder).stage(release, blobs)
    assert names(folder) == [release]


def test_a_file_that_does_not_match_the_manifest(folder: Releases, blobs: Blobs) -> None:
    """If a blob does not match the manifest, nothing is staged and no partial release is left."""
    release = blobs.release(robot="mood: well")
    blob = next(path for path in blobs.folder.iterdir() if path.read_bytes() == b"mood: well")
    blob.write_bytes(b"mood: ill!")
    with pytest.raises(Failure, match="config/robot does not match the manifest"):
        Staging(folder).stage(release, blobs)
    assert names(folder) == []


def test_a_damaged_release_is_reported_and_repaired(folder: Releases, blobs: Blobs, tmp_path: Path) -> None:
    """Changed, missing and additional files and links are each reported, and staging again repairs the release."""
    release = blobs.release(robot="mood: well", arm="reach: 1")
    Staging(folder).stage(release, blobs)
    place = tmp_path / "robot/perception/releases" / release
    (place / "config/robot").write_text("mood: ill")
    assert folder.damage(release) == "config/robot was changed"
    (place / "config/robot").unlink()
    assert folder.damage(release) == "config/robot is missing"
    (place / "config/robot").symlink_to("/etc/passwd")
    assert folder.damage(release) == "config/robot does not belong there"
    (place / "more").write_text("x")
    assert Staging(folder).stage(release, blobs)
    assert folder.damage(release) == ""
    (place / "manifest.json").write_text('{"schema": 1, "files": []}')
    assert "manifest" in folder.damage(release)


def test_an_unhealthy_release_is_rolled_back(folder: Releases, blobs: Blobs, tmp_path: Path) -> None:
    """A healthy release stays; an unhealthy one is rolled back, and the service restarts with the previous release."""
    first, second = blobs.release(robot="1"), blobs.release(robot="2")
    for release in (first, second):
        Staging(folder).stage(release, blobs)
    activate(folder, first, tmp_path)
    assert (folder.current(), folder.healthy(first)) == (first, True)
    activate(folder, second, tmp_path, healthy=False)
    assert (folder.current(), folder.healthy(second)) == (first, False)
    assert (tmp_path / "log").read_text().split() == [f"releases/{name}" for name in (first, second, first)]
    outcomes = [line["outcome"] for line in Journal(folder).history()]
    assert outcomes == ["deployed", "unhealthy"]  # the failing health command was also used for the old release


def test_an_unhealthy_first_release(folder: Releases, blobs: Blobs, tmp_path: Path) -> None:
    """If the first release is unhealthy, there is no current release afterwards."""
    release = blobs.release(robot="1")
    Staging(folder).stage(release, blobs)
    activate(folder, release, tmp_path, healthy=False)
    assert folder.current() is None


def test_pruning(folder: Releases, blobs: Blobs, tmp_path: Path) -> None:
    """The newest releases stay, and always the current release and the one to which a rollback would return."""
    names = [blobs.release(robot=str(number)) for number in range(5)]
    for name in names:
        Staging(folder).stage(name, blobs)
        activate(folder, name, tmp_path, keep=2)
    assert folder.ordered() == names[-2:]
    assert folder.previous(names[-1]) == names[-2]
    assert folder.previous(names[-2]) is None
    activate(folder, names[-2], tmp_path, keep=1)
    assert folder.ordered() == names[-2:]


def test_order_does_not_depend_on_the_clock(folder: Releases, blobs: Blobs) -> None:
    """A release that was staged later is newer, even if an earlier one's folder is dated in the future."""
    first, second = blobs.release(robot="1"), blobs.release(robot="2")
    Staging(folder).stage(first, blobs)
    os.utime(folder.path("releases", first), (4e9, 4e9))
    Staging(folder).stage(second, blobs)
    assert folder.ordered() == [first, second]


def test_one_deployment_at_a_time(folder: Releases) -> None:
    """A second deployment is refused with the holder's name; the lock ends with its holder."""
    first = folder.lock(CLAIM)
    assert first is not None
    assert Releases(folder.root).lock(CLAIM) is None
    assert folder.busy()
    assert "a deployment by ada from host ci (process 7) has been in progress" in folder.refusal().message
    os.close(first)
    assert not folder.busy()


@pytest.mark.parametrize("target", ["/etc", "releases/../../etc", "releases/" + "0" * 63, "elsewhere"])
def test_a_foreign_current_link_is_refused(folder: Releases, target: str) -> None:
    """A ``current`` that is not a link to a release is neither followed nor replaced."""
    Path(folder.path("current")).symlink_to(target)
    with pytest.raises(Failure, match="which is not a release"):
        folder.current()


def test_a_world_writable_folder_is_refused(tmp_path: Path) -> None:
    """A world-writable folder of another user is refused."""
    if os.geteuid() != 0:
        pytest.skip("needs root to create a folder of another user")
    place = tmp_path / "shared"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    os.chown(place, 12345, 12345)
    with pytest.raises(Failure, match="any user may write to"):
        Releases(str(place)).make()
