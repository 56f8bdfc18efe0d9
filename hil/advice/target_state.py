"""What to do about a disturbed target, an engine of another board, and a comparison that settles nothing."""

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
"""How ``hil.agent.runtimes.tensorrt.engine`` explains an engine that TensorRT would not load."""


def disturbed(check: CheckResult, around: Around) -> Iterator[str]:
    """Who else used the GPU, swapped, or held the clocks; each as it was seen."""
    if check.verdict is not Verdict.INCONCLUSIVE:
        return
    outside = [one for one in listed(check.details.get("state")) if one.get("source") == "outside"]
    for finding in outside:
        text, kind = str(finding.get("text")), finding.get("kind")
        client = CLIENT.search(text) if kind == "gpu_clients" else None
        section = f"[targets.{check.target.used}]"
        if client:
            name = named(client[1])
            yield f"stop the service of {name} (process {client[2]}) while measuring: stop_services in {section}"
        elif kind == "swap":
            free = number(table(around.report.target.facts.get("memory")).get("available"))
            left = f" ({show(free, 'B')} was free when it was probed)" if free is not None else ""
            yield f"{named(text)}: free memory on the board before it is judged again{left}"
        elif kind == "over_current":
            yield f"{named(text)}: the supply cannot feed this power mode, give it a stronger one or a lower mode"


def another_board(check: CheckResult, around: Around) -> Iterator[str]:
    """An engine of another TensorRT or GPU: rebuild it where it will run."""
    if check.verdict is Verdict.PASSED or not any(words in check.reason for words in OTHER_BOARD):
        return
    known = around.identity
    jetpack, version = known.get("jetpack"), table(known.get("versions")).get("tensorrt")
    here = ", ".join(f"{what} {named(told)}" for what, told in (("JetPack", jetpack), ("TensorRT", version)) if told)
    board = f"{check.target.used}{f' ({here})' if here else ''}"
    yield f"rebuild it on {board}: without engine in [models.{check.model}] it is built there, from the ONNX file"


def too_few_runs(check: CheckResult, _around: Around) -> Iterator[str]:
    """A regression that is not settled: what could have been seen, and how many runs see enough."""
    needed, visible = number(check.details.get("runs_needed")), number(check.details.get("visible"))
    if not check.id.startswith("regression.") or check.verdict is not Verdict.INCONCLUSIVE:
        return
    seen = f"this run could have seen {visible:.1%}" if visible is not None else ""
    if needed is not None:
        yield f"{seen + ': ' if seen else ''}take {needed:.0f} runs a side, with --hil-runs={needed:.0f}"
    elif seen and check.limit is not None and visible is not None and visible > check.limit.value:
        yield f"{seen} and {show(check.limit.value, '1')} must be excluded: calm the target, or widen limits.regression"


def regressed(check: CheckResult, around: Around) -> Iterator[str]:
    """What else of the same engine got worse, so that one cause is sought and not several."""
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
    then = table(check.details.get("baseline")).get("ref")
    if also:
        yield f"worse as well: {', '.join(also)}{f', since {named(then)}' if then else ''}: look for one cause of all"


RULES = (disturbed, another_board, too_few_runs, regressed)
