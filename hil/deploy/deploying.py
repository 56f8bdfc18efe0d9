"""``deploy`` and ``roll_back``, step by step; every reason against it is looked for before anything is touched."""

from __future__ import annotations

import getpass
import hashlib
import os
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil import gate
from hil.demands import Circumstances
from hil.deploy import context, golden, image, refusing, release
from hil.deploy.robot import Outcome, Robot
from hil.errors import DeployRefused, LabError, TargetUnreachable, UserError
from hil.files import file_digest
from hil.importers import isaac_ros
from hil.jetson import identify
from hil.model import EVIDENCE_RANK, Evidence
from hil.report.read import content_of, file_in, parse
from hil.report.write import BUNDLE, REPORT
from hil.session.board import confirm
from hil.targets.base import open_target
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hil.config.load import Config
    from hil.config.spec import DeploySpec, GateSpec
    from hil.deploy.release import Release
    from hil.deploy.robot import Tell
    from hil.report.schema import EngineUsed, Report
    from hil.targets.client import AgentClient

WARNING = "warning"
"""The step whose words are a warning, to be shown as one."""


@dataclass(frozen=True)
class Judged:
    """A report that may be deployed from: its bytes, what they say, and the engines that the robot is to get."""

    path: Path
    content: bytes = field(repr=False)
    report: Report = field(repr=False)
    engines: tuple[EngineUsed, ...] = field(repr=False)
    evidence: Evidence = Evidence.CPU_FALLBACK
    bundle: bytes | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """Where the report and its engines lie."""
        return self.path.parent


def deploy_spec(config: Config, name: str) -> DeploySpec:
    """``[targets.NAME.deploy]``. Raises ``UserError`` where there is none."""
    spec = config.target(name).deploy
    if spec is None:
        where = config.where("targets", name)
        raise UserError(
            f"{where}: nothing says how {name} is deployed to: write [targets.{name}.deploy], see deploy.md"
        )
    return spec


def judged(config: Config, path: Path, robot: str, now: datetime) -> Judged:
    """The report at ``path``, held against everything that can be said without the robot.

    Raises ``DeployRefused`` with every reason, ``UserError`` for what is no report.
    """
    spec = deploy_spec(config, robot)
    path = file_in(path, REPORT)
    content = content_of(path)
    report = parse(content, str(path))
    gate.verify(report, str(path))
    engines = release.chosen(report, spec.engines, robot)
    files = release.engine_files(path.parent, engines)
    decision = gate.judge(report, config.spec.gate, around=_around(path, config.spec.gate, now))
    reasons = [
        *refusing.of_report(report, decision, now=now, max_age=spec.max_age),
        *refusing.of_engines(report, engines),
        *refusing.of_files(engines, {name: file_digest(place) for name, place in files.items()}),
        *_of_nodes(config, robot, engines),
    ]
    evidence = refusing.evidence_of(report, engines)
    if EVIDENCE_RANK[evidence] < EVIDENCE_RANK[Evidence(config.spec.gate.evidence)]:
        reasons.append(
            f"its engines have evidence {evidence.value}, and gate.evidence asks for {config.spec.gate.evidence}"
        )
    _refuse(reasons, path, robot)
    bundle = _signed(config, robot, path, content, files.values(), now) if spec.keys else None
    return Judged(path, content, report, engines, evidence, bundle)


def _around(path: Path, policy: GateSpec, now: datetime) -> Circumstances:
    """The moment, and who signed the report, where the policy asks for that."""
    if not policy.signed_by:
        return Circumstances(now)
    from hil.attestation import circumstances  # noqa: PLC0415 - only who wants signatures needs it

    return circumstances(path, policy)


def _of_nodes(config: Config, robot: str, engines: Sequence[EngineUsed]) -> Iterator[str]:
    """An Isaac ROS node that is to load an engine has to look where the engine will lie."""
    folder = deploy_spec(config, robot).directory
    for name in dict.fromkeys(engine.model for engine in engines):
        asked = config.model(name, robot).isaac_ros
        if asked is None:
            continue
        file, node = isaac_ros.split(asked)
        places = [f"{folder}/current/{release.path_in_release(one)}" for one in engines if one.model == name]
        path = isaac_ros.read(config.resolve(file), node).engine_file_path or "nothing"
        # The home folder's own path is the robot's to know: only what follows it is compared.
        if not any(path == place or (place[0] == "~" and path.endswith(place[1:])) for place in places):
            yield f"{file}: engine_file_path is {path}, and the engine will lie at {' or '.join(places)}"


def _signed(  # noqa: PLR0913, PLR0917 - what was signed, and by whom it has to be
    config: Config, robot: str, path: Path, content: bytes, engines: Iterable[Path], now: datetime
) -> bytes:
    """The bundle beside the report, if one of the robot's keys signed it, over these bytes and these engines.

    Raises ``AttestationRefused``, ``UserError`` where there is none.
    """
    from hil.attestation import Freshness, public_key, verify  # noqa: PLC0415 - only who wants signatures needs it

    spec, place = deploy_spec(config, robot), path.parent / BUNDLE
    if not place.is_file():
        what = f"there is no {BUNDLE} beside it, and [targets.{robot}.deploy] has keys"
        raise DeployRefused(f"{path} is not signed: on target {robot!r}: {what}: sign it with `hil attest`")
    verified = verify(
        place,
        keys=[public_key(config.resolve(key)) for key in spec.keys],
        report=path,
        files=[("engine", engine) for engine in engines],
        fresh=Freshness(max_age=spec.max_age, report=hashlib.sha256(content).hexdigest()),
        now=now,
    )
    if not verified.passed:
        raise DeployRefused(f"{place} says {verified.decision}: on target {robot!r}: run the checks again")
    return content_of(place)


def _refuse(reasons: Sequence[str], path: Path, robot: str) -> None:
    if reasons:
        listed = "".join(f"\n  - {reason}" for reason in dict.fromkeys(reasons))
        what = "run the checks again on a board like it, or mend what is named"
        raise DeployRefused(f"{path} is not deployed: on target {robot!r}: {what}:{listed}")


def deploy(config: Config, path: Path, robot: str, tell: Tell, carried: Path | str | None = None) -> Outcome:
    """Brings the engines of a judged report to the robot, and back where it does not get healthy with them.

    With ``carried``, as an image that was built from what ``containerize`` wrote: an archive, or what a registry knows
    it by (``NAME@sha256:…``). Raises ``DeployRefused`` for every reason not to, ``LabError`` where the robot cannot be
    had or is lost.
    """
    _one_way(config, robot, carried)
    found = _found(config, path, robot, tell)
    samples = _samples(config, robot, found)
    with tempfile.TemporaryDirectory(prefix="hil-release-") as folder:
        make = partial(_built, config, robot, found, samples, Path(folder))
        made = make()
        if isinstance(carried, Path):
            archive = image.verified(carried, made)
            tell("image", f"sha256:{archive.image[:12]}… has release {made.short} in it, whole")
            made = make(archive.image)
        with reached(config, robot) as agent:
            there = Robot(robot, deploy_spec(config, robot), agent, tell)
            _compare(config, found, agent, robot)
            tell("compared", f"{robot} is the board that was judged on, with the same runtime")
            current = there.open()
            if isinstance(carried, str):
                tell("pulling", carried)
                made = make(there.pull(carried, made.digest))
                tell("image", f"sha256:{_image(made)[:12]}… has the release in it, whole")
            listing = there.listing()
            if current == made.digest and not listing.damage:
                return Outcome("unchanged", f"release {made.short} runs there already", current)
            there.of_one_kind(listing, current)
            _send(agent, made, tell)
            if isinstance(carried, Path):
                _load(there, made, carried)
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
    board = _board(found.report)
    with tempfile.TemporaryDirectory(prefix="hil-release-") as place:
        made = _built(config, robot, found, _samples(config, robot, found), Path(place))
        return context.write(made, spec, board["l4t"], robot, folder)


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


def _image(made: Release) -> str:
    return str(release.table(made)["image"]["id"])


def _load(there: Robot, made: Release, archive: Path) -> None:
    name = f"image sha256:{_image(made)[:12]}…"
    there.tell("uploading", f"{name}: {show(archive.stat().st_size, 'B')}")
    there.tell("loaded" if there.load(there.agent.put_blob(archive), _image(made)) else "there already", name)


def _switched(config: Config, there: Robot, found: Judged, samples: dict[str, golden.Golden], made: Release) -> Outcome:
    there.begin("deploy", made.digest)
    try:
        for engine in found.engines:
            text = golden.check(there.agent, config, there.name, engine, samples[engine.model])
            there.tell("golden samples", f"{engine.model} {engine.precision}: {text}")
    except BaseException as error:
        there.give_up(error)
        raise
    return there.activate("forward")


def roll_back(config: Config, robot: str, to: str | None, tell: Tell) -> Outcome:
    """Back to the release before, or to one that is there (the beginning of its digest)."""
    with reached(config, robot, hold=False) as agent:
        there = Robot(robot, deploy_spec(config, robot), agent, tell)
        there.open()
        found = there.listing()
        release_there = _wanted(found.previous, [str(one["release"]) for one in found.releases], to, robot)
        if release_there == found.current:
            return Outcome("unchanged", f"release {release_there[:12]} runs there already", release_there)
        there.of_one_kind(found, release_there)
        there.begin("rollback", release_there)
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


@contextmanager
def reached(config: Config, robot: str, *, hold: bool = True) -> Iterator[AgentClient]:
    """An agent on the robot; with ``hold`` nobody measures there meanwhile. Raises ``LabError``."""
    spec = config.target(robot)
    deploy_spec(config, robot)
    with open_target(robot, spec) as target:
        try:
            agent = target.start_agent()
        except TargetUnreachable as error:
            raise LabError(str(error)) from None
        with agent:
            if hold:
                agent.hold(uuid.uuid4().hex, f"{getpass.getuser()} (hil deploy, pid {os.getpid()})")
            yield agent


def _samples(config: Config, robot: str, found: Judged) -> dict[str, golden.Golden]:
    wanted = deploy_spec(config, robot).golden
    used = {model.name: model for model in found.report.models}
    names = sorted({engine.model for engine in found.engines})
    missing = [name for name in names if name not in used]
    if missing:
        raise DeployRefused(
            f"the report does not tell which file model {missing[0]} is: on target {robot!r}: run again"
        )
    return {name: golden.golden(config, robot, used[name], wanted) for name in names}


def _built(  # noqa: PLR0913, PLR0917 - all that a release is made of
    config: Config,
    robot: str,
    found: Judged,
    samples: dict[str, golden.Golden],
    folder: Path,
    image_id: str | None = None,
) -> Release:
    files = release.engine_files(found.folder, found.engines)
    engines = {release.path_in_release(one): files[str(one.file)] for one in found.engines}
    contents = {
        **release.own_files(config, deploy_spec(config, robot)),
        **{f"golden/{name}.npz": one.content() for name, one in samples.items()},
        REPORT: found.content,
        **({} if found.bundle is None else {BUNDLE: found.bundle}),
    }
    board = _board(found.report)
    told = release.about(
        robot=robot, report=found.report, evidence=found.evidence, engines=found.engines, identity=board
    )
    if image_id is not None:
        told["image"] = {"id": image_id}
    return release.build(told, engines, contents, folder)


def _board(report: Report) -> dict[str, Any]:
    identity = identify(report.target.facts.get("board"))
    module = None if identity.module is None else identity.module.slug
    return {"module": module, "l4t": identity.l4t, "jetpack": identity.jetpack}


def _counted(engines: Sequence[EngineUsed]) -> str:
    return ", ".join(f"{engine.model} {engine.precision}" for engine in engines)


def _compare(config: Config, found: Judged, agent: AgentClient, robot: str) -> None:
    """The robot as it is now, against the board that was judged on. Raises ``DeployRefused``, ``LabError``."""
    facts = agent.probe()
    confirm(robot, config.target(robot), facts)
    versions = facts.get("runtimes")
    judged_on = identify(found.report.target.facts.get("board"))
    reasons = refusing.of_robot(
        judged_on, identify(facts.get("board")), found.engines, versions if isinstance(versions, dict) else {}
    )
    _refuse(list(reasons), found.path, robot)


def _send(agent: AgentClient, made: Release, tell: Tell) -> None:
    """Every file that is not in the robot's store, each held against the manifest by its digest."""
    tell("uploading", f"release {made.short}: {len(made.paths)} files, {show(made.size, 'B')}")
    wanted = {one["path"]: one["sha256"] for one in release.table(made)["files"]}
    for path, place in made.paths.items():
        digest = agent.put_blob(place)
        if digest != wanted.get(path, made.digest):
            raise DeployRefused(f"{place} was changed while it was sent: leave it alone and run again")
