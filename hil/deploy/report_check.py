"""Checks that a report may be deployed, as far as possible without contacting the robot."""

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
from hil.gate.demands import age_of
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
    """A report that may be deployed: its bytes, its parsed content, and the engines that the robot gets.

    ``evidence`` is the weakest evidence of these engines' rows. ``bundle`` is the content of the report's attestation
    bundle; ``None`` if the robot requires no signature.
    """

    path: Path
    content: bytes = field(repr=False)
    report: Report = field(repr=False)
    engines: tuple[EngineUsed, ...] = field(repr=False)
    evidence: Evidence = Evidence.CPU_FALLBACK
    bundle: bytes | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """The folder of the report and its engines."""
        return self.path.parent


def judged_report(config: Config, path: Path, robot: str, now: datetime) -> Judged:
    """Return the report at ``path`` if it may be deployed, as far as that is known without contacting the robot.

    Raises:
        DeployRefused: there are reasons against the deployment.
        UserError: ``path`` is not a report, has no engine for the robot, or its signature is for other files.
        AttestationRefused: the robot requires a signature, and the report's signature does not verify.
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
        name: gate.judge(report, policy, around=circumstances(path, policy, now=now, release=True))
        for name, policy in policies.items()
    }
    changed_files = list(refusals.of_files(engines, {name: file_digest(file) for name, file in files.items()}))
    reasons = [
        *refusals.of_report(report, decisions),
        *filter(None, [age_of(report.run.finished or "", now, spec.max_age)[1]]),
        *refusals.of_engines(report, engines),
        *changed_files,
        *_of_nodes(config, robot, engines),
        *([] if changed_files else _of_external(engines, files)),  # files that were not judged are not parsed
        *_of_config(config, report, robot),
    ]
    evidence = refusals.evidence_of(report, engines)
    if EVIDENCE_RANK[evidence] < EVIDENCE_RANK[Evidence(config.spec.gate.evidence)]:
        reasons.append(
            f"its engines have evidence {evidence.value}, but gate.evidence requires {config.spec.gate.evidence}"
        )
    refuse(reasons, path, robot)
    # The signature covers the external data, because an engine names these files by their digest.
    signed = [files[str(engine.file)] for engine in engines]
    bundle = _signed(config, robot, path, content, signed, now) if spec.keys else None
    return Judged(path, content, report, engines, evidence, bundle)


def _of_config(config: Config, report: Report, robot: str) -> Iterator[str]:
    """Yield a reason for each new or stricter requirement of the current ``hil.toml``, compared with the report's."""
    compares = any(check.id in CATALOGUE and CATALOGUE[check.id].regresses for check in report.checks)
    patterns = deploy_spec(config, robot).engines
    plan = expand(config, robot, baseline=compares)
    rows = [
        row
        for row in (*plan.rows, *plan.own)  # a custom check may have no model or no precision
        if not row.precision or any(release.named(pattern, row.model, row.precision) for pattern in patterns)
    ]
    models = {name: config.model(name, robot) for name in config.spec.models}
    yield from tightened_limits.of_rows(report, rows, models)
    yield from tightened_limits.of_state(report, config.target(robot))


def _of_nodes(config: Config, robot: str, engines: Sequence[EngineUsed]) -> Iterator[str]:
    """Yield a reason for each Isaac ROS node whose ``engine_file_path`` is not the path of its deployed engine."""
    folder = deploy_spec(config, robot).directory
    for name in dict.fromkeys(engine.model for engine in engines):
        declared = config.model(name, robot).isaac_ros
        if declared is None:
            continue
        file, node = isaac_ros.split(declared)
        places = [f"{folder}/current/{release.path_in_release(engine)}" for engine in engines if engine.model == name]
        path = isaac_ros.read(config.resolve(file), node).engine_file_path or "nothing"
        # The path of the robot's home folder is unknown here: only the rest is compared.
        if not any(path == place or (place[0] == "~" and path.endswith(place[1:])) for place in places):
            yield f"{file}: engine_file_path is {path}, but the engine will be at {' or '.join(places)}"


def _of_external(engines: Sequence[EngineUsed], files: Mapping[str, Path]) -> Iterator[str]:
    """Yield a reason for each ONNX engine whose external data files are not those in the report."""
    for engine in engines:
        path = files.get(engine.file or "")
        if path is None or path.suffix != ".onnx" or file_digest(path) != engine.digest:
            continue  # not the judged file, which is a reason of its own
        named = {file.location for file in external_files(path)}
        if named != {data.digest for data in engine.external}:
            yield f"{engine.file}: its external data files are not those that the report lists"


def _signed(  # noqa: PLR0913, PLR0917 - the signed files, and the keys and age that are allowed
    config: Config, robot: str, path: Path, content: bytes, engines: Iterable[Path], now: datetime
) -> bytes:
    """Return the bundle next to the report, if one of the robot's keys signed this report and these engines.

    Raises ``DeployRefused`` if there is no bundle, ``AttestationRefused`` or ``UserError`` if it does not verify.
    """
    from hil.attestation import Freshness, public_key, verify

    spec, place = deploy_spec(config, robot), path.parent / BUNDLE
    if not place.is_file():
        what = f"there is no {BUNDLE} next to it, but [targets.{robot}.deploy] has keys"
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
        raise DeployRefused(f"{place} states {verified.decision}: on target {robot!r}: run the checks again")
    return content_of(place)


def refuse(reasons: Sequence[str], path: Path, robot: str) -> None:
    """Raise ``DeployRefused`` with all ``reasons``; do nothing if there are none."""
    if reasons:
        what = "run the checks again on a board like this robot's, or fix the following"
        listed = [f"  - {reason}" for reason in dict.fromkeys(reasons)]
        raise DeployRefused(f"{path} is not deployed: on target {robot!r}: {what}:", *listed)
