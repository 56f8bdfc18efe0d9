"""Why a release must not be deployed: pure functions of the report, the decision on it, and what was read of the robot.

Each gives reasons in words, all of them, and nothing where there is none. What is not known speaks against deploying.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hil.catalogue import CATALOGUE
from hil.model import EVIDENCE_RANK, Evidence, Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hil.gate import Decision
    from hil.jetson import Identity
    from hil.report.schema import EngineUsed, Report

AHEAD = 300.0
"""Seconds that a report may come from the future: two machines' clocks differ."""


def of_report(report: Report, decision: Decision, *, now: datetime, max_age: float) -> Iterator[str]:
    """The run's own gate, the deployer's (``decision``), and the report's age; ``max_age`` in seconds."""
    if report.status != "complete":
        yield "its run did not finish"
    if report.exit_code != 0:
        yield f"its own gate says {report.decision or 'nothing'} (exit code {report.exit_code})"
    if decision.exit_code != 0:
        yield from (f"the gate of hil.toml: {reason}" for reason in decision.reasons)
    if report.target.fallback_reason is not None:
        yield f"it judged {report.target.used} in place of {report.target.requested}"
    yield from _age(report.run.finished, now, max_age)


def _age(finished: str | None, now: datetime, max_age: float) -> Iterator[str]:
    try:
        then = datetime.fromisoformat((finished or "").replace("Z", "+00:00"))
        seconds = (now - then.astimezone(timezone.utc)).total_seconds()
    except (ValueError, OverflowError):
        yield "when it was finished cannot be told"
        return
    if seconds < -AHEAD:
        yield f"it was finished in the future ({finished}): see to the clocks of this machine and that one"
    elif seconds > max_age:
        yield f"it is {seconds / 86400:.1f} days old, and max_age allows {show(max_age, 's')}"


def of_engines(report: Report, engines: Sequence[EngineUsed]) -> Iterator[str]:
    """Each engine was judged, by rows that all passed: an engine that no row stands for is none."""
    for engine in engines:
        rows = [row for row in report.checks if row.engine == engine.digest]
        if not rows:
            yield f"no check of the report was made with the engine of {engine.model} {engine.precision}"
        bad = [row for row in rows if row.required and row.verdict not in {Verdict.PASSED, Verdict.WARNED}]
        yield from (f"{row.name} is {row.verdict.value}: {row.reason}" for row in bad[:3])
        if engine.file is None:
            yield f"the report has no copy of the engine of {engine.model} {engine.precision}"


def evidence_of(report: Report, engines: Sequence[EngineUsed]) -> Evidence:
    """The least evidence of any row that was judged with these engines."""
    digests = {engine.digest for engine in engines}
    rows = [row for row in report.checks if row.engine in digests and not _on_host(row.id)]
    found = [row.evidence for row in rows if row.evidence is not None]
    return min(found, key=EVIDENCE_RANK.__getitem__, default=Evidence.CPU_FALLBACK)


def _on_host(check: str) -> bool:
    """What never asks the engine is the host's in every run, and says nothing about where the engine ran."""
    return check in CATALOGUE and CATALOGUE[check].on_host


def of_files(engines: Sequence[EngineUsed], digests: Mapping[str, str]) -> Iterator[str]:
    """The engines' files are the ones that were judged; ``digests`` are theirs now, by name in the report."""
    for engine in engines:
        found = digests.get(engine.file or "")
        if found != engine.digest:
            what = (
                "is not there" if found is None else f"has SHA-256 {found[:12]}…, and {engine.digest[:12]}… was judged"
            )
            yield f"{engine.file}: {what}"


def of_robot(
    judged: Identity, found: Identity, engines: Sequence[EngineUsed], versions: Mapping[str, Any]
) -> Iterator[str]:
    """The robot is a machine of the kind that was judged: module, Jetson Linux, and the runtime of each engine.

    ``versions`` are the robot's runtimes by name.
    """
    pairs = (("module", _module(judged), _module(found)), ("Jetson Linux", judged.l4t, found.l4t))
    for name, theirs, ours in pairs:
        if theirs != ours:
            yield f"{name}: judged on {theirs or 'none that is known'}, the robot has {ours or 'none that is known'}"
    if judged.jetpack != found.jetpack and judged.l4t == found.l4t:
        yield f"JetPack: judged on {judged.jetpack or 'none'}, the robot has {found.jetpack or 'none'}"
    for runtime, version in sorted({(engine.runtime, engine.runtime_version) for engine in engines}):
        if versions.get(runtime) != version:
            yield f"{runtime}: judged under {version}, the robot has {versions.get(runtime) or 'none'}"


def _module(identity: Identity) -> str | None:
    return None if identity.module is None else identity.module.slug
