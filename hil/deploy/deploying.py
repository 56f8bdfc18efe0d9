"""``deploy`` and ``roll_back``, step by step; every reason against it is looked for before anything is touched."""

from __future__ import annotations

import tempfile
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hil.deploy import golden, image, image_context, refusals, release, rollback_check, tightened_limits
from hil.deploy.make_release import board_of, built, samples_of
from hil.deploy.report_check import judged, refuse
from hil.deploy.robot import Outcome, Robot
from hil.deploy.robot_agent import deploy_spec, reached
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
    from hil.deploy.robot import Tell
    from hil.report.schema import EngineUsed
    from hil.targets.client import AgentClient

WARNING = "warning"
"""The step whose words are a warning, to be shown as one."""


def deploy(config: Config, path: Path, robot: str, tell: Tell, carried: Path | str | None = None) -> Outcome:
    """Brings the engines of a judged report to the robot, and back where it does not get healthy with them.

    With ``carried``, as an image that was built from what ``containerize`` wrote: an archive, or what a registry knows
    it by (``NAME@sha256:…``). Raises ``DeployRefused`` for every reason not to, ``LabError`` where the robot cannot be
    had or is lost.
    """
    _one_way(config, robot, carried)
    found = _found(config, path, robot, tell)
    samples = samples_of(config, robot, found)
    with tempfile.TemporaryDirectory(prefix="hil-release-") as folder:
        make = partial(built, config, robot, found, samples, Path(folder))
        made = make()
        if isinstance(carried, Path):
            made = make(image.verified(carried, made).image)
        with reached(config, robot) as agent:
            there = Robot(robot, deploy_spec(config, robot), agent, tell)
            _compare(config, found, agent, robot)
            tell("compared", f"{robot} is the board that was judged on, with the same runtime")
            there.open()
            if isinstance(carried, str):
                tell("pulling", carried)
                made = make(there.pull(carried))
            listing = there.listing()
            if there.runs(listing, made.digest):
                return Outcome("unchanged", f"release {made.short} runs there already", made.digest)
            there.of_one_kind(listing, listing.current)
            _send(agent, made, tell)
            if isinstance(carried, Path):
                _load(there, made, carried)
            if carried is not None:
                _compare_image(there, made)
            tell("staged" if there.stage(made.digest) else "there already", f"release {made.short}")
            return _switched(config, there, found, samples, made)


def containerize(config: Config, path: Path, robot: str, folder: Path, tell: Tell) -> str:
    """Writes what an image of the judged engines is built from into ``folder``; returns the command that builds it.

    No robot is asked. Raises ``DeployRefused`` as ``deploy`` does, ``UserError`` where no base image is known.
    """
    spec = deploy_spec(config, robot).container
    if spec is None:
        raise UserError(f"nothing says how {robot} runs containers: write [targets.{robot}.deploy.container]")
    found = _found(config, path, robot, tell)
    board = board_of(found.report)
    with tempfile.TemporaryDirectory(prefix="hil-release-") as place:
        made = built(config, robot, found, samples_of(config, robot, found), Path(place))
        return image_context.write(made, spec, board["l4t"], robot, folder)


def _one_way(config: Config, robot: str, carried: Path | str | None) -> None:
    """A robot gets images, or files: its config says which. Raises ``UserError``."""
    if (deploy_spec(config, robot).container is None) == (carried is None):
        return
    table = f"[targets.{robot}.deploy.container]"
    if carried is None:
        raise UserError(f"{robot} runs an image ({table}): build one (--container DIR), then give it with --image FILE")
    raise UserError(f"{robot} runs no images: on target {robot!r}: write {table}, see deploy.md")


def _found(config: Config, path: Path, robot: str, tell: Tell) -> Judged:
    found = judged(config, path, robot, datetime.now(timezone.utc))
    tell(
        "judged",
        f"{found.path}: {found.report.decision}, {_counted(found.engines)}, evidence {found.evidence.value}",
    )
    if found.evidence is not Evidence.DEVICE:
        policy = config.spec.gate.evidence
        tell(WARNING, f"evidence is {found.evidence.value}, not device: gate.evidence = {policy!r} lets it through")
    return found


def _counted(engines: Sequence[EngineUsed]) -> str:
    return ", ".join(f"{engine.model} {engine.precision}" for engine in engines)


def _compare(config: Config, found: Judged, agent: AgentClient, robot: str) -> None:
    """The robot as it is now, against the board that was judged on. Raises ``DeployRefused``, ``LabError``."""
    facts = agent.probe()
    spec = config.target(robot)
    confirm(robot, spec, facts)
    reasons = refusals.of_robot(found.engines, found.report.target.facts, facts, spec.gpu)
    refuse(list(reasons), found.path, robot)


def _send(agent: AgentClient, made: Release, tell: Tell) -> None:
    """Every file that is not in the robot's store, each held against the manifest by its digest."""
    tell("uploading", f"release {made.short}: {len(made.paths)} files, {show(made.size, 'B')}")
    wanted = {one["path"]: one["sha256"] for one in release.table(made)["files"]}
    for path, place in made.paths.items():
        digest = agent.put_blob(place)
        if digest != wanted.get(path, made.digest):
            raise DeployRefused(f"{place} was changed while it was sent: leave it alone and run again")


def _image(made: Release) -> str:
    return str(release.table(made)["image"]["id"])


def _load(there: Robot, made: Release, archive: Path) -> None:
    name = f"image sha256:{_image(made)[:12]}…"
    there.tell("uploading", f"{name}: {show(archive.stat().st_size, 'B')}")
    there.tell("loaded" if there.load(there.agent.put_blob(archive), _image(made)) else "there already", name)


def _compare_image(there: Robot, made: Release) -> None:
    """What a container of the image shows, which only the robot's engine knows, is the release."""
    if not there.has_image_of(release.table(made)):
        what = f"image sha256:{_image(made)[:12]}… has gone since it was loaded"
        raise LabError(f"{what}: on target {there.name!r}: see to its container engine, and run again")
    there.tell("image", f"sha256:{_image(made)[:12]}… has the release in it, whole")


def _switched(config: Config, there: Robot, found: Judged, samples: dict[str, golden.Golden], made: Release) -> Outcome:
    there.begin("deploy", made.digest)
    try:
        for engine in found.engines:
            now = config.model(engine.model, there.name).tolerances.get(cast("Precision", engine.precision))
            allowed = tightened_limits.judged_by(found.report, engine.model, engine.precision, now)
            text = golden.check(there.agent, config, there.name, engine, samples[engine.model], allowed)
            there.tell("golden samples", f"{engine.model} {engine.precision}: {text}")
    except BaseException as error:
        there.give_up(error)
        raise
    return there.activate("forward")


def roll_back(config: Config, robot: str, to: str | None, tell: Tell) -> Outcome:
    """Back to the release before, or to one that is there (the beginning of its digest), however old.

    Raises ``DeployRefused`` where it was judged on another board or runtime than the robot has now, is not signed by
    one of the robot's keys, or is damaged; ``LabError`` for another board or serial number than the config declares.
    """
    with reached(config, robot, hold=False) as agent:
        there = Robot(robot, deploy_spec(config, robot), agent, tell)
        there.open()
        found = there.listing()
        name = _wanted(found.previous, [str(one["release"]) for one in found.releases], to, robot)
        there.of_one_kind(found, name)
        if there.runs(found, name):
            return Outcome("unchanged", f"release {name[:12]} runs there already", name)
        facts = agent.probe()
        confirm(robot, config.target(robot), facts)
        about = found.of(name)
        rollback_check.check(config, there, name, None if about is None else about["manifest"], facts)
        tell("compared", f"{robot} is the board that release {name[:12]} was judged on, with the same runtime")
        there.begin("rollback", name)
        return there.activate("forward")


def _wanted(previous: str | None, names: Sequence[str], to: str | None, robot: str) -> str:
    if to is None:
        if previous is None:
            raise UserError(
                f"there is no earlier release: on target {robot!r}: `hil releases {robot}` lists what is there"
            )
        return previous
    fitting = [name for name in names if name.startswith(to.lower())]
    if len(fitting) != 1:
        what = "several releases begin" if fitting else "no release begins"
        there = ", ".join(name[:12] for name in names) or "none"
        raise UserError(f"{what} with {to!r}: on target {robot!r}: there is {there}")
    return fitting[0]
