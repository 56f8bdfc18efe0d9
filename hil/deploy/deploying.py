"""The steps of ``deploy`` and ``roll_back``. All reasons to refuse are checked before the robot switches releases."""

from __future__ import annotations

import tempfile
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hil.deploy import golden, image, image_context, refusals, release, rollback_check, tightened_limits
from hil.deploy.make_release import board_of, make_release, samples_of
from hil.deploy.report_check import judged_report, refuse
from hil.deploy.robot import Outcome, Robot
from hil.deploy.robot_agent import deploy_spec, robot_agent
from hil.errors import DeployRefused, LabError, UserError
from hil.results import Evidence
from hil.session.target.board_match import confirm
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.config.load import Config
    from hil.config.spec import Precision
    from hil.deploy.release import Release
    from hil.deploy.report_check import Judged
    from hil.deploy.robot import Notify
    from hil.report.schema import EngineUsed
    from hil.targets.client import AgentClient

WARNING = "warning"
"""Name of a step whose text is shown as a warning."""


def deploy(config: Config, path: Path, robot: str, notify: Notify, carried: Path | str | None = None) -> Outcome:
    """Deploy the engines of the report at ``path`` to the target ``robot`` and return how the deployment ended.

    The robot restores its earlier release if it becomes unhealthy. ``carried`` is an image built from the output of
    ``containerize``: an archive, or ``NAME@sha256:…`` in a registry; ``None`` deploys files. ``notify`` is called with
    the name and the text of each step.

    Raises:
        DeployRefused, AttestationRefused: the release must not be deployed.
        UserError: a file, the report or ``carried`` does not fit the robot's config.
        LabError: the robot cannot be reached, is lost, or is not the configured board.
    """
    _check_kind(config, robot, carried)
    judged = _judged(config, path, robot, notify)
    samples = samples_of(config, robot, judged)
    with tempfile.TemporaryDirectory(prefix="hil-release-") as folder:
        make = partial(make_release, config, robot, judged, samples, Path(folder))
        made = make()
        if isinstance(carried, Path):
            made = make(image.verified(carried, made).image)
        with robot_agent(config, robot) as agent:
            there = Robot(robot, deploy_spec(config, robot), agent, notify)
            _compare(config, judged, agent, robot)
            notify("compared", f"{robot} has the board and the runtime of the report")
            there.open()
            if isinstance(carried, str):
                notify("pulling", carried)
                made = make(there.pull(carried))
            listing = there.listing()
            if there.runs(listing, made.digest):
                return Outcome("unchanged", f"release {made.short} already runs there", made.digest)
            there.of_one_kind(listing, listing.current)
            _send(agent, made, notify)
            if isinstance(carried, Path):
                _load(there, made, carried)
            if carried is not None:
                _compare_image(there, made)
            notify("staged" if there.stage(made.digest) else "already there", f"release {made.short}")
            return _switch(config, there, judged, samples, made)


def containerize(config: Config, path: Path, robot: str, folder: Path, notify: Notify) -> str:
    """Write the build context of an image with the engines of the report at ``path`` into ``folder``.

    Return the command that builds the image. The robot is not contacted. Raises ``DeployRefused`` and
    ``AttestationRefused`` like ``deploy``, and ``UserError`` if the robot's config has no ``container``, no base image
    is known, or ``folder`` is not empty.
    """
    spec = deploy_spec(config, robot).container
    if spec is None:
        raise UserError(f"{robot} has no container settings: add [targets.{robot}.deploy.container]")
    judged = _judged(config, path, robot, notify)
    board = board_of(judged.report)
    with tempfile.TemporaryDirectory(prefix="hil-release-") as place:
        made = make_release(config, robot, judged, samples_of(config, robot, judged), Path(place))
        return image_context.write(made, spec, board["l4t"], robot, folder)


def _check_kind(config: Config, robot: str, carried: Path | str | None) -> None:
    """Raise ``UserError`` if ``carried`` is not of the kind that the robot's config deploys: image or files (None)."""
    if (deploy_spec(config, robot).container is None) == (carried is None):
        return
    table = f"[targets.{robot}.deploy.container]"
    if carried is None:
        raise UserError(
            f"{robot} runs images ({table}): build one with --container DIR, then deploy it with --image FILE"
        )
    raise UserError(f"{robot} runs no images: on target {robot!r}: add {table} (deploy.md), or deploy without --image")


def _judged(config: Config, path: Path, robot: str, notify: Notify) -> Judged:
    judged = judged_report(config, path, robot, datetime.now(timezone.utc))
    notify(
        "judged",
        f"{judged.path}: {judged.report.decision}, {_names(judged.engines)}, evidence {judged.evidence.value}",
    )
    if judged.evidence is not Evidence.DEVICE:
        policy = config.spec.gate.evidence
        notify(WARNING, f"evidence is {judged.evidence.value}, not device: gate.evidence = {policy!r} allows it")
    return judged


def _names(engines: Sequence[EngineUsed]) -> str:
    return ", ".join(f"{engine.model} {engine.precision}" for engine in engines)


def _compare(config: Config, judged: Judged, agent: AgentClient, robot: str) -> None:
    """Raise ``DeployRefused`` if the robot is not like the report's board, or lacks a runtime of the report.

    Raises ``LabError`` if the robot's board or serial number is not the configured one.
    """
    facts = agent.probe()
    spec = config.target(robot)
    confirm(robot, spec, facts)
    reasons = refusals.of_robot(judged.engines, judged.report.target.facts, facts, spec.gpu)
    refuse(list(reasons), judged.path, robot)


def _send(agent: AgentClient, made: Release, notify: Notify) -> None:
    """Upload every file that the robot's store lacks. Raise ``DeployRefused`` if one differs from the manifest."""
    notify("uploading", f"release {made.short}: {len(made.paths)} files, {show(made.size, 'B')}")
    digests = {file["path"]: file["sha256"] for file in release.table(made)["files"]}
    for path, source in made.paths.items():
        digest = agent.put_blob(source)
        if digest != digests.get(path, made.digest):
            raise DeployRefused(f"{source} was changed while it was sent: do not change it, and run again")


def _image(made: Release) -> str:
    return str(release.table(made)["image"]["id"])


def _load(there: Robot, made: Release, archive: Path) -> None:
    name = f"image sha256:{_image(made)[:12]}…"
    there.notify("uploading", f"{name}: {show(archive.stat().st_size, 'B')}")
    there.notify("loaded" if there.load(there.agent.put_blob(archive), _image(made)) else "already there", name)


def _compare_image(there: Robot, made: Release) -> None:
    """Check on the robot that a container of the image has exactly the files of the release.

    Raises ``DeployRefused`` if the files differ, ``LabError`` if the image was removed.
    """
    if not there.has_image_of(release.table(made)):
        what = f"image sha256:{_image(made)[:12]}… was removed after it was loaded"
        raise LabError(f"{what}: on target {there.name!r}: check its container engine, and run again")
    there.notify("image", f"sha256:{_image(made)[:12]}… contains the release")


def _switch(config: Config, there: Robot, judged: Judged, samples: dict[str, golden.Golden], made: Release) -> Outcome:
    there.begin("deploy", made.digest)
    try:
        for engine in judged.engines:
            now = config.model(engine.model, there.name).tolerances.get(cast("Precision", engine.precision))
            allowed = tightened_limits.judged_by(judged.report, engine.model, engine.precision, now)
            text = golden.check(there.agent, config, there.name, engine, samples[engine.model], allowed)
            there.notify("golden samples", f"{engine.model} {engine.precision}: {text}")
    except BaseException as error:
        there.give_up(error)
        raise
    return there.activate("forward")


def roll_back(config: Config, robot: str, to: str | None, notify: Notify) -> Outcome:
    """Switch the robot back to its previous release, or to the release whose digest begins with ``to``.

    Raises:
        UserError: there is no such release, or several; or the release is an image and the config deploys files, or
            the reverse.
        DeployRefused: the release is damaged, lacks a required signature, was judged on another board or runtime, or
            its image is gone.
        LabError: the robot cannot be reached, is lost, or is not the configured board.
    """
    with robot_agent(config, robot, hold=False) as agent:
        there = Robot(robot, deploy_spec(config, robot), agent, notify)
        there.open()
        listing = there.listing()
        name = _chosen(listing.previous, [str(entry["release"]) for entry in listing.releases], to, robot)
        there.of_one_kind(listing, name)
        if there.runs(listing, name):
            return Outcome("unchanged", f"release {name[:12]} already runs there", name)
        facts = agent.probe()
        confirm(robot, config.target(robot), facts)
        entry = listing.of(name)
        rollback_check.check(config, there, name, None if entry is None else entry["manifest"], facts)
        notify("compared", f"{robot} has the board and the runtime that release {name[:12]} was judged with")
        there.begin("rollback", name)
        return there.activate("forward")


def _chosen(previous: str | None, names: Sequence[str], to: str | None, robot: str) -> str:
    if to is None:
        if previous is None:
            raise UserError(
                f"there is no earlier release: on target {robot!r}: list its releases with `hil releases {robot}`"
            )
        return previous
    matching = [name for name in names if name.startswith(to.lower())]
    if len(matching) != 1:
        what = "several releases begin" if matching else "no release begins"
        available = ", ".join(name[:12] for name in names) or "none"
        raise UserError(f"{what} with {to!r}: on target {robot!r}: choose one of: {available}")
    return matching[0]
