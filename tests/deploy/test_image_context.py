"""``hil deploy --container``: the build context of an image, for a report of a simulated board of JetPack 6.2."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from hil.config.spec import DeployContainerSpec
from hil.deploy.deploying import containerize, deploy
from hil.deploy.image_context import base_of
from hil.errors import DeployRefused, UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEPLOY = """
[targets.rover]
kind = "ssh"
host = "rover.example"
evidence = "emulated"
[targets.rover.deploy]
directory = "/opt/robot/perception"
health = ["/bin/true"]
config = ["robot.yaml"]
[targets.rover.deploy.container]
engine = "docker"
args = ["--env", "TOKEN=secret"]
"""


@pytest.fixture
def project(judged: Path, copied: Callable[[Path], Path]) -> Path:
    """The judged project with a robot that cannot be reached."""
    root = copied(judged)
    text = (root / "hil.toml").read_text(encoding="utf-8").split("[targets.")[0].replace('"host"', '"emulated"')
    (root / "hil.toml").write_text(text + DEPLOY, encoding="utf-8")
    (root / "robot.yaml").write_text("speed: 3\n", encoding="utf-8")
    return root


def write(root: Path, folder: Path) -> str:
    """Write the build context; return the command that builds the image."""
    return containerize(load(root / "hil.toml"), root / "report", "rover", folder, lambda *_: None)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of each file below ``folder`` by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_config_file_that_is_missing_is_named_with_its_table(project: Path, tmp_path: Path) -> None:
    """The message names the table of the robot whose key is to be corrected."""
    config = load(project / "hil.toml")
    (project / "robot.yaml").unlink()
    with pytest.raises(UserError, match=r"robot\.yaml cannot be read: .* in \[targets\.rover\.deploy\]"):
        containerize(config, project / "report", "rover", tmp_path / "out", lambda *_: None)


def test_a_context_is_the_release_on_the_boards_base(project: Path, tmp_path: Path) -> None:
    """A context has the board's base image and the manifest's files, none of ``args``, and is the same each time."""
    command = write(project, tmp_path / "a b")
    assert command.startswith("docker build --platform linux/arm64 --tag rover:")
    assert command.endswith(f"'{tmp_path}/a b'")
    write(project, tmp_path / "again")
    files = contents(tmp_path / "a b")
    assert files == contents(tmp_path / "again")
    assert "\nFROM nvcr.io/nvidia/l4t-jetpack:r36.4.0\n" in files.pop("Dockerfile").decode()
    manifest = json.loads(files.pop("release/manifest.json"))
    digests = {f"release/{file['path']}": file["sha256"] for file in manifest["files"]}
    assert {path: hashlib.sha256(content).hexdigest() for path, content in files.items()} == digests
    assert {"release/engines/toy-fp32.onnx", "release/config/robot.yaml"} < set(files)
    assert manifest["board"]["jetpack"] == "6.2"
    assert [(model["name"], [part["name"] for part in model["parts"]]) for model in manifest["models"]] == [
        ("toy", ["toy.onnx.data", "toy.onnx"])
    ]
    assert not [path for path, content in files.items() if b"TOKEN" in content]
    times = {path.stat().st_mtime for path in (tmp_path / "a b").rglob("*")}
    assert len(times) == 1


def test_a_folder_that_is_in_use(project: Path, tmp_path: Path) -> None:
    """A folder that is not empty is refused: no file is overwritten, and no partial context is left."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used/mine").touch()
    with pytest.raises(UserError, match="is not empty"):
        write(project, tmp_path / "used")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"is not empty|cannot be written"):
        write(project, tmp_path / "file/below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "project", "used"]


def test_a_refused_report_gives_no_context(project: Path, tmp_path: Path) -> None:
    """A report that may not be deployed gives no build context."""
    (engine,) = (project / "report/engines").glob("*.onnx")
    engine.write_bytes(b"another")
    with pytest.raises(DeployRefused, match="was judged"):
        write(project, tmp_path / "context")
    assert not (tmp_path / "context").exists()


def test_a_robot_gets_images_or_files(project: Path, tmp_path: Path) -> None:
    """The robot's config decides between images and files; a deployment of the other kind names the fix."""
    config = load(project / "hil.toml")
    with pytest.raises(UserError, match="deploy it with --image FILE"):
        deploy(config, project / "report", "rover", lambda *_: None)
    text = (project / "hil.toml").read_text(encoding="utf-8").split("[targets.rover.deploy.container]")[0]
    (project / "hil.toml").write_text(text.replace("health =", 'service = "x"\nhealth ='), encoding="utf-8")
    with pytest.raises(UserError, match="runs no images"):
        deploy(load(project / "hil.toml"), project / "report", "rover", lambda *_: None, tmp_path / "image.tar")
    with pytest.raises(UserError, match=r"add \[targets.rover.deploy.container\]"):
        write(project, tmp_path / "context")


@pytest.mark.parametrize("l4t", [None, "36.3.0", "36.5.0", "38.2.0", "39.2.0", "40.0.0"])
def test_a_board_without_a_known_base(l4t: str | None) -> None:
    """No base image is guessed: the message names the key that sets one, and that image is used."""
    with pytest.raises(UserError, match=r"\[targets.rover.deploy.container\] base = "):
        base_of(DeployContainerSpec(engine="docker"), l4t, "rover")
    assert base_of(DeployContainerSpec(engine="docker", base="mine:1"), l4t, "rover") == ("mine:1", "hil.toml")
