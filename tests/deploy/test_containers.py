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

ENGINES = "opt/hil/release/engines"


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


@pytest.fixture
def fleet(local: Path, podman: image.Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> container.ImageFleet:
    """A copy of the judged project that is deployed as images."""
    monkeypatch.setenv("PATH", f"{podman.folder}:{os.environ['PATH']}")
    root = tmp_path / "project"
    shutil.copytree(local, root, ignore=shutil.ignore_patterns("cache"))
    return container.ImageFleet.create(root, podman)


def test_deploy_and_roll_back_images(fleet: container.ImageFleet) -> None:
    """A deployed image runs; an unhealthy one is replaced by the image before it, and a rollback runs it again."""
    first = fleet.build("first")
    result = fleet.deploy_image(first)
    assert result.code == 0, result.out
    assert "evidence is emulated, not device" in result.out
    first_image = fleet.running_image()
    assert first_image
    assert "already runs there" in fleet.deploy_image(first).out

    fleet.mood("ill")
    result = fleet.deploy_image(fleet.build("ill"))
    assert result.code == 1, result.out
    assert "rolled back" in result.out
    assert fleet.running_image() == first_image

    fleet.mood("well", "second")
    assert fleet.deploy_image(fleet.build("second")).code == 0
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


def test_a_wrong_or_truncated_image_is_refused(fleet: container.ImageFleet) -> None:
    """An image with another config or engine, or half an archive, is refused before the robot is contacted.

    An engine that only a container shows, below a link in a layer, is refused on the robot, and no release is switched.
    """
    archive = fleet.build("other")
    content = archive.read_bytes()
    fleet.mood("well", "changed since")
    result = fleet.deploy_image(archive)
    assert result.code == 1
    assert "/opt/hil/release/config/robot.yaml in its image has SHA-256" in result.out
    fleet.mood("well")
    context = fleet.root / "forged"
    shutil.copytree(fleet.root / "other-context", context)
    (context / "release/engines/toy-fp32.onnx").write_bytes(b"another engine")
    fleet.engine("build", "--quiet", "--isolation", "chroot", "--tag", "hil-test:forged", str(context))
    fleet.engine("save", "--quiet", "--output", str(fleet.root / "forged.tar"), "hil-test:forged")
    result = fleet.deploy_image(fleet.root / "forged.tar")
    assert result.code == 1
    assert "toy-fp32.onnx in its image has SHA-256" in result.out
    linked = fleet.root / "linked.tar"
    layer: list[Entry] = [("opt/", None), ("opt/hil/", None), ("opt/hil/release/", None), (f"{ENGINES}/", None)]
    layer += [("srv", ENGINES), ("srv/toy-fp32.onnx", b"an engine that nobody judged")]
    image_id = container.add_layer(archive, tar_of(layer), linked)
    archive.write_bytes(content[: len(content) // 2])
    result = fleet.deploy_image(archive)
    assert result.code == 1
    assert "it is not a complete archive of an image" in result.out
    assert not (fleet.root / "robot").exists()
    before = fleet.running_image()
    result = fleet.deploy_image(linked)
    assert result.code == 1, result.out
    assert f"image sha256:{image_id[:12]}… does not have the release" in result.out
    assert "engines/toy-fp32.onnx was changed" in result.out
    assert fleet.running_image() == before
    assert fleet.releases()["current"] is None


def test_a_container_that_exits_is_unhealthy(fleet: container.ImageFleet) -> None:
    """A container that has exited is unhealthy even if the health command succeeds."""
    place = fleet.root / "hil.toml"
    text = place.read_text(encoding="utf-8").replace("sleep 1000", "true")
    text = text.replace(f'["podman", "exec", "{container.NAME}", "/bin/test", "-e", "/well"]', '["/bin/true"]')
    place.write_text(text, encoding="utf-8")
    result = fleet.deploy_image(fleet.build("ends"))
    assert result.code == 1, result.out
    assert "does not run image" in result.out


def test_an_image_is_pulled_by_its_digest(fleet: container.ImageFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The robot pulls an image by its digest, runs it if it has the release, and refuses one with another engine."""
    archive = fleet.build("pulled")
    fleet.engine("load", "--quiet", "--input", str(archive))
    fleet.engine("save", "--quiet", "--format", "oci-dir", "--output", str(fleet.root / "good"), "hil-test:pulled")
    (fleet.root / "pulled-context/release/engines/toy-fp32.onnx").write_bytes(b"another engine")
    context = str(fleet.root / "pulled-context")
    fleet.engine("build", "--quiet", "--isolation", "chroot", "--tag", "hil-test:bad", context)
    fleet.engine("save", "--quiet", "--format", "oci-dir", "--output", str(fleet.root / "bad"), "hil-test:bad")
    fleet.engine("rmi", "hil-test:pulled", "hil-test:bad")
    for name, code, message in (("bad", 1, "engines/toy-fp32.onnx was changed"), ("good", 0, "runs and is healthy")):
        with registry.served(fleet.root / name) as reference:
            conf = fleet.root / "registries.conf"
            place = reference.partition("/")[0]
            conf.write_text(f'[[registry]]\nlocation = "{place}"\ninsecure = true\n', encoding="utf-8")
            monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
            result = fleet.hil("deploy", "report", "--to", "rover", "--image", reference)
        assert result.code == code, result.out
        assert message in result.out
        assert bool(fleet.running_image()) == (name == "good")
    assert "hil-look" not in fleet.engine("ps", "--all")
