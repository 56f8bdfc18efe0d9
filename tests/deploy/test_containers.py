"""``hil deploy --container`` and ``--image``: real images, a real podman, a plain base, and no Jetson."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.agent.containers import image
from tests.deploy import container, registry
from tests.deploy.test_image import Entry, packed

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINES = "opt/hil/release/engines"


@pytest.fixture(scope="module")
def podman() -> Iterator[image.Podman]:
    """A podman with the plain base and nothing else in its storage."""
    if os.geteuid() != 0:
        pytest.skip("podman with storage and a mount namespace of its own needs root")
    for program in ("podman", "unshare", "ldd", "tar", "dash"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not there, which containers need")
    with tempfile.TemporaryDirectory(prefix="hil-") as place:
        made = image.podman(Path(place))
        container.plain(made, Path(place))
        yield made
        made("rm", "--all", "--force")
        made("rmi", "--all", "--force")


@pytest.fixture
def ship(local: Path, podman: image.Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> container.Ship:
    """The judged project in a folder of its own, deployed as images."""
    monkeypatch.setenv("PATH", f"{podman.folder}:{os.environ['PATH']}")
    root = tmp_path / "project"
    shutil.copytree(local, root, ignore=shutil.ignore_patterns("cache"))
    return container.Ship.launch(root, podman)


def test_an_image_runs_and_is_taken_back(ship: container.Ship) -> None:
    """Built, brought, run; one that does not get well gives way to the earlier image; a good one, and back again."""
    first = ship.build("first")
    said = ship.bring(first)
    assert said.code == 0, said.out
    assert "evidence is emulated, not device" in said.out
    one = ship.runs()
    assert one
    assert "already runs there" in ship.bring(first).out

    ship.mood("ill")
    said = ship.bring(ship.build("ill"))
    assert said.code == 1, said.out
    assert "rolled back" in said.out
    assert ship.runs() == one

    ship.mood("well", "second")
    assert ship.bring(ship.build("second")).code == 0
    two = ship.runs()
    told = ship.releases()
    images = {one["release"]: one["manifest"]["image"]["id"] for one in told["releases"]}
    assert images[told["current"]] == two != one == images[told["previous"]]
    there = ship.engine("images", "--all", "--quiet", "--no-trunc").replace("sha256:", "").split()
    assert {one, two} <= set(there)
    assert set(images.values()) == {one, two}

    back = ship.hil("rollback", "rover")
    assert back.code == 0, back.out
    assert ship.runs() == one

    place = ship.root / "hil.toml"
    files = place.read_text(encoding="utf-8").split("[targets.rover.deploy.container]")[0]
    place.write_text(files + 'restart = ["/bin/true"]\n', encoding="utf-8")
    said = ship.deploy()
    assert said.code == 4
    assert "is an image" in said.out
    assert "set directory to another folder" in said.out
    assert ship.runs() == one


def test_an_image_of_another_release_or_a_cut_one(ship: container.Ship) -> None:
    """Refused before the robot is asked: another config, another engine inside, half an archive.

    An engine that only a container shows, below a link in a layer, is refused there before anything is switched.
    """
    archive = ship.build("other")
    content = archive.read_bytes()
    ship.mood("well", "changed since")
    said = ship.bring(archive)
    assert said.code == 1
    assert "/opt/hil/release/config/robot.yaml in its image has SHA-256" in said.out
    ship.mood("well")
    context = ship.root / "forged"
    shutil.copytree(ship.root / "other-context", context)
    (context / "release/engines/toy-fp32.onnx").write_bytes(b"another engine")
    ship.engine("build", "--quiet", "--isolation", "chroot", "--tag", "hil-test:forged", str(context))
    ship.engine("save", "--quiet", "--output", str(ship.root / "forged.tar"), "hil-test:forged")
    said = ship.bring(ship.root / "forged.tar")
    assert said.code == 1
    assert "toy-fp32.onnx in its image has SHA-256" in said.out
    linked = ship.root / "linked.tar"
    layer: list[Entry] = [("opt/", None), ("opt/hil/", None), ("opt/hil/release/", None), (f"{ENGINES}/", None)]
    layer += [("srv", ENGINES), ("srv/toy-fp32.onnx", b"an engine that nobody judged")]
    image_id = container.with_layer(archive, packed(layer), linked)
    archive.write_bytes(content[: len(content) // 2])
    said = ship.bring(archive)
    assert said.code == 1
    assert "it is not a complete archive of an image" in said.out
    assert not (ship.root / "robot").exists()
    before = ship.runs()
    said = ship.bring(linked)
    assert said.code == 1, said.out
    assert f"image sha256:{image_id[:12]}… does not have the release" in said.out
    assert "engines/toy-fp32.onnx was changed" in said.out
    assert ship.runs() == before
    assert ship.releases()["current"] is None


def test_a_container_that_ends_is_not_healthy_whatever_the_command_says(ship: container.Ship) -> None:
    """The container itself is looked at, and not the health command alone."""
    place = ship.root / "hil.toml"
    text = place.read_text(encoding="utf-8").replace("sleep 1000", "true")
    text = text.replace(f'["podman", "exec", "{container.NAME}", "/bin/test", "-e", "/well"]', '["/bin/true"]')
    place.write_text(text, encoding="utf-8")
    said = ship.bring(ship.build("ends"))
    assert said.code == 1, said.out
    assert "does not run image" in said.out


def test_an_image_is_pulled_by_its_digest(ship: container.Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at on the robot: the one that has the release runs, one with another engine is refused there."""
    archive = ship.build("pulled")
    ship.engine("load", "--quiet", "--input", str(archive))
    ship.engine("save", "--quiet", "--format", "oci-dir", "--output", str(ship.root / "good"), "hil-test:pulled")
    (ship.root / "pulled-context/release/engines/toy-fp32.onnx").write_bytes(b"another engine")
    context = str(ship.root / "pulled-context")
    ship.engine("build", "--quiet", "--isolation", "chroot", "--tag", "hil-test:bad", context)
    ship.engine("save", "--quiet", "--format", "oci-dir", "--output", str(ship.root / "bad"), "hil-test:bad")
    ship.engine("rmi", "hil-test:pulled", "hil-test:bad")
    for name, code, message in (("bad", 1, "engines/toy-fp32.onnx was changed"), ("good", 0, "runs and is healthy")):
        with registry.served(ship.root / name) as reference:
            conf = ship.root / "registries.conf"
            place = reference.partition("/")[0]
            conf.write_text(f'[[registry]]\nlocation = "{place}"\ninsecure = true\n', encoding="utf-8")
            monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
            said = ship.hil("deploy", "report", "--to", "rover", "--image", reference)
        assert said.code == code, said.out
        assert message in said.out
        assert bool(ship.runs()) == (name == "good")
    assert "hil-look" not in ship.engine("ps", "--all")
