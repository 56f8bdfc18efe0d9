"""What a container of an image would show, by a real podman: archives whose names in the layers say something else."""

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
from tests.deploy.test_image import CONFIG, ENGINE, Entry, Made, made

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["made"]

ENGINES, PLAN = f"{image.FOLDER}/engines", f"{image.FOLDER}/engines/a-fp32.plan"


@pytest.fixture(scope="module")
def engine() -> Iterator[Podman]:
    """A podman with nothing in its storage, first in ``PATH``."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("podman", "unshare"))):
        pytest.skip("podman with storage and a mount namespace of its own needs root, podman and unshare")
    with tempfile.TemporaryDirectory(prefix="hil-") as place, pytest.MonkeyPatch.context() as patch:
        found = podman(Path(place))
        patch.setenv("PATH", f"{found.folder}:{os.environ['PATH']}")
        yield found
        found("rmi", "--all", "--force")


def shown(engine: Podman, made: Made, *volumes: str) -> str:
    """Why the image of ``made`` is refused once it is loaded; empty where it is not. Nothing is left behind."""

    def declare(members: dict[str, bytes]) -> None:
        config = {**json.loads(members["config.json"]), "config": {"Volumes": {name: {} for name in volumes}}}
        members["config.json"] = json.dumps(config).encode()
        ids.append(hashlib.sha256(members["config.json"]).hexdigest())

    ids: list[str] = []
    engine("load", "--quiet", "--input", str(made.save(declare)))
    scratch = made.folder / "scratch"
    try:
        there = images.compare("podman", ids[0], made.release.digest, f"/{image.FOLDER}", str(scratch), time.sleep)
        assert there
    except Failure as problem:
        return problem.message
    finally:
        assert not engine("ps", "--all", "--quiet")
        assert not engine("volume", "ls", "--quiet")
    return ""


def test_an_image_that_shows_the_release(engine: Podman, made: Made) -> None:
    """What a link in an earlier layer led to is that layer's alone; a volume elsewhere is no harm."""
    made.layers += [[("srv", f"/{ENGINES}")], [("srv/a-fp32.plan", b"another engine"), ("dev/null2", b"")]]
    assert not shown(engine, made, "/var/lib/app", "/opt/hil/releases")
    absent = images.compare("podman", "0" * 64, made.release.digest, "/opt", str(made.folder / "none"), time.sleep)
    assert absent is False


LINKED: list[list[Entry]] = [
    [("srv", ENGINES), ("srv/a-fp32.plan", b"another engine")],
    [("srv", f"../../{ENGINES}"), ("srv/a-fp32.plan", b"another engine")],
    [("a", "opt"), ("b", "a/hil/release"), ("b/engines/a-fp32.plan", b"another engine")],
    [("srv", ENGINES), ("srv/b-fp32.plan", b"one more engine")],
]


@pytest.mark.parametrize("layer", LINKED)
def test_a_file_below_a_link(engine: Podman, made: Made, layer: list[Entry]) -> None:
    """By its names the archive has the release; the container would read another engine, and that is refused."""
    base: list[Entry] = [("opt/", None), ("opt/hil/", None), (f"{image.FOLDER}/", None), (f"{ENGINES}/", None)]
    # The link leads to a folder of its own layer: everything is in one.
    made.layers = [[*base, *made.layers[1][2:], *layer]]
    image.verified(made.save(), made.release)
    assert "does not have the release that is to be deployed: engines/" in shown(engine, made)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([[("opt/hil/.wh.release", b"")]], "could not be found"),
        ([[(f"/{PLAN}", b"another engine")]], "engines/a-fp32.plan was changed"),
        ([[(f"{ENGINES}/.wh.a-fp32.plan", b""), ("x", b"1")], [(PLAN, "/x")]], "a-fp32.plan does not belong there"),
        ([[("opt/hil/.wh.release", b""), ("srv/y", b"")], [(image.FOLDER, "/srv")]], "has no manifest"),
    ],
)
def test_another_file_in_a_later_layer(engine: Podman, made: Made, layers: list[list[Entry]], message: str) -> None:
    """Whiteouts, changed files, absolute names, links: what is left is not the release."""
    made.layers += layers
    with pytest.raises(DeployRefused):
        image.verified(made.save(), made.release)
    assert message in shown(engine, made)


@pytest.mark.parametrize("volume", [f"{ENGINES}/", "/opt/x/../hil"])
def test_a_volume_over_the_release(engine: Podman, made: Made, volume: str) -> None:
    """What lies in a volume may be changed apart from the image."""
    assert "it declares the volume /" in shown(engine, made, volume)


def test_a_copy_that_is_a_link(tmp_path: Path) -> None:
    """An engine may copy a link as one: the folder on this machine that it leads to is not what a container shows."""
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
