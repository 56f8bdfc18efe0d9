"""Writes the build context of an image: a Dockerfile and the release. Equal releases give equal bytes."""

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
"""1980-01-01 in Unix seconds, a time that every file system and archive can hold."""
DOCKERFILE = """\
# {robot}: release {digest}
# Written by `hil deploy --container`. Base: {source}
FROM {base}
LABEL io.github.pytest-hil.release="{digest}"
COPY release/ /{folder}/
"""


def base_of(spec: DeployContainerSpec, l4t: str | None, robot: str) -> tuple[str, str]:
    """Return the base image, and a text that states where it is from.

    The base image is that of ``spec``, else the known one for the board's Jetson Linux release ``l4t``. Raises
    ``UserError`` if there is neither.
    """
    if spec.base is not None:
        return spec.base, "hil.toml"
    base = base_for(l4t)
    if base is None:
        key = f'[targets.{robot}.deploy.container] base = "…"'
        board = f"Jetson Linux {l4t}" if l4t else "a board without Jetson Linux"
        raise UserError(f"no base image is known for {board}: on target {robot!r}: set one: {key}")
    return base.image, base.source


def write(made: Release, spec: DeployContainerSpec, l4t: str | None, robot: str, folder: Path) -> str:
    """Write the build context into ``folder``, atomically; return the command that builds the image.

    ``l4t`` is the Jetson Linux release of the board, ``None`` for another machine. Raises ``UserError`` if ``folder``
    is not empty or cannot be written, or if no base image is known.
    """
    base, source = base_of(spec, l4t, robot)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty: the build context needs a folder of its own: choose a new one")
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
        raise UserError(f"{folder} cannot be written: {error.strerror}: choose another folder") from None
    platform = ["--platform", "linux/arm64"] if l4t else []
    name = f"{robot.lower()}:{made.short}"
    return shlex.join([spec.engine, "build", *platform, "--tag", name, str(folder)])


def _fill(staging: Path, made: Release, text: str) -> None:
    (staging / "Dockerfile").write_text(text, encoding="utf-8", newline="\n")
    for path, source in made.paths.items():  # the manifest's check allows only paths within the release
        target = staging / "release" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for created in [*staging.rglob("*"), staging]:
        created.chmod(0o755 if created.is_dir() else 0o644)
        os.utime(created, (EPOCH, EPOCH))
