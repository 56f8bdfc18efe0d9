"""``hil deploy report/report.json --to robot-7``: what was judged, on the robot, or a reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hil.agent.containers.container_spec import is_reference
from hil.cli.views.configs import config_at
from hil.cli.views.robots import Steps, ended
from hil.errors import ExitCode, UserError


def command(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="report.json, or its folder.")] = Path("report"),
    to: Annotated[str, typer.Option("--to", metavar="ROBOT", help="The target of hil.toml that it is for.")] = ...,  # type: ignore[assignment]  # typer's word for "required"
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            metavar="IMAGE",
            help="Bring this image that has them in it: an archive (docker save), or NAME@sha256:… to pull.",
        ),
    ] = None,
    container: Annotated[
        Path | None,
        typer.Option("--container", metavar="DIR", help="Write there what such an image is built from; no more."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="hil.toml; the nearest one if not given.")
    ] = None,
) -> int:
    """Deploy the engines that were judged, and no others, to a robot of the kind that they were judged on.

    Refuses (1) unless the gate passed, for these very engine files, on this very board, JetPack and runtime, by limits
    and tolerances that are no looser than the robot's are now. On the
    robot every file is hashed again and golden samples are answered before the switch, which is one rename. If the
    service does not get healthy in time, the earlier release is put back. What is begun ends there by itself, even if
    the connection breaks.

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
            raise UserError("--container writes what an image is built from, --image brings it: give one of them")
        build = containerize(config_at(config), report, to, container, steps.tell)
        steps.tell("written", f"{container}: build it with")
        typer.echo(build)
        return int(ExitCode.PASSED)
    return ended(deploy(config_at(config), report, to, steps.tell, None if image is None else _carried(image)), steps)


def _carried(image: str) -> Path | str:
    """An archive, or what a registry knows an image by: its digest has to be given."""
    if "@sha256:" in image and is_reference(image):
        return image
    path = Path(image)
    if not path.is_file():
        raise UserError(f"--image {image}: there is no such archive: give one, or NAME@sha256:… to have it pulled")
    return path
