"""What a container of an image shows, by a real podman, where it differs from the archive's names."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hil.agent.containers import images
from hil.agent.failure import Failure
from hil.agent.releases.releases import Releases
from hil.deploy import image
from hil.errors import DeployRefused
from tests.agent.containers.image import Podman, podman
from tests.deploy.test_image import CONFIG, ENGINE, Entry, ImageArchive, archive

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["archive"]

ENGINES, PLAN = f"{image.FOLDER}/engines", f"{image.FOLDER}/engines/a-fp32.plan"


@pytest.fixture(scope="module")
def engine() -> Iterator[Podman]:
    """A podman with empty storage, first in ``PATH``; at the end no container and no volume may be left."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("podman", "unshare"))):
        pytest.skip("podman with storage and a mount namespace of its own needs root, podman and unshare")
    with tempfile.TemporaryDirectory(prefix="hil-") as place, pytest.MonkeyPatch.context() as patch:
        engine = podman(Path(place))
        patch.setenv("PATH", f"{engine.folder}:{os.environ['PATH']}")
        yield engine
        assert not engine("ps", "--all", "--quiet")
        assert not engine("volume", "ls", "--quiet")
        engine("rmi", "--all", "--force")


def reason_against(engine: Podman, archive: ImageArchive, *volumes: str) -> str:
    """Return why the loaded image of ``archive`` is refused; empty if it is not."""

    def declare(members: dict[str, bytes]) -> None:
        config = {**json.loads(members["config.json"]), "config": {"Volumes": {name: {} for name in volumes}}}
        members["config.json"] = json.dumps(config).encode()
        ids.append(hashlib.sha256(members["config.json"]).hexdigest())

    ids: list[str] = []
    engine("load", "--quiet", "--input", str(archive.save(declare)))
    scratch = archive.folder / "scratch"
    try:
        exists = images.compare("podman", ids[0], archive.release.digest, f"/{image.FOLDER}", str(scratch), time.sleep)
        assert exists
    except Failure as problem:
        return problem.message
    return ""


def test_an_image_with_the_release_is_accepted(engine: Podman, archive: ImageArchive) -> None:
    """A link that a later layer replaces, and a volume outside of the release, are not reasons to refuse an image."""
    archive.layers += [[("srv", f"/{ENGINES}")], [("srv/a-fp32.plan", b"another engine"), ("dev/null2", b"")]]
    assert not reason_against(engine, archive, "/var/lib/app", "/opt/hil/releases")
    absent = images.compare(
        "podman", "0" * 64, archive.release.digest, "/opt", str(archive.folder / "none"), time.sleep
    )
    assert absent is False


LINKED: list[list[Entry]] = [
    [("srv", ENGINES), ("srv/a-fp32.plan", b"another engine")],
    [("a", "opt"), ("b", "a/hil/release"), ("b/engines/a-fp32.plan", b"another engine")],
]


@pytest.mark.parametrize("layer", LINKED)
def test_a_file_below_a_link(engine: Podman, archive: ImageArchive, layer: list[Entry]) -> None:
    """An image in which a link makes the container read another engine is refused, although the names match."""
    base: list[Entry] = [("opt/", None), ("opt/hil/", None), (f"{image.FOLDER}/", None), (f"{ENGINES}/", None)]
    # The link points to a folder of its own layer, so everything is in one layer.
    archive.layers = [[*base, *archive.layers[1][2:], *layer]]
    image.verified(archive.save(), archive.release)
    assert "does not have the release that is to be deployed: engines/" in reason_against(engine, archive)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([[("opt/hil/.wh.release", b"")]], "could not be found"),
        ([[(f"/{PLAN}", b"another engine")]], "engines/a-fp32.plan was changed"),
        ([[("opt/hil/.wh.release", b""), ("srv/y", b"")], [(image.FOLDER, "/srv")]], "has no manifest"),
    ],
)
def test_a_later_layer_that_changes_the_release(
    engine: Podman, archive: ImageArchive, layers: list[list[Entry]], message: str
) -> None:
    """An image is refused if a later layer deletes, replaces or links away a part of the release."""
    archive.layers += layers
    with pytest.raises(DeployRefused):
        image.verified(archive.save(), archive.release)
    assert message in reason_against(engine, archive)


@pytest.mark.parametrize("volume", [f"{ENGINES}/", "/opt/x/../hil"])
def test_a_volume_over_the_release(engine: Podman, archive: ImageArchive, volume: str) -> None:
    """An image with a volume over the release is refused: a volume's files can change without the image."""
    assert "it declares the volume /" in reason_against(engine, archive, volume)


def test_a_release_folder_that_is_a_link(tmp_path: Path) -> None:
    """A release folder that is a link counts as damaged."""
    manifest = json.dumps({"schema": 1, "files": [_listed("e", ENGINE), _listed("c", CONFIG)]}).encode()
    digest = hashlib.sha256(manifest).hexdigest()
    good = tmp_path / "elsewhere"
    good.mkdir()
    for name, content in (("e", ENGINE), ("c", CONFIG), ("manifest.json", manifest)):
        (good / name).write_bytes(content)
    (tmp_path / "releases").mkdir()
    folder = Releases(str(tmp_path))
    (tmp_path / "releases" / digest).symlink_to(good)
    assert folder.damage(digest) == "it is a link"
    (tmp_path / "releases" / digest).unlink()
    good.rename(tmp_path / "releases" / digest)
    assert not folder.damage(digest)


def _listed(path: str, content: bytes) -> dict[str, object]:
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
