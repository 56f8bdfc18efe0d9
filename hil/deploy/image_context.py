"""What an image is built from: a Dockerfile, and the release that is to lie in it. The same release, the same bytes."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hil.deploy.image import FOLDER
from hil.errors import UserError
from hil.jetson.bases import base_for

if TYPE_CHECKING:
    from hil.config.spec import DeployContainerSpec
    from hil.deploy.release import Release

EPOCH = 315532800
"""1980-01-01, in seconds: a time that every file system and archive can hold."""
DOCKERFILE = """\
# {robot}: release {digest}
# Written by `hil deploy --container`. Base: {source}
FROM {base}
LABEL io.github.pytest-hil.release="{digest}"
COPY release/ /{folder}/
"""


def base_of(spec: DeployContainerSpec, l4t: str | None, robot: str) -> tuple[str, str]:
    """The base image and where that is from. Raises ``UserError`` for a board that none is known for."""
    if spec.base is not None:
        return spec.base, "hil.toml"
    found = base_for(l4t)
    if found is None:
        key = f'[targets.{robot}.deploy.container] base = "…"'
        board = f"Jetson Linux {l4t}" if l4t else "a board without Jetson Linux"
        raise UserError(f"no base image is known for {board}: on target {robot!r}: name one yourself: {key}")
    return found.image, found.source


def write(made: Release, spec: DeployContainerSpec, l4t: str | None, robot: str, folder: Path) -> str:
    """Writes the build context into ``folder``, whole or not at all; returns the command that builds the image.

    Raises ``UserError`` where something is there already, or cannot be written.
    """
    base, source = base_of(spec, l4t, robot)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty: the build context needs a folder of its own: name a new one")
    text = DOCKERFILE.format(robot=robot, digest=made.digest, source=source, base=base, folder=FOLDER)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _fill(staging, made, text)
            staging.replace(folder)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}: name another folder") from None
    platform = ["--platform", "linux/arm64"] if l4t else []
    name = f"{robot.lower()}:{made.short}"
    return shlex.join([spec.engine, "build", *platform, "--tag", name, str(folder)])


def _fill(staging: Path, made: Release, text: str) -> None:
    (staging / "Dockerfile").write_text(text, encoding="utf-8", newline="\n")
    for path, place in made.paths.items():  # of which the manifest's check has let none lead anywhere else
        target = staging / "release" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place, target)
    for one in [*staging.rglob("*"), staging]:
        one.chmod(0o755 if one.is_dir() else 0o644)
        os.utime(one, (EPOCH, EPOCH))
