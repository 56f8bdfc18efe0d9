"""``hil deploy --container`` and ``--image`` with real images and a real podman, on a base image without a Jetson."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.agent.containers import image
from tests.deploy import container, registry
from tests.deploy.test_image import Entry, tar_of

if TYPE_CHECKING:
    from collections.abc import Iterator

RELEASE = "opt/hil/release"
HEALTH = f'["podman", "exec", "{container.NAME}", "/bin/test", "-e", "/well"]'
FIRST_ONLY = f'["podman", "exec", "{container.NAME}", "/bin/grep", "-q", "note: $", "/{RELEASE}/config/robot.yaml"]'
"""A health command that only the image of the config without a note passes."""


@pytest.fixture(scope="module")
def podman() -> Iterator[image.Podman]:
    """A podman whose storage has only the base image."""
    if os.geteuid() != 0:
        pytest.skip("podman with storage and a mount namespace of its own needs root")
    for program in ("podman", "unshare", "ldd", "tar", "dash"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not there, which containers need")
    with tempfile.TemporaryDirectory(prefix="hil-") as place:
        engine = image.podman(Path(place))
        container.import_base(engine, Path(place))
        yield engine
        engine("rm", "--all", "--force")
        engine("rmi", "--all", "--force")


@pytest.fixture(scope="module")
def first(local: Path, podman: image.Podman, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of an image of the judged project's release; a test that changes the archive copies it first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{podman.folder}:{os.environ['PATH']}")
        return _fleet(local, podman, tmp_path_factory.mktemp("first")).build("first")


@pytest.fixture
def fleet(local: Path, podman: image.Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> container.ImageFleet:
    """A copy of the judged project that is deployed as images; its release is that of ``first``."""
    monkeypatch.setenv("PATH", f"{podman.folder}:{os.environ['PATH']}")
    return _fleet(local, podman, tmp_path)


def _fleet(local: Path, podman: image.Podman, folder: Path) -> container.ImageFleet:
    root = folder / "project"
    shutil.copytree(local, root, ignore=shutil.ignore_patterns("cache"))
    return container.ImageFleet.create(root, podman)


@pytest.mark.long
def test_deploy_and_roll_back_images(fleet: container.ImageFleet, first: Path) -> None:
    """A deployed image runs; an unhealthy one is replaced by the image before it, and a rollback runs it again."""
    result = fleet.deploy_image(first)
    assert result.code == 0, result.out
    assert "evidence is emulated, not device" in result.out
    first_image = fleet.running_image()
    assert first_image

    fleet.mood("well", "second")
    second = fleet.build("second")
    fleet.edit(HEALTH, FIRST_ONLY)
    result = fleet.deploy_image(second)
    assert result.code == 1, result.out
    assert "rolled back" in result.out
    assert fleet.running_image() == first_image

    fleet.edit(FIRST_ONLY, HEALTH)
    assert fleet.deploy_image(second).code == 0
    assert "already runs there" in fleet.deploy_image(second).out
    second_image = fleet.running_image()
    listing = fleet.releases()
    images = {release["release"]: release["manifest"]["image"]["id"] for release in listing["releases"]}
    assert images[listing["current"]] == second_image != first_image == images[listing["previous"]]
    stored = fleet.engine("images", "--all", "--quiet", "--no-trunc").replace("sha256:", "").split()
    assert {first_image, second_image} <= set(stored)
    assert set(images.values()) == {first_image, second_image}

    rollback = fleet.hil("rollback", "rover")
    assert rollback.code == 0, rollback.out
    assert fleet.running_image() == first_image

    place = fleet.root / "hil.toml"
    files = place.read_text(encoding="utf-8").split("[targets.rover.deploy.container]")[0]
    place.write_text(files + 'restart = ["/bin/true"]\n', encoding="utf-8")
    result = fleet.deploy()
    assert result.code == 4
    assert "is an image" in result.out
    assert "set directory to another folder" in result.out
    assert fleet.running_image() == first_image


def test_an_image_of_another_release_is_refused(fleet: container.ImageFleet, first: Path) -> None:
    """An archive with another config is refused before the robot is contacted.

    An engine below a link in a layer, which only a container shows, is refused on the robot.
    """
    fleet.mood("well", "changed since")
    result = fleet.deploy_image(first)
    assert result.code == 1
    assert f"/{RELEASE}/config/robot.yaml in its image has SHA-256" in result.out
    assert not (fleet.root / "robot").exists()
    fleet.mood("well")
    linked = fleet.root / "linked.tar"
    layer: list[Entry] = [("opt/", None), ("opt/hil/", None), (f"{RELEASE}/", None), (f"{RELEASE}/engines/", None)]
    layer += [("srv", f"{RELEASE}/engines"), ("srv/toy-fp32.onnx", b"an engine that nobody judged")]
    image_id = container.add_layer(first, tar_of(layer), linked)
    before = fleet.running_image()
    result = fleet.deploy_image(linked)
    assert result.code == 1, result.out
    assert f"image sha256:{image_id[:12]}… does not have the release" in result.out
    assert "engines/toy-fp32.onnx was changed" in result.out
    assert fleet.running_image() == before
    assert not (fleet.root / "robot/releases/current").exists()


def test_a_container_that_exits_is_unhealthy(fleet: container.ImageFleet, first: Path) -> None:
    """A container that has exited is unhealthy even if the health command succeeds."""
    fleet.edit("sleep 1000", "true")
    fleet.edit(HEALTH, '["/bin/true"]')
    result = fleet.deploy_image(first)
    assert result.code == 1, result.out
    assert "does not run image" in result.out


def test_an_image_is_pulled_by_its_digest(
    fleet: container.ImageFleet, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The robot pulls an image by its digest, runs it if it has the release, and refuses one with another engine."""
    before = fleet.running_image()
    changed = fleet.root / "changed.tar"
    container.add_layer(first, tar_of([(f"{RELEASE}/engines/toy-fp32.onnx", b"another engine")]), changed)
    for archive, code, message in (
        (changed, 1, "engines/toy-fp32.onnx was changed"),
        (first, 0, "runs and is healthy"),
    ):
        with registry.served(archive) as reference:
            conf = fleet.root / "registries.conf"
            place = reference.partition("/")[0]
            conf.write_text(f'[[registry]]\nlocation = "{place}"\ninsecure = true\n', encoding="utf-8")
            monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
            result = fleet.hil("deploy", "report", "--to", "rover", "--image", reference)
        assert result.code == code, result.out
        assert message in result.out
        if archive == changed:
            assert fleet.running_image() == before
    assert fleet.running_image()
    assert "hil-look" not in fleet.engine("ps", "--all")
