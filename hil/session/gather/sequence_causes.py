"""Gather what the diagnosis of a model with a state needs: the sequences and the step that differ most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks.tolerances import SLICE_ERRORS
from hil.diagnose.diagnosis import Step
from hil.diagnose.repro import Replayed
from hil.diagnose.state_faults import cause
from hil.diagnose.step_replay import FLOOR, Trace
from hil.dtypes import differences, is_finite
from hil.errors import Unsupported
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.reference import cpu_session
from hil.session.diagnosing import ROWS, Chosen, is_batch_free
from hil.session.gather.parity import precision_of
from hil.session.split_sequences import split_sequences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.checks.blocks import Outputs
    from hil.datasets import Batch
    from hil.datasets.sequence import Sequence as Steps
    from hil.onnx_files.signature import Signature
    from hil.results import Row
    from hil.session.engine_context import EngineContext

    Arrays = dict[str, np.ndarray[Any, Any]]

CONSTANT = 1e-7
"""Up to this share of its largest magnitude, the deviation of an array is that of rounding: it is constant."""

LARGE = 5.0
"""A step is wrong if its error is more than this multiple of the precision's tolerance; rounding alone stays below."""


@dataclass(frozen=True)
class Kept:
    """A batch of sequences with the outputs of reference and engine, each ``[steps, *shape]``.

    ``first`` is the number of the batch's first sequence. ``before`` are the engine's outputs in the last step of the
    previous batch, ``[*shape]``; empty for the first batch.
    """

    batch: Batch
    first: int
    reference: Arrays
    engine: Arrays
    before: Arrays


class Suspicion:
    """Keeps the batch of sequences in which an engine differs most from the reference."""

    def __init__(self, session: EngineContext, row: Row) -> None:
        self._session, self._row = session, row
        self._before: Arrays = {}
        self._count = 0
        self._worst = -1.0
        self._kept: Kept | None = None

    def add(self, batch: Batch, reference: Outputs, outputs: Outputs) -> None:
        """Add one batch with the outputs of both sides, ``[steps, *shape]``."""
        ours, theirs = dict(reference), dict(outputs)
        worst = max((_worst_of(array, theirs.get(name)) for name, array in ours.items()), default=0.0)
        if worst > self._worst:
            self._worst, self._kept = worst, Kept(batch, self._count, ours, theirs, self._before)
        self._before = {name: array[-1, ...] for name, array in theirs.items()}
        self._count += len(next(iter(batch.inputs.values())))

    def cause(self) -> str:
        """Return, as text, which fault in handling the state explains the engine's outputs; empty if none does.

        The batches must have been run free-running: the engine was fed with its own state.
        """
        kept = self._kept
        if kept is None or kept.batch.sequence is None:
            return ""
        sequence = kept.batch.sequence
        session, names = cpu_session(self._session.onnx(self._row.model)), list(kept.engine)

        def step(feed: Mapping[str, Any]) -> Mapping[str, Any]:
            return dict(zip(names, run_on_host(session, names, feed), strict=True))

        floor = max(FLOOR, LARGE * SLICE_ERRORS[precision_of(self._row)][0])
        signature = self._session.signature(self._row.model)
        axes = {name: signature.input(name).batch_axis for name in sequence.carry}
        return cause(Trace(step, sequence.steps, sequence.begin, sequence.carry, kept.engine, kept.before, floor, axes))

    def worst_step(self) -> Chosen:
        """Return the inputs of the step with the largest error, for a diagnosis.

        The batches must have been run teacher-forced. The engine is run again up to the step, with its own state. Raise
        ``Unsupported`` if nothing was run.
        """
        kept, session, model = self._kept, self._session, self._row.model
        if kept is None or kept.batch.sequence is None:
            raise Unsupported("no step was run, so there is none to examine: correct what the reason names first")
        signature, sequence = session.signature(model), kept.batch.sequence
        number, step = _place(signature, model, kept)
        with session.engines.lease(model, self._row.precision) as worker:
            steps = {name: array[: step + 1] for name, array in sequence.steps.items()}
            obtained = {name: array[-1] for name, array in worker.sequence(steps, sequence.begin, sequence.carry)}
        rows = ROWS if is_batch_free(session, model) else 1
        feeds = single_steps(signature, sequence, kept.reference, range(max(0, step + 1 - rows), step + 1))
        expected = {name: array[step] for name, array in kept.reference.items()}
        replayed = Replayed(steps, sequence.begin, sequence.carry, expected, obtained)
        return Chosen(feeds, Step(kept.first + number, step), replayed)


def single_steps(signature: Signature, sequence: Steps, outputs: Arrays, steps: Sequence[int]) -> Arrays:
    """Return the inputs of the steps with the numbers ``steps``, stacked into one batch.

    If the steps differ in an input that has no batch axis, return only the inputs of the last step. ``outputs`` are the
    reference's, from which each step gets the state before it.
    """
    feeds = []
    for number in steps:
        states = {
            n: outputs[source][number - 1, ...] if number else sequence.begin[n] for n, source in sequence.carry.items()
        }
        feeds.append({**sequence.step(number), **states})
    axes = {name: signature.input(name).batch_axis for name in feeds[-1]}
    if any(axis is None and not all(np.array_equal(one[n], feeds[-1][n]) for one in feeds) for n, axis in axes.items()):
        feeds = feeds[-1:]
    return {
        name: feeds[-1][name] if axis is None else np.concatenate([one[name] for one in feeds], axis=axis)
        for name, axis in axes.items()
    }


def _place(signature: Signature, model: str, kept: Kept) -> tuple[int, int]:
    """Return the number of the sequence with the largest error in the batch, and the step of that error."""
    rows = len(next(iter(kept.batch.inputs.values())))
    known = [name for name, array in kept.reference.items() if _has_shape(kept.engine.get(name), array)]
    ours, theirs = (
        split_sequences(signature, model, rows, [(name, side[name]) for name in known])
        for side in (kept.reference, kept.engine)
    )
    worst, place = -1.0, (0, 0)
    for number, pair in enumerate(zip(ours, theirs, strict=True)):
        for (_, one), (_, other) in zip(*pair, strict=True):
            errors = step_errors(one, other)
            if errors.size and float(errors.max()) > worst:
                worst, place = float(errors.max()), (number, int(errors.argmax()))
    return place


def _has_shape(array: np.ndarray[Any, Any] | None, like: np.ndarray[Any, Any]) -> bool:
    return array is not None and array.shape == like.shape


def _worst_of(reference: np.ndarray[Any, Any], engine: np.ndarray[Any, Any] | None) -> float:
    """Return the largest error of any step (``step_errors``); infinite if the shapes differ."""
    if engine is None or engine.shape != reference.shape:
        return float("inf")
    return float(step_errors(reference, engine).max(initial=0.0))


def step_errors(reference: np.ndarray[Any, Any], engine: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the largest difference in each step, shape ``[steps]``, in standard deviations of the reference.

    Where the reference is constant, its magnitude replaces them, or 1 if that is 0. A difference is infinite where only
    one side is NaN or infinite.
    """
    worst: np.ndarray[Any, Any] = differences(reference, engine).reshape(len(reference), -1).max(axis=1, initial=0.0)
    finite = reference[is_finite(reference)].astype(np.float64)
    size = float(np.abs(finite).max(initial=0.0))
    spread = float(finite.std()) if finite.size else 0.0
    return worst / (spread if spread > CONSTANT * size else size or 1.0)
