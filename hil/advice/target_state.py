"""Advise on a disturbed target, an engine of another board, and an inconclusive comparison with a baseline."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hil.advice.report_facts import listed, named, number, table
from hil.results import Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.advice.report_facts import Around
    from hil.results import CheckResult

CLIENT = re.compile(r"(\S+) \(process (\d+)\) used the GPU")
OTHER_BOARD = ("not written by this version of TensorRT", "built for another GPU")
"""Parts of the messages of ``hil.agent.runtimes.tensorrt.engine`` for an engine that TensorRT cannot load."""


def disturbed(check: CheckResult, around: Around) -> Iterator[str]:
    """Yield advice for each disturbance from outside: another process on the GPU, swapping, or over-current."""
    if check.verdict is not Verdict.INCONCLUSIVE:
        return
    outside = [entry for entry in listed(check.details.get("state")) if entry.get("source") == "outside"]
    for finding in outside:
        text, kind = str(finding.get("text")), finding.get("kind")
        client = CLIENT.search(text) if kind == "gpu_clients" else None
        section = f"[targets.{check.target.used}]"
        if client:
            name = named(client[1])
            yield f"stop the service of {name} (process {client[2]}) while measuring: stop_services in {section}"
        elif kind == "swap":
            free = number(table(around.report.target.facts.get("memory")).get("available"))
            left = f" ({show(free, 'B')} was free when the target was probed)" if free is not None else ""
            yield f"{named(text)}: free memory on the board before the row is judged again{left}"
        elif kind == "over_current":
            yield f"{named(text)}: the power supply is too weak: use a stronger one, or a lower power mode"


def another_board(check: CheckResult, around: Around) -> Iterator[str]:
    """Yield the advice to rebuild an engine that was built by another TensorRT or for another GPU."""
    if check.verdict is Verdict.PASSED or not any(words in check.reason for words in OTHER_BOARD):
        return
    known = around.identity
    jetpack, version = known.get("jetpack"), table(known.get("versions")).get("tensorrt")
    releases = (("JetPack", jetpack), ("TensorRT", version))
    software = ", ".join(f"{what} {named(release)}" for what, release in releases if release)
    board = f"{check.target.used}{f' ({software})' if software else ''}"
    yield f"rebuild it on {board}: without engine in [models.{check.model}] it is built there, from the ONNX file"


def too_few_runs(check: CheckResult, _around: Around) -> Iterator[str]:
    """Advise how many runs an inconclusive regression check needs, and report which change it would have detected."""
    needed, visible = number(check.details.get("runs_needed")), number(check.details.get("visible"))
    if not check.id.startswith("regression.") or check.verdict is not Verdict.INCONCLUSIVE:
        return
    detected = f"this run would have detected a change of {visible * 100:.3g} %" if visible is not None else ""
    power = f"{detected} in 90 % of cases" if detected else ""
    if needed is not None:
        yield f"{power + ': ' if power else ''}take {needed:.0f} runs per side, with --hil-runs={needed:.0f}"
    elif power and check.limit is not None and visible is not None and visible > check.limit.value:
        required = show(check.limit.value, "1")
        yield f"{power}, but {required} must be excluded: reduce the target's noise, or widen limits.regression"


def regressed(check: CheckResult, around: Around) -> Iterator[str]:
    """Report the other regressions of the same engine, which may have one common cause."""
    if not check.id.startswith("regression.") or check.verdict is not Verdict.FAILED:
        return
    also = [
        f"{row.id} {show(row.measurement.value, '1')}"
        for row in around.report.checks
        if (row.model, row.precision) == (check.model, check.precision)
        and row.id.startswith("regression.")
        and row.id != check.id
        and row.verdict is Verdict.FAILED
        and row.measurement is not None
    ]
    baseline = table(check.details.get("baseline")).get("ref")
    if also:
        since = f", since {named(baseline)}" if baseline else ""
        yield f"worse as well: {', '.join(also)}{since}: look for a common cause"


RULES = (disturbed, another_board, too_few_runs, regressed)
