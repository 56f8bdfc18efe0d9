"""``hil deploy report/report.json --to robot-7``: deploy the judged engines to a robot, or refuse with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hil.agent.containers.container_spec import is_reference
from hil.cli.views.configs import config_at
from hil.cli.views.robots import Steps, print_outcome
from hil.errors import ExitCode, UserError


def command(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="report.json, or its folder.")] = Path("report"),
    to: Annotated[str, typer.Option("--to", metavar="ROBOT", help="The robot: a target of hil.toml.")] = ...,  # type: ignore[assignment]  # typer's mark of a required option
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="IMAGE",
            help="Deploy this container image of the engines: an archive (docker save), or NAME@sha256:… to pull.",
        ),
    ] = None,
    container: Annotated[
        Path | None,
        typer.Option(
            "--container",
            metavar="DIR",
            help="Only write the build context of a container image of the engines to this folder.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config; default: the nearest hil.toml.")
    ] = None,
) -> int:
    """Deploy the judged engine files to a robot of the same kind as the target that they were judged on.

    Refuses (exit code 1) unless the gate passed for exactly these engine files, on the robot's kind of board, JetPack
    and runtime, with limits and tolerances no looser than the robot's. The robot hashes every file again and runs
    golden samples. If the service does not become healthy in time, the previous release is restored, even if the
    connection breaks.

    [bold]Examples[/bold]

      hil deploy report/report.json --to robot-7

      hil deploy report/report.json --to robot-7 --container image

      hil deploy report/report.json --to robot-7 --image image.tar

      hil releases robot-7
    """
    from hil.deploy.deploying import containerize, deploy

    steps = Steps()
    if container is not None:
        if image is not None:
            raise UserError("--container writes the build context of an image, --image deploys an image: give only one")
        build = containerize(config_at(config), report, to, container, steps.print_step)
        steps.print_step("written", f"{container}: build it with")
        typer.echo(build)
        return int(ExitCode.PASSED)
    source = None if image is None else _image_source(image)
    return print_outcome(deploy(config_at(config), report, to, steps.print_step, source), steps)


def _image_source(image: str) -> Path | str:
    """Return ``image`` itself if it is NAME@sha256:…, else the path of the archive that it names.

    Raise ``UserError`` if there is no such archive.
    """
    if "@sha256:" in image and is_reference(image):
        return image
    path = Path(image)
    if not path.is_file():
        raise UserError(f"--image {image}: there is no such archive: name an archive, or NAME@sha256:… to pull one")
    return path
