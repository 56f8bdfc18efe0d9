"""Checks by manifest, report and signature whether a release on a robot may run again.

The age of the report is not checked.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.deploy import refusals
from hil.deploy.make_release import board_of
from hil.errors import DeployRefused, HilError
from hil.gate.demands import guess_problem
from hil.gate.gate import judge
from hil.report.read_report import content_of, parse
from hil.report.write_report import BUNDLE, REPORT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hil.config.load import Config
    from hil.deploy.robot import Robot
    from hil.report.schema import EngineUsed, Report

ENGINE_KEYS = ("model", "precision", "runtime", "runtime_version")


def check(
    config: Config, there: Robot, release: str, manifest: Mapping[str, Any] | None, facts: Mapping[str, Any]
) -> None:
    """Raise ``DeployRefused`` with the reasons why ``release`` must not run on the robot with these ``facts``.

    ``manifest`` is the release's manifest, ``None`` if it is damaged. A missing field in it is a reason too.
    """
    if manifest is None:
        raise _refused(there, release, ["its manifest is missing, or was changed"])
    try:
        files = {one["path"]: (one["sha256"], one["size"]) for one in manifest["files"]}
        engines = [({key: one[key] for key in ENGINE_KEYS}, one["sha256"]) for one in manifest["engines"]]
        board, judged = manifest["board"], manifest["judged"]["report"]
    except (KeyError, TypeError) as error:
        raise _refused(there, release, [f"its manifest is incomplete: {type(error).__name__}: {error}"]) from None
    if REPORT not in files or not engines:
        raise _refused(there, release, [f"its manifest names no {REPORT if engines else 'engine'}"])
    with tempfile.TemporaryDirectory(prefix="hil-release-") as place:
        folder = Path(place)
        there.fetch(release, {path: files[path] for path in (REPORT, BUNDLE) if path in files}, folder)
        report = parse(content_of(folder / REPORT), f"{REPORT} of release {release[:12]}")
        judged_engines = [used for used in report.engines if (_named(used), used.digest) in engines]
        reasons = []
        if report.digest != judged or board_of(report) != board or len(judged_engines) != len(engines):
            reasons.append("its manifest and its report contradict each other")
        reasons += refusals.of_report(report, {"the run's own policy": judge(report, report.policy)})
        reasons += refusals.of_engines(report, judged_engines)
        reasons += [problem] if (problem := guess_problem(report)) else []
        reasons += refusals.of_robot(judged_engines, report.target.facts, facts, config.target(there.name).gpu)
        if there.spec.keys:
            reasons += _unsigned(config, there, folder, report, [digest for _, digest in engines])
    if reasons:
        raise _refused(there, release, reasons)
    if there.spec.container is not None and not there.has_image_of(manifest):
        raise _refused(there, release, ["the robot's container engine no longer has its image"])


def _named(engine: EngineUsed) -> dict[str, str]:
    return {key: getattr(engine, key) for key in ENGINE_KEYS}


def _unsigned(config: Config, there: Robot, folder: Path, report: Report, engines: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the signature of the report and the engines (given by their SHA-256).

    The report must pass its policy as of the end of its run.
    """
    from hil.attestation import public_key, verify

    if not (folder / BUNDLE).is_file():
        yield f"it has no {BUNDLE}, but [targets.{there.name}.deploy] has keys"
        return
    keys = [public_key(config.resolve(key)) for key in there.spec.keys]
    try:
        then = datetime.fromisoformat(report.run.finished) if report.run.finished else None
        verified = verify(folder / BUNDLE, keys=keys, report=folder / REPORT, now=then)
    except (HilError, ValueError) as error:  # a date of the robot's copy that is not ISO 8601 is refused as well
        yield str(error).replace(f"{folder}/", "")
        return
    for digest in engines:
        if verified.subject("engine", digest) is None:
            yield f"the engine with SHA-256 {digest[:12]}… is not among those that were signed"


def _refused(there: Robot, release: str, reasons: Sequence[str]) -> DeployRefused:
    listed = [f"  - {reason}" for reason in dict.fromkeys(reasons)]
    ways = f"choose another one with `hil rollback {there.name} --to RELEASE`, or run the checks and deploy"
    return DeployRefused(f"release {release[:12]} may not run: on target {there.name!r}: {ways}. Reasons:", *listed)
