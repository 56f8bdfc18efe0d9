"""Makes a release from a judged report: its engines, the robot's config files and golden samples."""

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


def samples_of(config: Config, robot: str, judged: Judged) -> dict[str, golden.Golden]:
    """Return the golden samples of each model with an engine in ``judged``, by model name.

    Raises ``DeployRefused`` if the report does not record a model, and the errors of ``golden.golden``.
    """
    count = deploy_spec(config, robot).golden
    used = {model.name: model for model in judged.report.models}
    names = sorted({engine.model for engine in judged.engines})
    missing = [name for name in names if name not in used]
    if missing:
        raise DeployRefused(
            f"the report does not record the file of model {missing[0]}: on target {robot!r}: run the checks again"
        )
    return {name: golden.golden(config, robot, used[name], count) for name in names}


def make_release(  # noqa: PLR0913, PLR0917 - all parts of a release
    config: Config,
    robot: str,
    judged: Judged,
    samples: dict[str, golden.Golden],
    folder: Path,
    image_id: str | None = None,
) -> Release:
    """Write the release into ``folder`` and return it; the manifest records ``image_id``, if any."""
    files = release.engine_files(judged.folder, judged.engines)
    engines = {release.path_in_release(engine): files[str(engine.file)] for engine in judged.engines}
    for engine in judged.engines:
        engines |= {path: files[data.file] for path, data in release.external_paths(engine).items()}
    contents = {
        **release.own_files(config, robot, deploy_spec(config, robot)),
        **{f"golden/{name}.npz": model_samples.content() for name, model_samples in samples.items()},
        REPORT: judged.content,
        **({} if judged.bundle is None else {BUNDLE: judged.bundle}),
    }
    board = board_of(judged.report)
    about = release.about(
        robot=robot, report=judged.report, evidence=judged.evidence, engines=judged.engines, identity=board
    )
    if image_id is not None:
        about["image"] = {"id": image_id}
    return release.build(about, engines, contents, folder)


def board_of(report: Report) -> dict[str, Any]:
    """Return ``module``, ``l4t`` (Jetson Linux) and ``jetpack`` of the report's board; ``None`` for what is unknown."""
    identity = identify(report.target.facts.get("board"))
    module = None if identity.module is None else identity.module.slug
    return {"module": module, "l4t": identity.l4t, "jetpack": identity.jetpack}
