"""Check that a report does not contradict itself, when it is written and when it is read."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from hil.catalogue import CATALOGUE
from hil.config.policy import named_by
from hil.jetson import identify, module_of
from hil.onnx_files.identity import ONNX, identity_of
from hil.report.parts.stock_rows import of_measurement, stock_rows
from hil.report.schema import BoardUsed, Report, count
from hil.results import CLAIM, Cause, CheckResult, Evidence, ExecutedOn, Sense, Verdict
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = (Verdict.PASSED, Verdict.WARNED)
DEVICES = ("gpu", "dla")
FEWEST = 10
"""The least value of ``no_disagreement_in``."""
PERCENTILE = re.compile(r"latency\.p\d+")
"""Ids of checks whose pass requires a confidence bound, even if no confidence level is recorded."""


def problems(report: Report) -> Iterator[str]:
    """Yield one line for each contradiction within the report; nothing for a consistent report."""
    yield from _totals(report)
    yield from _rows(report)
    yield from stock_rows(report)
    yield from _boards(report)
    yield from _devices(report)
    yield from _tables(report)
    yield from _models(report)
    yield from _status(report)


def _totals(report: Report) -> Iterator[str]:
    stated, counted = report.totals, count(report.checks)
    if stated != counted:
        differ = [name for name in type(stated).model_fields if getattr(stated, name) != getattr(counted, name)]
        what = ", ".join(f"{name} {getattr(stated, name)} but {getattr(counted, name)} rows" for name in differ)
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
            yield f"{check.name}: it passed but has advice"
        if check.engine is not None and check.engine not in engines:
            yield f"{check.name}: its engine {check.engine[:12]} is not in the report"


def _row(check: CheckResult, report: Report, *, fallback: bool) -> Iterator[str]:
    if check.verdict is Verdict.NOT_RUN and check.cause is None:
        yield "it was not run, but has no cause"
    if check.verdict in GOOD and check.cause is not None:
        yield f"{check.verdict.value} in spite of its cause {check.cause.value!r}"
    if check.cause is Cause.FALLBACK and not fallback:
        yield "its cause is a fallback, but the requested target was used"
    if check.target.requested != report.target.requested:
        yield f"requested target {check.target.requested!r}, but the run requested {report.target.requested!r}"
    if check.target.used not in (report.target.used, report.target.requested):
        yield f"ran on target {check.target.used!r}, but the run used {report.target.used!r}"
    if (check.evidence is Evidence.CPU_FALLBACK) != (check.target.requested != check.target.used) and check.evidence:
        yield f"evidence {check.evidence.value!r} contradicts its target {check.target.used!r}"
    if not check.required and named_by(report.policy.require, check.id, check.model, check.precision):
        yield "the policy requires it, but the row is marked as not required"
    if check.verdict in GOOD:
        reason = contradiction(check)
        if reason is not None:
            yield f"{check.verdict.value} does not follow from its own measurement: {reason}"


def _boards(report: Report) -> Iterator[str]:
    """Yield one line for each judged row whose board is missing, or is not described by the report."""
    boards, fallback = report.target.boards, report.target.requested != report.target.used
    for check in report.checks:
        if check.board and check.board not in boards:
            yield f"{check.name}: board {check.board!r} judged it, but the report does not describe this board"
        elif boards and not check.board and check.evidence and not fallback:
            yield f"{check.name}: it does not name the board that judged it"


def _devices(report: Report) -> Iterator[str]:
    """Yield one line for each row whose evidence ``device`` the rest of the report does not confirm."""
    elsewhere = {e.digest for e in report.engines if e.executed_on is not None and e.executed_on.kind not in DEVICES}
    for check in report.checks:
        if check.evidence is not Evidence.DEVICE:
            continue
        kind, work = CATALOGUE.get(check.id), check.executed_on
        why = None
        if work is None or work.kind not in DEVICES:
            why = f"its work ran on {work.name}" if work else "it does not name the processor that did the work"
        elif kind is not None and kind.on_host:
            why = "this check runs on the host only"
        elif mismatch := _board_mismatch(*_board_of(check, report), work):
            why = mismatch
        elif (work.name, work.sm) not in _gpus(_board_of(check, report)[1]):
            why = f"the probe did not find {work.name} with SM {work.sm}"
        elif check.engine is None or check.engine in elsewhere:
            why = "its engine did not run on that processor"
        if why is not None:
            yield f"{check.name}: evidence 'device', but {why}"


def _board_of(check: CheckResult, report: Report) -> tuple[str | None, dict[str, Any]]:
    """Return the board that judged ``check``, ``None`` if it was not confirmed, and the facts that were read there."""
    used = report.target if not check.board else report.target.boards.get(check.board, BoardUsed())
    return used.board, used.facts


def _board_mismatch(board: str | None, facts: dict[str, Any], work: ExecutedOn) -> str:
    """Return why ``work`` is not shown to be a processor of ``board``; empty if it may be one."""
    if board is None:
        return "no board was confirmed"
    module = module_of(board)
    if module is None:
        return ""
    if identify(facts.get("board")).module != module:
        return f"according to the probe's facts the board is not {module.slug}"
    return "" if work.sm == module.sm else f"{module.slug} has no GPU with SM {work.sm}"


def _gpus(facts: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the name and SM version of each GPU that the probe read from a runtime or from the driver's list."""
    by_runtime, by_driver = facts.get("facts"), facts.get("gpus")
    tables = [(table, "gpu") for table in (by_runtime.values() if isinstance(by_runtime, dict) else ())]
    tables += [(table, "name") for table in (by_driver if isinstance(by_driver, list) else ())]
    pairs = [(table.get(key), table.get("sm")) for table, key in tables if isinstance(table, dict)]
    return {(name, sm) for name, sm in pairs if isinstance(name, str) and isinstance(sm, str) and name and sm}


def contradiction(check: CheckResult) -> str | None:
    """Return why a row's verdict, ``passed`` or ``warned``, contradicts its own numbers; ``None`` if they agree."""
    measurement, limit = check.measurement, check.limit
    if measurement is None:
        return None if limit is None else "it has a limit but no measurement"
    if measurement.n < 1:
        return "it has no samples"
    if limit is None:
        return None
    if measurement.unit != limit.unit:
        return f"its unit is {measurement.unit!r}, the limit's is {limit.unit!r}"
    bound = deciding_value(check)
    if bound is None:
        return "it has no confidence bound"
    edge = limit.value if check.verdict is Verdict.PASSED or limit.fail_at is None else limit.fail_at
    good = bound <= edge if limit.sense is Sense.AT_MOST else bound >= edge
    return None if good or _is_claimed(check) else f"{bound:g} against {limit.sense.value} {edge:g} {limit.unit}"


def _is_claimed(check: CheckResult) -> bool:
    """Return whether a row passed by the weaker claim in its details (``CLAIM``), supported by its own measurement.

    The measurement supports the claim with a confidence level, a value of 0 and at least ``FEWEST`` samples.
    """
    from hil.checks.task import no_disagreement  # with scipy, which no other row needs

    claim, measurement = check.details.get(CLAIM), check.measurement
    if check.verdict is not Verdict.PASSED or not isinstance(claim, str) or measurement is None:
        return False
    supported = measurement.confidence is not None and measurement.n >= FEWEST and measurement.value == 0
    return supported and no_disagreement(measurement.n, measurement.confidence or 0.0) in claim.split("; ")


def deciding_value(check: CheckResult) -> float | None:
    """Return the number that decides a row: for a passed row by its limit, for a warned one by ``fail_at``.

    It is the measured value or, for measurements with an interval, an end of the interval. Return ``None`` without a
    measurement or limit, and if a needed end is missing.
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
                yield f"{kind} {digest[:12]} does not match its digest"
    measurements = [(check.name, check.measurement) for check in report.checks]
    measurements += [(row.id, row.measurement) for row in report.measurements]
    for name, measurement in measurements:
        if measurement is None:
            continue
        yield from (f"{name}: {what}" for what in of_measurement(name, measurement))
        if measurement.method and measurement.method not in report.methods:
            yield f"{name}: its method {measurement.method[:12]} is not in the report"
        if measurement.environment and measurement.environment not in report.environments:
            yield f"{name}: its environment {measurement.environment[:12]} is not in the report"
    for engine in report.engines:
        path = PurePosixPath(engine.file or "")
        if path.is_absolute() or ".." in path.parts:
            yield f"engine {engine.model} {engine.precision}: its file lies outside the report's folder"


def _models(report: Report) -> Iterator[str]:
    """Yield one line for each model whose digests contradict its list of parts."""
    for name, times in Counter(model.name for model in report.models).items():
        if times > 1:
            yield f"model {name} is listed {times} times"
    for model in report.models:
        if model.samples < 1:
            yield f"model {model.name}: it has no validation samples"
        if model.identity is None and not model.parts:
            continue
        if model.identity != identity_of(model.parts):
            yield f"model {model.name}: its identity is not the digest of its parts"
        if [part.digest for part in model.parts if part.role == ONNX] != [model.digest]:
            yield f"model {model.name}: the digest of its ONNX file is not the one listed in its parts"
        for key, times in Counter((part.role, part.name) for part in model.parts).items():
            if times > 1:
                yield f"model {model.name}: {' '.join(key)} is listed {times} times"


def _status(report: Report) -> Iterator[str]:
    decided = report.decision is not None and report.exit_code is not None
    if report.status == "complete" and not decided:
        yield "it is complete but has no decision"
    if report.status != "complete" and (report.decision is not None or report.exit_code is not None):
        yield f"it is {report.status} but has a decision"
