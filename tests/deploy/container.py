"""A robot that runs images: this machine with podman, and a base image with a shell and a few programs."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

from tests.agent.containers import image
from tests.deploy.fleet import Fleet
from tests.plugins.project import SUITES, Project

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.fleet import CommandResult

REQUIRED = ("contract.*", "parity.*", "latency.p99")
SELECTED = ("-k", "contract or parity or property or p99")
"""The rows that the tests of deployments need."""
BASE, NAME = "hil-test:plain", "hil-test-robot"
PROGRAMS = ("dash", "sleep", "touch", "test", "grep")
SERVICE = "grep -q 'mood: well' /opt/hil/release/config/robot.yaml && touch /well; sleep 1000"
TARGET = """
[targets.rover]
kind = "local"
store = "{store}"
evidence = "emulated"
threads = 1
"""
DEPLOY = """
[targets.rover.deploy]
directory = "{folder}"
health = ["podman", "exec", "{name}", "/bin/test", "-e", "/well"]
health_within = "3 s"
config = ["robot.yaml"]
golden = 4
keep = 1
[targets.rover.deploy.container]
engine = "podman"
name = "{name}"
{base}
args = {args}
command = ["/bin/dash", "-c", "{service}"]
"""


def import_base(engine: image.Podman, folder: Path) -> None:
    """Import the base image; it contains no distribution and no NVIDIA software."""
    root = folder / "plain"
    for name in ("dev", "proc", "sys", "etc", "run", "tmp", "bin"):
        (root / name).mkdir(parents=True)
    for name in PROGRAMS:
        shutil.copy(shutil.which(name) or name, root / "bin" / name)
    listing = subprocess.run(
        ["/usr/bin/ldd", *map(str, (root / "bin").iterdir())], capture_output=True, text=True, check=True
    ).stdout
    for library in set(image.LIBRARY.findall(listing)):
        place = root / library[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, place)
    tar = folder / "plain.tar"
    subprocess.run(["/usr/bin/tar", "-C", root, "-cf", tar, "."], check=True)
    engine("import", "-q", str(tar), BASE)


def judged_project(root: Path) -> Path:
    """Return a project with a report of a run on this machine."""
    project = Project.make(root)
    project.edit('evidence = "host"', 'evidence = "emulated"')
    with project.toml.open("a", encoding="utf-8") as file:
        file.write(TARGET.format(store=root / "store"))
    project.require(*REQUIRED)
    ran = project.run(*SUITES, *SELECTED, "--target=rover", "--hil-fallback=fail", "--hil-gate")
    assert ran.code == 0, ran.out
    return root


class ImageFleet(Fleet):
    """A judged project whose releases the command line deploys as images."""

    engine: image.Podman

    @classmethod
    def create(cls, root: Path, engine: image.Podman, *, base: str | None = BASE) -> ImageFleet:
        """Add the robot to the project in ``root``, with this base image; None selects the board's default."""
        fleet = cls(root, None)  # type: ignore[arg-type]  # no simulated board
        fleet.engine = engine
        args = [*image.ARGS, "--stop-timeout", "0", "--network", "none"]
        text = DEPLOY.format(
            folder=root / "robot/releases",
            name=NAME,
            base="" if base is None else f'base = "{base}"',
            args=json.dumps(args),
            service=SERVICE,
        )
        with (root / "hil.toml").open("a", encoding="utf-8") as file:
            file.write(text)
        fleet.mood("well")
        return fleet

    def build(self, name: str) -> Path:
        """Build an image for the current config; return its archive."""
        context, archive = self.root / f"{name}-context", self.root / f"{name}.tar"
        result = self.hil("deploy", "report", "--to", "rover", "--container", str(context))
        assert result.code == 0, result.out
        self.engine("build", "--quiet", "--isolation", "chroot", "--tag", f"hil-test:{name}", str(context))
        self.engine("save", "--quiet", "--output", str(archive), f"hil-test:{name}")
        self.engine("rmi", f"hil-test:{name}")
        return archive

    def edit(self, old: str, new: str) -> None:
        """Replace text in ``hil.toml``; the text must exist."""
        place = self.root / "hil.toml"
        text = place.read_text(encoding="utf-8")
        assert old in text
        place.write_text(text.replace(old, new), encoding="utf-8")

    def deploy_image(self, archive: Path) -> CommandResult:
        """Run ``hil deploy report --to rover --image ARCHIVE``."""
        return self.hil("deploy", "report", "--to", "rover", "--image", str(archive))

    def running_image(self) -> str:
        """Return the id of the container's image; empty if no container runs."""
        try:
            state = self.engine("container", "inspect", "--format", "{{.State.Running}} {{.Image}}", NAME)
        except OSError:
            return ""
        running, _, image_id = state.partition(" ")
        return image_id if running == "true" else ""


def add_layer(archive: Path, layer: bytes, out: Path) -> str:
    """Write the archive's image with an additional layer (a tar file) to ``out``; return the new image's id."""
    with tarfile.open(archive) as tar:
        files = {
            member.name: tar.extractfile(member) for member in tar.getmembers() if member.isfile() or member.islnk()
        }
        members = {name: file.read() for name, file in files.items() if file is not None}
    (listed,) = json.loads(members["manifest.json"])
    config = json.loads(members[listed["Config"]])
    contents = [*(members[name] for name in listed["Layers"]), layer]
    config["rootfs"]["diff_ids"] = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents]
    config.pop("history", None)
    text = json.dumps(config).encode()
    names = [f"{number}/layer.tar" for number in range(len(contents))]
    listing = json.dumps([{"Config": "config.json", "RepoTags": None, "Layers": names}]).encode()
    with tarfile.open(out, "w") as tar:
        written = {**dict(zip(names, contents, strict=True)), "config.json": text, "manifest.json": listing}
        for name, content in written.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return hashlib.sha256(text).hexdigest()
