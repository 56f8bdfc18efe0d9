"""Check sequences of a model with a state: run the engine over them on the target, and compare with the reference."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import sequences
from hil.checks.sequence_comparison import SequenceComparison
from hil.compare_files import Declared, comparison_of
from hil.datasets.sequence import Sequence
from hil.errors import Unsupported
from hil.onnx_files.host_sequence import run_sequence
from hil.onnx_files.reference import cpu_session
from hil.session.gather.gathered import Gathered
from hil.session.gather.parity import distinct_of, method_of, precision_of
from hil.session.gather.sequence_causes import Suspicion
from hil.session.split_sequences import split_sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.checks.comparison import Outputs
    from hil.datasets import Batch
    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.targets.engine_worker import EngineWorker

    Arrays = Mapping[str, np.ndarray[Any, Any]]

HELD = 8
"""Batches of the reference that are run again with a state held, to know whether its loss would be noticed."""

INTERLEAVED = 100
"""Steps of two sequences that are run in turn, each step in a request of its own."""


def free_running(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sequence.free_running``: whole sequences in which the engine is fed with its own state."""
    return _compared(session, row, free=True)


def teacher_forced(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sequence.teacher_forced``: each step of the engine begins with the reference's state."""
    return _compared(session, row, free=False)


def _compared(session: EngineContext, row: Row, *, free: bool) -> Gathered:
    model, precision = row.model, precision_of(row)
    spec, data, reference = session.model(model), session.dataset(model), session.reference(model)
    steps = comparison_of(
        Declared(session.config, model, session.requested),
        precision,
        spec.tolerances.get(precision),
        samples=None,
        distinct=distinct_of(session, model),
    )
    comparison = SequenceComparison(
        steps,
        sequences=data.count if spec.samples is None else min(spec.samples, data.count),
        grows=free,
        states=list(session.signature(model).carry) if free else (),
    )
    suspicion = Suspicion(session, row)
    pairs = zip_longest(data.batches(spec.batch, spec.samples), reference.batches(spec.batch, spec.samples))
    how = "with its own state" if free else "with the reference's state"
    text = f"{model} {row.precision}: running sequences {how}"
    with (
        session.progress.step(text, total=session.batches(model), unit="batches") as step,
        session.engines.lease(model, row.precision) as worker,
    ):
        for batch, answer in step.counting(pairs):
            if batch is None or answer is None:
                comparison.fatal = "the reference and the data have different numbers of sequences"
                break
            got = run_free(worker, batch) if free else _run_forced(worker, batch, dict(answer))
            for number, (ours, theirs) in enumerate(
                zip(_split(session, model, batch, answer), _split(session, model, batch, got), strict=True)
            ):
                comparison.update(ours, theirs, still=_is_still(batch, number))
            suspicion.add(batch, answer, got)
            if comparison.fatal:
                break
    if free and not comparison.fatal:
        for state, ours, lost in _held(session, model):
            comparison.without(state, ours, lost)
    judgement = comparison.judge(suspicion.cause if free else None)
    what = "sequences, free-running" if free else "sequences, teacher-forced"
    return Gathered(judgement, {**method_of(session, row, what), "carry": session.signature(model).carry})


def reset(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sequence.reset``: whether a sequence gives the same outputs again after another one."""
    batches = _first_batches(session, row.model)
    with session.engines.lease(row.model, row.precision) as worker:
        first = run_free(worker, batches[0])
        for other in batches[1:]:
            run_free(worker, other)
        again = run_free(worker, batches[0])
    return Gathered(sequences.reset(first, again, sequences=len(batches) - 1), _METHOD)


_METHOD = {"version": 1, "compared": "bit for bit"}


def isolation(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sequence.isolation``: whether sequences that run at the same time leave each other's state alone."""
    batches = _first_batches(session, row.model)
    steps = min(INTERLEAVED, *(len(_of(batch)) for batch in batches))
    parts = [_cut(_of(batch), 0, steps) for batch in batches]
    with session.engines.lease(row.model, row.precision) as worker:
        alone = _run(worker, parts[0], "alone")
        rows: list[list[Outputs]] = [[] for _ in parts]
        for number in range(steps):
            for at, part in enumerate(parts):
                one = _cut(part, number, number + 1)
                rows[at].append(_run(worker, one, f"sequence {at}", begins=not number))
        beside = _beside(session, row.model, worker, batches[0], parts[0])
    together = [(name, np.concatenate([dict(one)[name] for one in rows[0]])) for name, _ in alone]
    tolerances = session.model(row.model).tolerances.get(precision_of(row))
    judgement = sequences.isolation(
        alone,
        together,
        sequences=len(parts) - 1,
        beside=beside,
        precision=precision_of(row),
        spec=tolerances,
    )
    return Gathered(judgement, {**_METHOD, "steps": steps, "batch": session.model(row.model).batch})


def _first_batches(session: EngineContext, model: str) -> list[Batch]:
    spec = session.model(model)
    return list(islice(session.dataset(model).batches(spec.batch, spec.samples), 2))


def _of(batch: Batch) -> Sequence:
    if batch.sequence is None:
        raise Unsupported("the model carries no state, so it has no sequences: write carry for an input")
    return batch.sequence


def run_free(worker: EngineWorker, batch: Batch) -> Outputs:
    """Return the engine's outputs of all steps of a batch of sequences, each step fed with the state before it."""
    return _run(worker, _of(batch), "")


def _run(worker: EngineWorker, sequence: Sequence, key: str, *, begins: bool = True) -> Outputs:
    return worker.sequence(sequence.steps, sequence.begin if begins else None, sequence.carry, key=key)


def _run_forced(worker: EngineWorker, batch: Batch, answer: Arrays) -> Outputs:
    sequence = _of(batch)
    states = {
        name: np.concatenate([sequence.begin[name][None], answer[source][:-1]])
        for name, source in sequence.carry.items()
    }
    return worker.sequence({**sequence.steps, **states}, {}, {})


def _cut(sequence: Sequence, start: int, end: int) -> Sequence:
    return replace(sequence, steps={name: array[start:end] for name, array in sequence.steps.items()})


def _beside(
    session: EngineContext, model: str, worker: EngineWorker, batch: Batch, part: Sequence
) -> tuple[Outputs, Outputs] | None:
    """Return the outputs of a batch's first sequence beside its companions and beside copies of itself."""
    if _rows(batch) < 2:
        return None
    axes = {one.name: one.batch_axis for one in session.signature(model).inputs}
    copies = Sequence(
        {name: _repeated(array, axes[name], 1) for name, array in part.steps.items()},
        {name: _repeated(array, axes[name], 0) for name, array in part.begin.items()},
        part.carry,
    )
    runs = (_run(worker, one, "beside") for one in (part, copies))
    first, second = (next(_split(session, model, batch, run)) for run in runs)
    return first, second


def _repeated(array: np.ndarray[Any, Any], axis: int | None, before: int) -> np.ndarray[Any, Any]:
    if axis is None:
        return array
    first = np.take(array, [0], axis=axis + before)
    return np.repeat(first, array.shape[axis + before], axis=axis + before)


def _rows(batch: Batch) -> int:
    return len(next(iter(batch.inputs.values())))


def _is_still(batch: Batch, number: int) -> bool:
    """Return whether the inputs of one sequence are the same in each of its steps."""
    free = [array[number] for name, array in batch.inputs.items() if name not in _of(batch).carry]
    return all(bool((array == array[0]).all()) for array in free)


def _split(session: EngineContext, model: str, batch: Batch, outputs: Outputs) -> Iterator[Outputs]:
    return split_sequences(session.signature(model), model, _rows(batch), outputs)


def _held(session: EngineContext, model: str) -> list[tuple[str, Outputs, Outputs]]:
    """Return for each state the reference's outputs of some sequences, and those with that state held at its start."""

    def work() -> list[tuple[str, Outputs, Outputs]]:
        spec, result = session.model(model), []
        host = cpu_session(session.onnx(model))
        reference = session.reference(model).batches(spec.batch, spec.samples)
        for batch, answer in islice(zip(session.dataset(model).batches(spec.batch, spec.samples), reference), HELD):  # noqa: B905 - equal lengths are judged
            sequence = _of(batch)
            for state in sequence.carry:

                def hook(_: int, states: dict[str, Any], state: str = state, start: Any = sequence.begin) -> Any:
                    return {**states, state: start[state]}

                lost = list(run_sequence(host, [name for name, _ in answer], sequence, hook).items())
                ours, theirs = (_split(session, model, batch, one) for one in (answer, lost))
                result += [(state, one, other) for one, other in zip(ours, theirs, strict=True)]
        return result

    with session.progress.step(f"{model}: running the reference without its state", said=False):
        return session.memo.once(("held states", model), work)
