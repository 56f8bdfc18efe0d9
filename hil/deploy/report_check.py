"""Whether a report may be deployed from, by all that can be said without the robot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.catalogue import CATALOGUE
from hil.deploy import refusals, release, tightened_limits
from hil.deploy.robot_agent import deploy_spec
from hil.errors import DeployRefused
from hil.files.digests import file_digest
from hil.gate import gate
from hil.gate.circumstances import circumstances
from hil.importers import isaac_ros
from hil.onnx_files.external_data import external_files
from hil.plan import expand
from hil.report.read_report import content_of, file_in, parse
from hil.report.write_report import BUNDLE, REPORT
from hil.results import EVIDENCE_RANK, Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from hil.config.load import Config
    from hil.report.schema import EngineUsed, Report


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
    policies = {"the run's own policy": report.policy, "the gate of hil.toml": config.spec.gate}
    decisions = {
        name: gate.judge(report, policy, around=circumstances(path, policy, now=now))
        for name, policy in policies.items()
    }
    other = list(refusals.of_files(engines, {name: file_digest(place) for name, place in files.items()}))
    reasons = [
        *refusals.of_report(report, decisions, now=now, max_age=spec.max_age),
        *refusals.of_engines(report, engines),
        *other,
        *_of_nodes(config, robot, engines),
        *([] if other else _of_external(engines, files)),  # of files that were not judged nothing is read
        *_of_config(config, report, robot),
    ]
    evidence = refusals.evidence_of(report, engines)
    if EVIDENCE_RANK[evidence] < EVIDENCE_RANK[Evidence(config.spec.gate.evidence)]:
        reasons.append(
            f"its engines have evidence {evidence.value}, and gate.evidence asks for {config.spec.gate.evidence}"
        )
    refuse(reasons, path, robot)
    # What is signed covers the external data: an engine names it by its digest.
    signed = [files[str(engine.file)] for engine in engines]
    bundle = _signed(config, robot, path, content, signed, now) if spec.keys else None
    return Judged(path, content, report, engines, evidence, bundle)


def _of_config(config: Config, report: Report, robot: str) -> Iterator[str]:
    """What ``hil.toml`` demands now of the robot and of the models and precisions that it gets."""
    compares = any(check.id in CATALOGUE and CATALOGUE[check.id].regresses for check in report.checks)
    patterns = deploy_spec(config, robot).engines
    plan = expand(config, robot, baseline=compares)
    rows = [
        row
        for row in (*plan.rows, *plan.own)  # an own check may be of no model, or of a model in every precision
        if not row.precision or any(release.named(pattern, row.model, row.precision) for pattern in patterns)
    ]
    models = {name: config.model(name, robot) for name in config.spec.models}
    yield from tightened_limits.of_rows(report, rows, models)
    yield from tightened_limits.of_state(report, config.target(robot))


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


def _of_external(engines: Sequence[EngineUsed], files: Mapping[str, Path]) -> Iterator[str]:
    """An engine that is an ONNX file needs what it names and no report may leave out."""
    for engine in engines:
        place = files.get(engine.file or "")
        if place is None or place.suffix != ".onnx" or file_digest(place) != engine.digest:
            continue  # not the judged file: that is a reason by itself
        named = {file.location for file in external_files(place)}
        if named != {one.digest for one in engine.external}:
            yield f"{engine.file}: its external data is not the files that the report lists for it"


def _signed(  # noqa: PLR0913, PLR0917 - what was signed, and by whom it has to be
    config: Config, robot: str, path: Path, content: bytes, engines: Iterable[Path], now: datetime
) -> bytes:
    """The bundle beside the report, if one of the robot's keys signed it, over these bytes and these engines.

    Raises ``AttestationRefused``, ``UserError`` where there is none.
    """
    from hil.attestation import Freshness, public_key, verify

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


def refuse(reasons: Sequence[str], path: Path, robot: str) -> None:
    """Raises ``DeployRefused`` with every reason, if there is one."""
    if reasons:
        what = "run the checks again on a board like it, or mend what is named"
        listed = [f"  - {reason}" for reason in dict.fromkeys(reasons)]
        raise DeployRefused(f"{path} is not deployed: on target {robot!r}: {what}:", *listed)
