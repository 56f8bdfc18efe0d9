"""What of a report is kept: the run, one point a measurement, and the facts behind their digests. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from hil.history.entries import INCOMPLETE, MEASURED, Point, RunRecord
from hil.jetson import said
from hil.results import EVIDENCE_RANK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.report.schema import EngineUsed, Report
    from hil.results import CheckResult, ExecutedOn

BROKEN_OFF = (2, 3)
"""pytest's own exit statuses of a run that was interrupted or fell over itself."""
BUILD, SCORE = "build.seconds", "parity.score"
"""Points that are no row of a report: how long an engine took to build, and what the task's metric gave."""
TASK = "parity.task"


@dataclass(frozen=True)
class Derived:
    """One report as a history keeps it; ``facts`` are methods and environments by their digests."""

    run: RunRecord
    points: tuple[Point, ...]
    facts: dict[str, dict[str, Any]]


def derive(report: Report) -> Derived:
    """What is kept of ``report``."""
    run = record_of(report)
    points: dict[tuple[str, str, str, str], Point] = {}
    for point in _points(report, run):
        points.setdefault((point.check, point.model, point.precision, point.scenario), point)
    used = {digest for point in points.values() for digest in (point.method, point.environment)}
    facts = {**report.methods, **report.environments}
    return Derived(run, tuple(points.values()), {digest: facts[digest] for digest in used if digest in facts})


def record_of(report: Report) -> RunRecord:
    """The run that ``report`` is of."""
    run, target = report.run, report.target
    board = said(target.facts.get("board")) or {}
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
    """The moment that ``text`` (ISO 8601) names, in UTC; one without a zone counts as UTC. Raises ``ValueError``."""
    when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return when.replace(tzinfo=timezone.utc) if when.tzinfo is None else when.astimezone(timezone.utc)


def _cuda(report: Report) -> str | None:
    """The CUDA that the engines were driven by, where the environments tell one and the same."""
    told = [facts.get(part) for facts in report.environments.values() for part in ("accelerator", "driven_by")]
    found = {str(table["cuda"]) for table in told if isinstance(table, dict) and table.get("cuda")}
    return found.pop() if len(found) == 1 else None


def _points(report: Report, run: RunRecord) -> Iterator[Point]:
    engines = {(engine.model, engine.precision): engine for engine in report.engines}
    for row in report.checks:
        if row.measurement is not None:
            yield _point(run, row, row.verdict.value, row.engine, row.executed_on)
            if row.id == TASK:
                yield from _score(run, row)
    for told in report.measurements:
        engine = engines.get((told.model, told.precision))
        digest, processor = (engine.digest, engine.executed_on) if engine else (None, None)
        yield _point(run, told, MEASURED, digest, processor)
    for engine in engines.values():
        yield _build(report, run, engine)


def _point(run: RunRecord, row: Any, verdict: str, engine: str | None, processor: ExecutedOn | None) -> Point:
    taken = row.measurement
    return Point(
        run=run,
        check=row.id,
        model=row.model,
        precision=row.precision,
        scenario=row.scenario,
        value=taken.value,
        unit=taken.unit,
        n=taken.n,
        low=taken.low,
        high=taken.high,
        runs=taken.runs,
        method=taken.method,
        environment=taken.environment,
        engine=engine,
        verdict=verdict,
        executed_on=_named(processor),
    )


def _named(processor: ExecutedOn | None) -> str | None:
    return " ".join(filter(None, (processor.kind, processor.name, processor.sm))) if processor else None


def _score(run: RunRecord, row: CheckResult) -> Iterator[Point]:
    """What the task's metric gave on the target; the row itself tells only what was lost."""
    score = row.details.get("candidate")
    if isinstance(score, (int, float)) and not isinstance(score, bool) and row.measurement is not None:
        update = {"value": float(score), "unit": "score", "low": None, "high": None, "runs": ()}
        told = row.model_copy(update={"id": SCORE, "measurement": row.measurement.model_copy(update=update)})
        yield _point(run, told, MEASURED, row.engine, row.executed_on)


def _build(report: Report, run: RunRecord, engine: EngineUsed) -> Point:
    """How long the engine took when it was built, be it for an earlier run: the same engine is the same build."""
    about = (each.measurement for each in report.checks if each.engine == engine.digest and each.measurement)
    environment = next((taken.environment for taken in about if taken.environment), "")
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
        executed_on=_named(engine.executed_on),
    )
