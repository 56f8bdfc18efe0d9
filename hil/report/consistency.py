"""What must hold inside any report, whoever wrote it: checked when writing and when reading."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hil.catalogue import CATALOGUE
from hil.config.policy import named_by
from hil.jetson import identify, module_of
from hil.onnx_files.identity import ONNX, identity_of
from hil.report.schema import Report, count
from hil.results import Cause, CheckResult, Evidence, ExecutedOn, Sense, Verdict
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = (Verdict.PASSED, Verdict.WARNED)
DEVICES = ("gpu", "dla")
PERCENTILE = re.compile(r"latency\.p\d+")
"""Ids judged on their confidence bound and not on the point estimate."""


def problems(report: Report) -> Iterator[str]:
    """Every way in which the report contradicts itself, one line each; nothing if it holds."""
    yield from _totals(report)
    yield from _rows(report)
    yield from _devices(report)
    yield from _tables(report)
    yield from _models(report)
    yield from _status(report)


def _totals(report: Report) -> Iterator[str]:
    said, found = report.totals, count(report.checks)
    if said != found:
        differ = [name for name in type(said).model_fields if getattr(said, name) != getattr(found, name)]
        what = ", ".join(f"{name} {getattr(said, name)} but {getattr(found, name)} rows" for name in differ)
        yield f"totals do not add up: {what}"
    for key, times in Counter(check.key for check in report.checks).items():
        if times > 1:
            yield f"{' '.join(filter(None, key))} is judged {times} times"


def _rows(report: Report) -> Iterator[str]:
    fallback = report.target.requested != report.target.used
    engines = {engine.digest for engine in report.engines}
    for check in report.checks:
        for what in _row(check, report, fallback=fallback):
            yield f"{check.name}: {what}"
        if check.advice and check.verdict is Verdict.PASSED:
            yield f"{check.name}: it passed, and there is advice what to do about it"
        if check.engine is not None and check.engine not in engines:
            yield f"{check.name}: its engine {check.engine[:12]} is not in the report"


def _row(check: CheckResult, report: Report, *, fallback: bool) -> Iterator[str]:
    if check.verdict is Verdict.NOT_RUN and check.cause is None:
        yield "not run without a cause"
    if check.verdict in GOOD and check.cause is not None:
        yield f"{check.verdict.value} in spite of its cause {check.cause.value!r}"
    if check.cause is Cause.FALLBACK and not fallback:
        yield "its cause is a fallback, but the target asked for was used"
    if check.target.requested != report.target.requested:
        yield f"asked for target {check.target.requested!r}, the run for {report.target.requested!r}"
    if check.target.used not in (report.target.used, report.target.requested):
        yield f"ran on target {check.target.used!r}, the run on {report.target.used!r}"
    if (check.evidence is Evidence.CPU_FALLBACK) != (check.target.requested != check.target.used) and check.evidence:
        yield f"evidence {check.evidence.value!r} contradicts its target {check.target.used!r}"
    if not check.required and named_by(report.policy.require, check.id, check.model, check.precision):
        yield "the policy requires it, the row says that it is not required"
    if check.verdict in GOOD:
        reason = does_not_follow(check)
        if reason is not None:
            yield f"{check.verdict.value} does not follow from its own measurement: {reason}"


def _devices(report: Report) -> Iterator[str]:
    """Evidence ``device`` that the rest of the report does not bear out."""
    seen = _gpus(report)
    elsewhere = {e.digest for e in report.engines if e.executed_on is not None and e.executed_on.kind not in DEVICES}
    for check in report.checks:
        if check.evidence is not Evidence.DEVICE:
            continue
        kind, work = CATALOGUE.get(check.id), check.executed_on
        why = None
        if work is None or work.kind not in DEVICES:
            why = f"its work ran on {work.name if work else 'nothing that it names'}"
        elif kind is not None and kind.on_host:
            why = "such a check is the host's work alone"
        elif other := _no_such_board(report, work):
            why = other
        elif (work.name, work.sm) not in seen:
            why = f"the probe did not see {work.name} with SM {work.sm}"
        elif check.engine is None or check.engine in elsewhere:
            why = "its engine did not run there"
        if why is not None:
            yield f"{check.name}: evidence 'device', but {why}"


def _no_such_board(report: Report, work: ExecutedOn) -> str:
    """Why the report has no board that ``work`` may have run on; empty if it has. A Jetson's facts must bear it out."""
    if report.target.board is None:
        return "no board was confirmed"
    module = module_of(report.target.board)
    if module is None:
        return ""
    if identify(report.target.facts.get("board")).module != module:
        return f"by the probe's own facts the board is no {module.slug}"
    return "" if work.sm == module.sm else f"no GPU with SM {work.sm} is on {module.slug}"


def _gpus(report: Report) -> set[tuple[str, str]]:
    """Name and SM of each GPU that the probe read, through a runtime or from the driver's own list."""
    found, listed = report.target.facts.get("facts"), report.target.facts.get("gpus")
    read = [(each, "gpu") for each in (found.values() if isinstance(found, dict) else ())]
    read += [(each, "name") for each in (listed if isinstance(listed, list) else ())]
    named = [(each.get(key), each.get("sm")) for each, key in read if isinstance(each, dict)]
    return {(name, sm) for name, sm in named if isinstance(name, str) and isinstance(sm, str) and name and sm}


def does_not_follow(check: CheckResult) -> str | None:
    """Why a good verdict contradicts the row's own numbers; ``None`` if it follows from them."""
    measurement, limit = check.measurement, check.limit
    if measurement is None:
        return None if limit is None else "it has a limit and no measurement"
    if measurement.n < 1:
        return "it is of no samples"
    if limit is None:
        return None
    if measurement.unit != limit.unit:
        return f"it is in {measurement.unit!r}, the limit in {limit.unit!r}"
    bound = decisive(check)
    if bound is None:
        return "it has no confidence bound"
    edge = limit.value if check.verdict is Verdict.PASSED or limit.fail_at is None else limit.fail_at
    good = bound <= edge if limit.sense is Sense.AT_MOST else bound >= edge
    return None if good else f"{bound:g} against {limit.sense.value} {edge:g} {limit.unit}"


def decisive(check: CheckResult) -> float | None:
    """The number of a row that is held against its limit; ``None`` where its confidence bound is open.

    A value known exactly is itself. Of an interval a pass needs the worse end on the good side of the
    limit, a warning the better end on the good side of where failing begins.
    """
    measurement, limit = check.measurement, check.limit
    if measurement is None or limit is None:
        return None
    value, low, high = measurement.value, measurement.low, measurement.high
    if measurement.confidence is None and PERCENTILE.fullmatch(check.id) is None:
        return value
    ceiling = limit.sense is Sense.AT_MOST
    if check.verdict is Verdict.PASSED:
        worse = high if ceiling else low
        return None if worse is None else max(worse, value) if ceiling else min(worse, value)
    better = low if ceiling else high
    return value if better is None else better


def _tables(report: Report) -> Iterator[str]:
    for kind, table in (("method", report.methods), ("environment", report.environments)):
        for digest, facts in table.items():
            if digest_of(facts) != digest:
                yield f"{kind} {digest[:12]} is not what its digest says"
    taken = [(check.name, check.measurement) for check in report.checks]
    taken += [(row.id, row.measurement) for row in report.measurements]
    for name, measurement in taken:
        if measurement is None:
            continue
        if measurement.method and measurement.method not in report.methods:
            yield f"{name}: its method {measurement.method[:12]} is not in the report"
        if measurement.environment and measurement.environment not in report.environments:
            yield f"{name}: its environment {measurement.environment[:12]} is not in the report"
    for engine in report.engines:
        path = PurePosixPath(engine.file or "")
        if path.is_absolute() or ".." in path.parts:
            yield f"engine {engine.model} {engine.precision}: its file lies outside the report's folder"


def _models(report: Report) -> Iterator[str]:
    """A model's identity that is not that of its parts; a report of an earlier version has no identity."""
    for model in report.models:
        if model.identity is None and not model.parts:
            continue
        if model.identity != identity_of(model.parts):
            yield f"model {model.name}: its identity is not the digest of its parts"
        if [part.digest for part in model.parts if part.role == ONNX] != [model.digest]:
            yield f"model {model.name}: the ONNX file of its parts is not the one that the report names"
        for key, times in Counter((part.role, part.name) for part in model.parts).items():
            if times > 1:
                yield f"model {model.name}: {' '.join(key)} is listed {times} times"


def _status(report: Report) -> Iterator[str]:
    decided = report.decision is not None and report.exit_code is not None
    if report.status == "complete" and not decided:
        yield "it is complete and has no decision"
    if report.status == "incomplete" and (report.decision is not None or report.exit_code is not None):
        yield "it is incomplete and has a decision"
