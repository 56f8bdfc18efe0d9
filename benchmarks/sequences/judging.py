"""Judges cases by the product: its configuration, data, reference, and all four checks of sequences.

The worker is the only part that is replaced, by the same code in this process (``engine.InProcess``).
"""

from __future__ import annotations

import re
import time
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import onnx

from benchmarks.parity.planting import stands
from benchmarks.sequences.engine import InProcess
from benchmarks.sequences.runner import free_running
from hil.config.load import load
from hil.diagnose.bisect import diagnose
from hil.diagnose.graph import Graph
from hil.errors import Unsupported
from hil.results import Row
from hil.session import Request, Session
from hil.session.gather import sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.sequences.planting import Drawn
    from hil.results import Judgement
    from hil.session.engine_context import EngineContext

CHECKS = {
    "sequence.teacher_forced": sequences.teacher_forced,
    "sequence.free_running": sequences.free_running,
    "sequence.reset": sequences.reset,
    "sequence.isolation": sequences.isolation,
}
BATCH = 2
"""Sequences of a batch, so that one can leak into the other."""


class Replaced:
    """A session whose engines are ``worker``."""

    def __init__(self, session: Session, worker: InProcess) -> None:
        self._session, self._worker = session, worker
        self.engines = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    @contextmanager
    def lease(self, *_: str) -> Iterator[InProcess]:
        """Yield the worker, as ``hil.session.engines.engines.Engines.lease``."""
        yield self._worker

    def provisioned(self, *_: str) -> NoReturn:
        """Raise ``Unsupported``, since no engine was built."""
        raise Unsupported("the engine of a case is in this process")


def write_project(folder: Path, cases: Sequence[Drawn]) -> Path:
    """Write models, data and ``hil.toml`` of all cases, and return the config's path.

    The model of case 3 is called ``m3``.
    """
    lines = []
    for number, case in enumerate(cases):
        onnx.save(case.model.model, folder / f"m{number}.onnx")
        np.savez(folder / f"m{number}.npz", x=case.x)
        lines += [f"[models.m{number}]", f'path = "m{number}.onnx"', f'data = "m{number}.npz"', f"batch = {BATCH}"]
        for taken, given in case.model.states.items():
            lines += [f"[models.m{number}.inputs.{taken}]", f'carry = "{given}"']
            lines += [f"batch_axis = {case.model.axes[taken]}"]
    path = folder / "hil.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def rows(folder: Path, cases: Sequence[Drawn]) -> Iterator[dict[str, Any]]:
    """Yield the row of each case, in order."""
    config = write_project(folder, cases)
    request = Request(load(config), "cpu", "cpu", 0.0, "one", folder / "report", lambda _: None)
    with closing(Session.open(request)) as session:
        for number, case in enumerate(cases):
            yield {"number": number, **judge(session, f"m{number}", case)}


def judge(session: Session, name: str, case: Drawn) -> dict[str, Any]:
    """Return the verdict of each check of one case, whether it is accused, and what is named as the cause."""
    start = time.perf_counter()
    planted = case.planted
    made: dict[str, Judgement] = {}
    for check, gather in CHECKS.items():
        # A worker for each check: what one leaves behind would hide what the next finds.
        worker = InProcess(case.graph, case.behaviour if planted is not None else None)
        replaced = cast("EngineContext", Replaced(session, worker))
        made[check] = gather(replaced, Row(id=check, model=name, precision=case.precision, required=True)).judgement
    wrong = [one for one in made.values() if one.verdict.value != "passed"]
    named = " | ".join(dict.fromkeys(cause for one in wrong if (cause := _cause(one))))
    right = False
    if planted is not None and planted.node:
        named = _node(case) if wrong else ""
        right = _is_node(case, named)
    elif planted is not None:
        right = re.search(planted.cause, named) is not None
    return {
        "part": "fault" if planted is not None else "sound",
        "model": case.model.name,
        "kind": case.kind,
        "precision": case.precision,
        "what": "" if planted is None else planted.what,
        "verdicts": {check: one.verdict.value for check, one in made.items()},
        "reasons": {check: one.reason for check, one in made.items() if one.verdict.value != "passed"},
        "passed": not wrong,
        "failed": any(one.verdict.value == "failed" for one in wrong),
        "named": named,
        "right": right,
        "seconds": time.perf_counter() - start,
    }


def _cause(judgement: Judgement) -> str:
    """Return the cause that a judgement names.

    Reset and isolation name it in their reason, other checks in their details.
    """
    if "cause" in judgement.details:
        return str(judgement.details["cause"])
    return judgement.reason.rpartition(": ")[2]


def _node(case: Drawn) -> str:
    """Return the node that ``hil diagnose`` names on some steps, each run with the reference's states."""
    outputs, wrong = (free_running(case.model, [case.x[:1]], graph=graph)[0] for graph in (None, case.graph))
    worst = int(np.abs(wrong["y"] - outputs["y"]).max(axis=(1, 2)).argmax())
    step = max(worst, 1)
    states = {taken: outputs[given][step - 1] for taken, given in case.model.states.items()}
    feeds = {"x": case.x[:1, step], **states}
    judged = partial(stands, case.precision)
    found = diagnose(case.model.model, case.graph, feeds, case.precision, stands=judged)
    return found.culprits[0].seen.node.name if found.culprits else ""


def _is_node(case: Drawn, node: str) -> bool:
    """Return whether ``node`` makes the wrong tensor or reads it, since runtimes fuse nodes."""
    graph, planted = Graph(case.model.model), case.planted
    assert planted is not None  # noqa: S101 - the caller's condition
    allowed = {graph.label(at) for at, one in enumerate(graph.nodes) if planted.node in (*one.input, *one.output)}
    return node in allowed
