"""Reasons not to deploy a release: pure functions of the report, the decisions on it, and the robot's facts.

Each generator yields its reasons as text, and nothing if there is no reason. An unknown fact is a reason.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from hil.catalogue import CATALOGUE
from hil.jetson import SMS, identify
from hil.results import EVIDENCE_RANK, Evidence, Verdict
from hil.runtimes import RUNTIMES
from hil.session.target.board_match import DEVICES, runtime_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hil.gate.gate import Decision
    from hil.report.schema import EngineUsed, Report

NO_JETSON, NO_JETPACK = "no Jetson module", "an unnamed release"
UNKNOWN = "an unknown one"


def of_report(report: Report, decisions: Mapping[str, Decision]) -> Iterator[str]:
    """Yield reasons from the run, and from ``decisions``: the gate's decisions on the report, by name of the policy."""
    if report.status != "complete":
        yield "its run did not finish"
    if report.exit_code != 0:
        yield f"its own gate decided {report.decision or 'nothing'} (exit code {report.exit_code})"
    for policy, decision in decisions.items():
        if decision.exit_code != 0:
            yield from (f"{policy}: {reason}" for reason in decision.reasons)
    if report.target.fallback_reason is not None:
        yield f"it judged {report.target.used} instead of {report.target.requested}"


def of_engines(report: Report, engines: Sequence[EngineUsed]) -> Iterator[str]:
    """Yield a reason for each engine that has no rows or no file, and if several have the same model and precision.

    Also yield a reason for each required row of an engine that neither passed nor warned, at most three per engine.
    """
    for (model, precision), times in Counter((engine.model, engine.precision) for engine in engines).items():
        if times > 1:
            yield f"the report has {times} engines of {model} {precision}, and a release can have only one"
    for engine in engines:
        rows = [row for row in report.checks if row.engine == engine.digest]
        if not rows:
            yield f"no check of the report used the engine of {engine.model} {engine.precision}"
        bad = [row for row in rows if row.required and row.verdict not in {Verdict.PASSED, Verdict.WARNED}]
        yield from (f"{row.name} is {row.verdict.value}: {row.reason}" for row in bad[:3])
        if engine.file is None:
            yield f"the report has no copy of the engine of {engine.model} {engine.precision}"


def evidence_of(report: Report, engines: Sequence[EngineUsed]) -> Evidence:
    """Return the weakest evidence of the rows that were judged with these engines.

    Rows that were judged on the host do not count. Return ``CPU_FALLBACK`` if no row counts.
    """
    digests = {engine.digest for engine in engines}
    rows = [row for row in report.checks if row.engine in digests and not _on_host(row.id)]
    evidence = [row.evidence for row in rows if row.evidence is not None]
    return min(evidence, key=EVIDENCE_RANK.__getitem__, default=Evidence.CPU_FALLBACK)


def _on_host(check: str) -> bool:
    """Return whether the check runs on the host."""
    return check in CATALOGUE and CATALOGUE[check].on_host


def of_files(engines: Sequence[EngineUsed], digests: Mapping[str, str]) -> Iterator[str]:
    """Yield a reason for each file of the engines, or of their external data, that is missing or not the judged one.

    ``digests`` maps each file's name in the report to its present SHA-256.
    """
    for file, digest in dict.fromkeys(pair for engine in engines for pair in engine.files):
        actual = digests.get(file)
        if actual != digest:
            what = "is missing" if actual is None else f"has SHA-256 {actual[:12]}…, but {digest[:12]}… was judged"
            yield f"{file or 'no file'}: {what}"


def of_robot(
    engines: Sequence[EngineUsed], judged: Mapping[str, Any], robot: Mapping[str, Any], gpu: int = 0
) -> Iterator[str]:
    """Yield reasons if the robot is a different kind of machine from the judged one, or lacks the runtime of an engine.

    ``judged`` and ``robot`` are the facts that a probe read on each machine. ``gpu`` is the index of the robot's GPU.
    An unknown fact is a reason.
    """
    for runtime, work in dict.fromkeys((engine.runtime, engine.executed_on) for engine in engines):
        own = runtime_facts(robot, runtime, gpu)
        gpu_judged = (work.name, work.sm) if work is not None and work.kind in DEVICES else (None, None)
        yield from _unlike(
            kind_of_machine(judged, runtime, *gpu_judged),
            kind_of_machine(robot, runtime, own.get("gpu"), own.get("sm")),
        )
    versions = robot.get("runtimes")
    for runtime, version in sorted({(engine.runtime, engine.runtime_version) for engine in engines}):
        installed = versions.get(runtime) if isinstance(versions, dict) else None
        yield from _unlike({runtime: version}, {runtime: installed})


def kind_of_machine(facts: Mapping[str, Any], runtime: str, gpu: Any = None, sm: Any = None) -> dict[str, Any]:
    """Return the facts that identify a kind of machine for engines of ``runtime``; ``None`` for an unknown fact.

    A Jetson has its module, Jetson Linux and JetPack. Another machine has its architecture, and its CPU or the driver's
    CUDA version. A runtime that uses a GPU adds ``gpu`` and ``sm``.
    """
    raw = facts.get("board")
    identity = identify(raw)
    on_gpu = {"GPU": gpu, "SM": sm} if runtime in RUNTIMES and RUNTIMES[runtime].uses_gpu else {}
    if identity.is_jetson or sm in SMS:
        module = None if identity.module is None else identity.module.slug
        # JetPack follows from Jetson Linux, unless its package states another release.
        return {"module": module, "Jetson Linux": identity.l4t, "JetPack": identity.jetpack or NO_JETPACK, **on_gpu}
    kind = {"module": NO_JETSON, "architecture": facts.get("machine")}
    if on_gpu:
        return {**kind, **on_gpu, "CUDA version of the driver": runtime_facts(facts, runtime).get("cuda")}
    is_arm = str(facts.get("machine")).startswith(("arm", "aarch64"))
    has_tree = isinstance(raw, dict) and bool(raw.get("compatible"))
    return {**kind, "CPU": None if is_arm and not has_tree else facts.get("cpu_model")}


def _unlike(judged: Mapping[str, Any], robot: Mapping[str, Any]) -> Iterator[str]:
    """Yield a reason for each name whose two values differ or are unknown."""
    for name in dict.fromkeys((*judged, *robot)):
        theirs, ours = judged.get(name), robot.get(name)
        if not (isinstance(theirs, str) and theirs and theirs == ours):
            yield f"{name}: judged on {theirs or UNKNOWN}, the robot has {ours or UNKNOWN}"
