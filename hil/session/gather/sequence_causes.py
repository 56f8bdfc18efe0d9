"""Gathers what the diagnosis of a state needs: one batch of sequences, as the engine has run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks.tolerances import SLICE_ERRORS
from hil.diagnose.state_faults import cause
from hil.diagnose.step_replay import FLOOR, Trace
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.reference import cpu_session
from hil.session.gather.parity import precision_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.checks.comparison import Outputs
    from hil.datasets import Batch
    from hil.results import Row
    from hil.session.engine_context import EngineContext

    Arrays = dict[str, np.ndarray[Any, Any]]

LARGE = 5.0
"""Multiple of the precision's tolerance from which on a single step is wrong; rounding alone stays below."""


class Suspicion:
    """Keeps the batch of sequences in which an engine with its own state differs most from the reference."""

    def __init__(self, session: EngineContext, row: Row) -> None:
        self._session, self._row = session, row
        self._before: Arrays = {}
        self._worst = -1.0
        self._kept: tuple[Batch, Arrays, Arrays] | None = None

    def add(self, batch: Batch, reference: Outputs, outputs: Outputs) -> None:
        """Add one batch with the outputs of both sides, ``[steps, *shape]``."""
        ours, theirs = dict(reference), dict(outputs)
        worst = max((_difference(array, theirs.get(name)) for name, array in ours.items()), default=0.0)
        if worst > self._worst:
            self._worst, self._kept = worst, (batch, theirs, self._before)
        self._before = {name: array[-1] for name, array in theirs.items()}

    def cause(self) -> str:
        """Return what is done wrong with the state; empty if nothing fits."""
        if self._kept is None:
            return ""
        batch, outputs, before = self._kept
        sequence = batch.sequence
        if sequence is None:
            return ""
        session, names = cpu_session(self._session.onnx(self._row.model)), list(outputs)

        def step(feed: Mapping[str, Any]) -> Mapping[str, Any]:
            return dict(zip(names, run_on_host(session, names, feed), strict=True))

        floor = max(FLOOR, LARGE * SLICE_ERRORS[precision_of(self._row)][0])
        trace = Trace(step, sequence.steps, sequence.begin, sequence.carry, outputs, before, floor)
        return cause(trace)


def _difference(reference: np.ndarray[Any, Any], engine: np.ndarray[Any, Any] | None) -> float:
    """Return the largest difference in standard deviations; infinite if there is NaN, or if the shapes differ."""
    if engine is None or engine.shape != reference.shape:
        return float("inf")
    if not np.isfinite(engine).all():
        return float("inf")
    spread = float(reference.std())
    return float(np.abs(engine - reference).max()) / spread if spread > 0 else 0.0
