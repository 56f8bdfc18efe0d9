"""Derive the history's entries from a report: the run, its points, and their methods and environments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hil.history.entries import INCOMPLETE, MEASURED, Point, RunRecord
from hil.jetson import identity_fields
from hil.results import EVIDENCE_RANK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.report.schema import EngineUsed, Report
    from hil.results import CheckResult, ExecutedOn

BROKEN_OFF = (2, 3)
"""pytest's exit statuses for a run that was interrupted or had an internal error."""
BUILD, SCORE = "build.seconds", "parity.score"
"""Points that are not rows of a report: the build time of an engine, and the score of the task's metric."""
TASK = "parity.task"


@dataclass(frozen=True)
class Derived:
    """One report as a history stores it. ``facts`` are the methods and environments by digest."""

    run: RunRecord
    points: tuple[Point, ...]
    facts: dict[str, dict[str, Any]]


def derive(report: Report) -> Derived:
    """Return the history's entries of ``report``."""
    run = record_of(report)
    points: dict[tuple[str, str, str, str], Point] = {}
    for point in _points(report, run):
        points.setdefault((point.check, point.model, point.precision, point.scenario), point)
    used = {digest for point in points.values() for digest in (point.method, point.environment)}
    facts = {**report.methods, **report.environments}
    return Derived(run, tuple(points.values()), {digest: facts[digest] for digest in used if digest in facts})


def record_of(report: Report) -> RunRecord:
    """Return the run record of ``report``."""
    run, target = report.run, report.target
    board = identity_fields(target.facts.get("board")) or {}
    if sum(bool(used.facts) for used in target.boards.values()) > 1:
        board["serial"] = None  # several boards measured: no comparison may take the run for one machine's
    ranked = sorted({check.evidence for check in report.checks if check.evidence}, key=EVIDENCE_RANK.__getitem__)
    runtimes = sorted({(engine.runtime, engine.runtime_version) for engine in report.engines})
    stopped = report.run.pytest_exit_status in BROKEN_OFF or run.lab_error is not None or run.user_error is not None
    return RunRecord(
        id=run.id,
        started=instant(run.started),
        target=target.requested,
        used=target.used,
        kind=target.kind,
        board=target.board,
        module=board.get("module"),
        serial=board.get("serial"),
        jetpack=board.get("jetpack"),
        l4t=board.get("l4t"),
        runtime="+".join(dict.fromkeys(name for name, _ in runtimes)),
        runtime_version="+".join(dict.fromkeys(version for _, version in runtimes)) or None,
        cuda=board.get("cuda") or _cuda(report),
        commit=run.commit,
        dirty=run.commit is not None and run.dirty is not False,
        decision=report.decision or INCOMPLETE,
        hil_version=run.hil_version,
        config_digest=report.config.digest,
        report_digest=report.digest,
        evidence=ranked[-1].value if ranked else None,
        exit_code=report.exit_code,
        whole=report.status == "complete" and not stopped,
    )


def instant(text: str) -> datetime:
    """Return the time ``text`` (ISO 8601) in UTC. A time without a zone counts as UTC. Raises ``ValueError``."""
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return when.replace(tzinfo=timezone.utc) if when.tzinfo is None else when.astimezone(timezone.utc)


def _cuda(report: Report) -> str | None:
    """Return the CUDA version in the report's environments; ``None`` if none has a version, or if versions differ."""
    tables = [facts.get(part) for facts in report.environments.values() for part in ("accelerator", "driven_by")]
    versions = {str(table["cuda"]) for table in tables if isinstance(table, dict) and table.get("cuda")}
    return versions.pop() if len(versions) == 1 else None


def _points(report: Report, run: RunRecord) -> Iterator[Point]:
    engines = {(engine.model, engine.precision): engine for engine in report.engines}
    for row in report.checks:
        if row.measurement is not None:
            yield _point(run, row, row.verdict.value, row.engine, row.executed_on)
            if row.id == TASK:
                yield from _score(run, row)
    for measured in report.measurements:
        engine = engines.get((measured.model, measured.precision))
        digest, processor = (engine.digest, engine.executed_on) if engine else (None, None)
        yield _point(run, measured, MEASURED, digest, processor)
    for engine in engines.values():
        if engine.built_on is not None:
            continue  # another board took that time
        yield _build(report, run, engine)


def _point(run: RunRecord, row: Any, verdict: str, engine: str | None, processor: ExecutedOn | None) -> Point:
    measurement = row.measurement
    return Point(
        run=run,
        check=row.id,
        model=row.model,
        precision=row.precision,
        scenario=row.scenario,
        value=measurement.value,
        unit=measurement.unit,
        n=measurement.n,
        low=measurement.low,
        high=measurement.high,
        runs=measurement.runs,
        method=measurement.method,
        environment=measurement.environment,
        engine=engine,
        verdict=verdict,
        executed_on=_processor_text(processor),
        control=measurement.control,
        disturbed=_disturbances(row),
    )


def _disturbances(row: Any) -> tuple[str, ...]:
    """Return the text of each disturbance from outside that the row's details have; empty for a row without details."""
    findings = getattr(row, "details", {}).get("state") or ()
    return tuple(str(finding["text"]) for finding in findings if finding.get("source") == "outside")


def _processor_text(processor: ExecutedOn | None) -> str | None:
    return " ".join(filter(None, (processor.kind, processor.name, processor.sm))) if processor else None


def _score(run: RunRecord, row: CheckResult) -> Iterator[Point]:
    """Yield the task's score on the target as a point; nothing if the row has none."""
    score = row.details.get("candidate")
    if isinstance(score, (int, float)) and not isinstance(score, bool) and row.measurement is not None:
        update = {"value": float(score), "unit": "score", "low": None, "high": None, "runs": (), "control": None}
        score_row = row.model_copy(update={"id": SCORE, "measurement": row.measurement.model_copy(update=update)})
        yield _point(run, score_row, MEASURED, row.engine, row.executed_on)


def _build(report: Report, run: RunRecord, engine: EngineUsed) -> Point:
    """Return the build time of the engine as a point. For a cached engine this is the time of its original build."""
    measurements = (check.measurement for check in report.checks if check.engine == engine.digest and check.measurement)
    environment = next((each.environment for each in measurements if each.environment), "")
    return Point(
        run=run,
        check=BUILD,
        model=engine.model,
        precision=engine.precision,
        scenario="",
        value=engine.build_seconds,
        unit="s",
        n=1,
        low=None,
        high=None,
        runs=(),
        method="",
        environment=environment,
        engine=engine.digest,
        verdict=MEASURED,
        executed_on=_processor_text(engine.executed_on),
    )
