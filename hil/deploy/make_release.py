"""The release that is made of a judged report: its engines, the robot's own files and golden samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.deploy import golden, release
from hil.deploy.robot_agent import deploy_spec
from hil.errors import DeployRefused
from hil.jetson import identify
from hil.report.write_report import BUNDLE, REPORT

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.load import Config
    from hil.deploy.release import Release
    from hil.deploy.report_check import Judged
    from hil.report.schema import Report


def samples_of(config: Config, robot: str, found: Judged) -> dict[str, golden.Golden]:
    """Golden samples of each model whose engine the robot gets, by its name. Raises ``DeployRefused``."""
    wanted = deploy_spec(config, robot).golden
    used = {model.name: model for model in found.report.models}
    names = sorted({engine.model for engine in found.engines})
    missing = [name for name in names if name not in used]
    if missing:
        raise DeployRefused(
            f"the report does not tell which file model {missing[0]} is: on target {robot!r}: run again"
        )
    return {name: golden.golden(config, robot, used[name], wanted) for name in names}


def built(  # noqa: PLR0913, PLR0917 - all that a release is made of
    config: Config,
    robot: str,
    found: Judged,
    samples: dict[str, golden.Golden],
    folder: Path,
    image_id: str | None = None,
) -> Release:
    """The release in ``folder``; with ``image_id``, as the image of that id has it."""
    files = release.engine_files(found.folder, found.engines)
    engines = {release.path_in_release(one): files[str(one.file)] for one in found.engines}
    for one in found.engines:
        engines |= {path: files[data.file] for path, data in release.external_paths(one).items()}
    contents = {
        **release.own_files(config, deploy_spec(config, robot)),
        **{f"golden/{name}.npz": one.content() for name, one in samples.items()},
        REPORT: found.content,
        **({} if found.bundle is None else {BUNDLE: found.bundle}),
    }
    board = board_of(found.report)
    told = release.about(
        robot=robot, report=found.report, evidence=found.evidence, engines=found.engines, identity=board
    )
    if image_id is not None:
        told["image"] = {"id": image_id}
    return release.build(told, engines, contents, folder)


def board_of(report: Report) -> dict[str, Any]:
    """The board that was judged on, in the words of a manifest."""
    identity = identify(report.target.facts.get("board"))
    module = None if identity.module is None else identity.module.slug
    return {"module": module, "l4t": identity.l4t, "jetpack": identity.jetpack}
