"""Why a release must not be deployed: pure functions of the report, the decision on it, and what was read of the robot.

Each gives reasons in words, all of them, and nothing where there is none. What is not known speaks against deploying.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hil.catalogue import CATALOGUE
from hil.jetson import SMS, identify
from hil.results import EVIDENCE_RANK, Evidence, Verdict
from hil.session.target.board_match import DEVICES, runtime_facts
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hil.gate.gate import Decision
    from hil.report.schema import EngineUsed, Report

NO_JETSON, NO_JETPACK = "no Jetson", "not named"
UNKNOWN = "none that is known"
AHEAD = 300.0
"""Seconds that a report may come from the future: two machines' clocks differ."""


def of_report(report: Report, decisions: Mapping[str, Decision], *, now: datetime, max_age: float) -> Iterator[str]:
    """The run's own gate, ``decisions`` of today by whose policy it was, and the age; ``max_age`` in seconds."""
    if report.status != "complete":
        yield "its run did not finish"
    if report.exit_code != 0:
        yield f"its own gate says {report.decision or 'nothing'} (exit code {report.exit_code})"
    for policy, decision in decisions.items():
        if decision.exit_code != 0:
            yield from (f"{policy}: {reason}" for reason in decision.reasons)
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
    """The engines' files, external data included, are the judged ones; ``digests`` are theirs now, by name there."""
    for file, digest in dict.fromkeys(pair for engine in engines for pair in engine.files):
        found = digests.get(file)
        if found != digest:
            what = "is not there" if found is None else f"has SHA-256 {found[:12]}…, and {digest[:12]}… was judged"
            yield f"{file or 'no file'}: {what}"


def of_robot(
    engines: Sequence[EngineUsed], judged: Mapping[str, Any], robot: Mapping[str, Any], gpu: int = 0
) -> Iterator[str]:
    """The robot is a machine of the kind that was judged, with the runtime of each engine.

    ``judged`` and ``robot`` are a probe's facts, ``gpu`` the number of the robot's GPU. A fact that is not known on
    both sides is a reason: two machines that nobody could identify are never the same kind.
    """
    for runtime, work in dict.fromkeys((engine.runtime, engine.executed_on) for engine in engines):
        here = runtime_facts(robot, runtime, gpu)
        gpu_judged = (work.name, work.sm) if work is not None and work.kind in DEVICES else (None, None)
        yield from _unlike(
            kind_of_machine(judged, runtime, *gpu_judged),
            kind_of_machine(robot, runtime, here.get("gpu"), here.get("sm")),
        )
    versions = robot.get("runtimes")
    for runtime, version in sorted({(engine.runtime, engine.runtime_version) for engine in engines}):
        found = versions.get(runtime) if isinstance(versions, dict) else None
        yield from _unlike({runtime: version}, {runtime: found})


def kind_of_machine(facts: Mapping[str, Any], runtime: str, gpu: Any = None, sm: Any = None) -> dict[str, Any]:
    """What two machines must share to be the same kind for engines of ``runtime``; ``None`` is what is not known.

    A Jetson is its module and its Jetson Linux, with the driver in it. Any other machine is its architecture and what
    does the work: the GPU (``gpu``, ``sm``) with the driver's CUDA version, or the CPU. Arm boards of all makers call
    their CPU alike, so without a device tree that names no Tegra chip one of these is not identified by it.
    """
    raw = facts.get("board")
    found = identify(raw)
    on_gpu = {"GPU": gpu, "SM": sm} if runtime == "tensorrt" else {}
    if found.is_jetson or sm in SMS:
        module = None if found.module is None else found.module.slug
        # What JetPack is follows from Jetson Linux, unless its package says otherwise.
        return {"module": module, "Jetson Linux": found.l4t, "JetPack": found.jetpack or NO_JETPACK, **on_gpu}
    kind = {"module": NO_JETSON, "architecture": facts.get("machine")}
    if on_gpu:
        return {**kind, **on_gpu, "CUDA version of the driver": runtime_facts(facts, runtime).get("cuda")}
    is_arm = str(facts.get("machine")).startswith(("arm", "aarch64"))
    has_tree = isinstance(raw, dict) and bool(raw.get("compatible"))
    return {**kind, "CPU": None if is_arm and not has_tree else facts.get("cpu_model")}


def _unlike(judged: Mapping[str, Any], robot: Mapping[str, Any]) -> Iterator[str]:
    """One reason for each name whose two values are not one and the same known text."""
    for name in dict.fromkeys((*judged, *robot)):
        theirs, ours = judged.get(name), robot.get(name)
        if not (isinstance(theirs, str) and theirs and theirs == ours):
            yield f"{name}: judged on {theirs or UNKNOWN}, the robot has {ours or UNKNOWN}"
