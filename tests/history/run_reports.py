"""Small, consistent reports for tests of the history, each of a separate run."""

from __future__ import annotations

import functools
from datetime import datetime, timedelta, timezone
from typing import Any

from hil.catalogue import KINDS
from hil.gate.gate import seal
from hil.report.schema import Report, TargetReport
from hil.results import Cause, ControlSummary, TargetUse, Verdict
from tests.report import sample

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
BOARD = {
    "compatible": ["nvidia,p3737-0000+p3701-0005", "nvidia,tegra234"],
    "model": "NVIDIA Jetson AGX Orin Developer Kit",
    "memory_total": 64 * 10**9,
}
ROWS = tuple(
    sample.check(kind, "digits", precision)
    for precision in ("fp32", "int8")
    for kind in KINDS
    if (kind.precisions is None or precision in kind.precisions) and (kind.limit is None or kind.id in sample.VALUES)
)
RELEASES = {"6.2": "36.4.3", "6.1": "36.4.0"}


@functools.cache
def report(number: int = 0, **changes: Any) -> Report:
    """Return the report of run ``number``, one hour after the previous run; ``changes`` are fields of ``Run``."""
    return seal(draft(number, **changes))


def draft(number: int = 0, **changes: Any) -> Report:
    """Return the report of run ``number`` before sealing."""
    started = (START + timedelta(hours=number)).isoformat()
    fields = {"id": f"{number * 7919:016x}", "started": started, "commit": f"{number // 10:040x}", "dirty": False}
    return sample.draft(ROWS, run=sample.run(**{**fields, **changes}))


def with_control(number: int, control: ControlSummary) -> Report:
    """Return the report of run ``number``, with ``control`` beside each measurement."""
    plain = draft(number)
    checks = tuple(
        row.model_copy(update={"measurement": row.measurement.model_copy(update={"control": control})})
        if row.measurement
        else row
        for row in plain.checks
    )
    return seal(plain.model_copy(update={"checks": checks}))


@functools.cache
def on_jetpack(number: int, jetpack: str, serial: str = "1420") -> Report:
    """Return a run whose probe read a Jetson with this JetPack release."""
    major, minor, patch = RELEASES[jetpack].split(".")
    release = f"# R{major} (release), REVISION: {minor}.{patch}, GCID: 38968081, BOARD: generic, EABI: aarch64"
    facts = {**sample.ENVIRONMENT, "board": {**BOARD, "serial": serial, "nv_tegra_release": release}}
    target = TargetReport(requested="cpu", used="cpu", kind="local", facts=facts)
    return seal(draft(number).model_copy(update={"target": target}))


@functools.cache
def fallback(number: int) -> Report:
    """Return a run that requested a board and used the CPU, without measurements."""
    use = TargetUse(requested="jetson", used="cpu")
    update = {"verdict": Verdict.NOT_RUN, "cause": Cause.FALLBACK, "target": use, "reason": "the board was not reached"}
    unmeasured: dict[str, Any] = {"evidence": None, "executed_on": None, "engine": None, "measurement": None}
    report = draft(number)
    rows = tuple(row.model_copy(update={**update, **unmeasured}) for row in report.checks)
    target = TargetReport(requested="jetson", used="cpu", kind="ssh", fallback_reason="no route to host")
    return seal(report.model_copy(update={"checks": rows, "target": target, "measurements": ()}))
