"""Run an engine over sequences on the target, and compare its steps with the reference's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from hil.checks.sequence_comparison import SequenceComparison
from hil.compare_files import Declared, comparison_of
from hil.errors import Unsupported, UserError
from hil.onnx_files.host_sequence import run_sequence
from hil.onnx_files.reference import cpu_session
from hil.session.gather.parity import Compared, distinct_of, precision_of, scorer_of
from hil.session.gather.sequence_causes import Suspicion
from hil.session.split_sequences import split_sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from hil.checks.blocks import Outputs
    from hil.checks.comparison import Comparison
    from hil.datasets import Batch
    from hil.datasets.sequence import Sequence
    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.targets.engine_worker import EngineWorker

    Arrays = Mapping[str, np.ndarray[Any, Any]]

HELD = 8
"""The most batches that the reference runs again with a state held at its start value.

They show whether the comparison would notice the loss of that state.
"""


@dataclass(frozen=True)
class ComparedSequences:
    """The comparison of an engine with the reference over all sequences.

    ``suspicion`` has the batch in which they differ most. ``scored`` has a score for each sequence: the mean over its
    steps.
    """

    comparison: SequenceComparison
    suspicion: Suspicion
    scored: Compared


def compared(session: EngineContext, row: Row, *, free: bool) -> ComparedSequences:
    """Return the comparison of the row's engine with the reference; the first call runs both.

    With ``free``, each step begins with the engine's own state (free-running), otherwise with the reference's
    (teacher-forced).
    """
    key = "sequences", row.model, row.precision, "free" if free else "forced"
    return session.memo.once(key, lambda: _compared(session, row, free=free))


def _compared(session: EngineContext, row: Row, *, free: bool) -> ComparedSequences:
    model, precision = row.model, precision_of(row)
    spec, data, reference = session.model(model), session.dataset(model), session.reference(model)
    empty = partial(
        comparison_of,
        Declared(session.config, model, session.requested),
        precision,
        spec.tolerances.get(precision),
        samples=None,
    )
    steps = empty(distinct=distinct_of(session, model))
    comparison = SequenceComparison(
        steps,
        sequences=data.count if spec.samples is None else min(spec.samples, data.count),
        grows=free,
        lost={state: empty(spot_check=True) for state in session.signature(model).carry} if free else {},
        states=session.signature(model).carry,
    )
    suspicion, scored = Suspicion(session, row), _scored(session, model, steps, free=free)
    pairs = zip_longest(data.batches(spec.batch, spec.samples), reference.batches(spec.batch, spec.samples))
    how = "with its own state" if free else "with the reference's state"
    text = f"{model} {row.precision}: running sequences {how}"
    with (
        session.progress.step(text, total=session.batches(model), unit="batches") as step,
        session.engines.lease(model, row.precision) as worker,
    ):
        for batch, answer in step.counting(pairs):
            if batch is None or answer is None:
                comparison.fatal = "reference and data have different numbers of sequences: save the reference again"
                break
            got = run_free(worker, batch) if free else _run_forced(worker, batch, dict(answer))
            suspicion.add(batch, answer, got)
            for number, (ours, theirs) in enumerate(
                zip(split(session, model, batch, answer), split(session, model, batch, got), strict=True)
            ):
                comparison.update(ours, theirs, still=_is_still(batch, number))
                if not comparison.fatal:
                    _score(scored, model, batch, number, ours, theirs)
            if comparison.fatal:
                break
    steps.fatal = steps.fatal or comparison.fatal
    if free and not comparison.fatal:
        for state, ours, lost in _held(session, model):
            comparison.without(state, ours, lost)
    return ComparedSequences(comparison, suspicion, scored)


def _scored(session: EngineContext, model: str, steps: Comparison, *, free: bool) -> Compared:
    """Return a ``Compared`` to which scores can be added. Its ``why_not`` is set if sequences cannot be scored."""
    metric, why_not = scorer_of(session, model) if free else (None, "")
    if metric is not None and metric.pools is not None and metric.higher_is_better:
        why_not = f"{metric.name} is not a mean over steps, so sequences cannot be scored by it"
        metric = None
    return Compared(steps, metric, [], [], why_not, distinct_of(session, model), {})


def _score(  # noqa: PLR0913, PLR0917 - private: a sequence, and the outputs of both sides
    scored: Compared, model: str, batch: Batch, number: int, ours: Outputs, theirs: Outputs
) -> None:
    """Add the scores of sequence ``number`` of the batch. Raise ``UserError`` if labels do not have a row per step."""
    if scored.metric is None:
        return
    labels, steps = {name: array[number] for name, array in batch.labels.items()}, len(sequence_of(batch))
    if any(array.shape[:1] != (steps,) for array in labels.values()):
        raise UserError(
            f"the labels do not have the {steps} steps of a sequence: model {model}: give arrays [sequences, steps, …]"
        )
    for scores, outputs in ((scored.reference, ours), (scored.candidate, theirs)):
        scores.append(scored.metric.score(dict(outputs), labels).mean(axis=0, keepdims=True))


def sequence_of(batch: Batch) -> Sequence:
    """Return the sequences of a batch. Raise ``Unsupported`` if the batch has single samples instead."""
    if batch.sequence is None:
        raise Unsupported("the model carries no state, so it has no sequences: write carry for an input")
    return batch.sequence


def run_free(worker: EngineWorker, batch: Batch) -> Outputs:
    """Return the engine's outputs of all steps of a batch of sequences, each step fed with the engine's own state."""
    return run(worker, sequence_of(batch), "")


def run(worker: EngineWorker, sequence: Sequence, key: str, *, begins: bool = True) -> Outputs:
    """Run the steps of ``sequence`` with the engine's own state, and return the outputs, ``[steps, *shape]``.

    The target keeps the state under the name ``key``. With ``begins``, the state is first set to the sequence's start
    values.
    """
    return worker.sequence(sequence.steps, sequence.begin if begins else None, sequence.carry, key=key)


def _run_forced(worker: EngineWorker, batch: Batch, answer: Arrays) -> Outputs:
    sequence = sequence_of(batch)
    return worker.sequence({**sequence.steps, **sequence.states(answer)}, {}, {})


def rows_of(batch: Batch) -> int:
    """Return the number of sequences of a batch."""
    return len(next(iter(batch.inputs.values())))


def _is_still(batch: Batch, number: int) -> bool:
    """Return whether the inputs of sequence ``number`` of the batch, states aside, are the same in all its steps."""
    free = [array[number] for name, array in batch.inputs.items() if name not in sequence_of(batch).carry]
    return all(bool((array == array[0]).all()) for array in free)


def split(session: EngineContext, model: str, batch: Batch, outputs: Outputs) -> Iterator[Outputs]:
    """Yield the outputs of each sequence of a batch (``split_sequences``)."""
    return split_sequences(session.signature(model), model, rows_of(batch), outputs)


def _held(session: EngineContext, model: str) -> list[tuple[str, Outputs, Outputs]]:
    """Return (state, outputs, outputs with the state held) of the reference for some sequences.

    A held state has its start value in every step.
    """

    def work() -> list[tuple[str, Outputs, Outputs]]:
        spec, result = session.model(model), []
        host = cpu_session(session.onnx(model))
        reference = session.reference(model).batches(spec.batch, spec.samples)
        for batch, answer in islice(zip(session.dataset(model).batches(spec.batch, spec.samples), reference), HELD):  # noqa: B905 - equal lengths are judged
            sequence = sequence_of(batch)
            for state in sequence.carry:

                def hook(_: int, states: dict[str, Any], state: str = state, start: Any = sequence.begin) -> Any:
                    return {**states, state: start[state]}

                lost = list(run_sequence(host, [name for name, _ in answer], sequence, hook).items())
                ours, theirs = (split(session, model, batch, one) for one in (answer, lost))
                result += [(state, one, other) for one, other in zip(ours, theirs, strict=True)]
        return result

    with session.progress.step(f"{model}: running the reference without its state", said=False):
        return session.memo.once(("held states", model), work)
