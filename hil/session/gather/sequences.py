"""Check sequences of a model with a state: run the engine over them on the target, and compare with the reference."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import parity as checks
from hil.checks import sequences
from hil.datasets.sequence import Sequence
from hil.session.amendments.row_facts import Facts
from hil.session.gather import parity
from hil.session.gather.cause import NoScores, located
from hil.session.gather.gathered import Gathered
from hil.session.gather.parity import method_of, precision_of
from hil.session.gather.sequence_runs import compared, rows_of, run, run_free, sequence_of, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.checks.blocks import Outputs
    from hil.datasets import Batch
    from hil.onnx_files.signature import Signature
    from hil.results import Judgement, Row
    from hil.session.amendments.row_facts import Diagnosis
    from hil.session.diagnosing import Chosen
    from hil.session.engine_context import EngineContext
    from hil.targets.engine_worker import EngineWorker

INTERLEAVED = 100
"""The most steps of two batches of sequences that run in turn, each step in its own request."""

BESIDE = 8
"""The most sequences of a batch that run beside copies of themselves, evenly spaced, with the first and the last."""


def free_running(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sequence.free_running``: whole sequences in which the engine is fed with its own state."""
    sides = compared(session, row, free=True)
    return _gathered(session, row, sides.comparison.judge(sides.suspicion.cause), "free-running")


def teacher_forced(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sequence.teacher_forced``: each step of the engine begins with the reference's state."""
    return _gathered(session, row, compared(session, row, free=False).comparison.judge(), "teacher-forced")


def task(session: EngineContext, row: Row) -> Gathered:
    """Judge ``parity.task``. For a model with a state, a sequence is scored by the mean over its free-running steps."""
    if not session.signature(row.model).carry:
        return parity.task(session, row)
    scored = compared(session, row, free=True).scored
    judgement = checks.task(
        scored.scores(),
        precision_of(row),
        session.model(row.model).tolerances.get(precision_of(row)),
        where=parity.where_of(session, row),
        why_not=scored.comparison.fatal or scored.why_not,
    )
    method = {**method_of(session, row, "task, over sequences"), **parity.scored_by(session, row.model)}
    return Gathered(judgement, method)


def _gathered(session: EngineContext, row: Row, judgement: Judgement, how: str) -> Gathered:
    method = {**method_of(session, row, f"sequences, {how}"), "carry": session.signature(row.model).carry}
    return Gathered(judgement, method, Facts(diagnosis=_diagnosis(session, row, judgement)))


def _diagnosis(session: EngineContext, row: Row, judgement: Judgement) -> Diagnosis | None:
    """Return the diagnosis of the teacher-forced step that differs most; ``None`` if ``located`` returns ``None``."""

    def choose() -> Chosen:
        # With the engine's own state, every later step differs as well: only a single step shows where errors arise.
        return compared(session, row, free=False).suspicion.worst_step()

    return located(session, row, judgement, choose, NoScores())


def reset(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sequence.reset``: whether a batch of sequences gives the same outputs again after other batches ran."""
    session.refuse_random(row.model)
    batches = _first_batches(session, row.model)
    with session.engines.lease(row.model, row.precision) as worker:
        first = run_free(worker, batches[0])
        for other in batches[1:]:
            run_free(worker, other)
        again = run_free(worker, batches[0])
    return Gathered(sequences.reset(first, again, sequences=len(batches) - 1), _METHOD)


_METHOD = {"version": 1, "compared": "bit for bit"}


def isolation(session: EngineContext, row: Row) -> Gathered:
    """Judge ``sequence.isolation``: whether sequences that run at the same time do not change each other's state."""
    session.refuse_random(row.model)
    batches = _first_batches(session, row.model)
    steps = min(INTERLEAVED, *(len(sequence_of(batch)) for batch in batches))
    parts = [_cut(sequence_of(batch), 0, steps) for batch in batches]
    with session.engines.lease(row.model, row.precision) as worker:
        alone = [run(worker, part, "alone") for part in parts]
        rows: list[list[Outputs]] = [[] for _ in parts]
        for number in range(steps):
            for at, part in enumerate(parts):
                one = _cut(part, number, number + 1)
                rows[at].append(run(worker, one, f"sequence {at}", begins=not number))
        beside = list(_beside(session, row.model, worker, batches[0], parts[0]))
    judgement = sequences.isolation(
        alone,
        [_joined(made) for made in rows],
        beside=beside,
        precision=precision_of(row),
        spec=session.model(row.model).tolerances.get(precision_of(row)),
    )
    return Gathered(judgement, {**_METHOD, "steps": steps, "batch": session.model(row.model).batch})


def _first_batches(session: EngineContext, model: str) -> list[Batch]:
    spec = session.model(model)
    return list(islice(session.dataset(model).batches(spec.batch, spec.samples), 2))


def _cut(sequence: Sequence, start: int, end: int) -> Sequence:
    return replace(sequence, steps={name: array[start:end] for name, array in sequence.steps.items()})


def _joined(rows: list[Outputs]) -> Outputs:
    """Return the outputs of single steps as those of one sequence."""
    return [(name, np.concatenate([dict(one)[name] for one in rows])) for name, _ in rows[0]]


def _beside(
    session: EngineContext, model: str, worker: EngineWorker, batch: Batch, part: Sequence
) -> Iterator[tuple[Outputs, Outputs]]:
    """Yield the outputs of sequences of a batch in that batch, each with those in a batch of its copies.

    These are all of its sequences, at most ``BESIDE``. Yield nothing for a batch of one sequence.
    """
    count = rows_of(batch)
    if count < 2:
        return
    together = list(split(session, model, batch, run(worker, part, "beside")))
    for number in sorted({round(at) for at in np.linspace(0, count - 1, min(count, BESIDE))}):
        copies = _copies(session.signature(model), part, number)
        apart = list(split(session, model, batch, run(worker, copies, "beside")))
        yield together[number], apart[number]


def _copies(signature: Signature, part: Sequence, number: int) -> Sequence:
    """Return a batch in which each sequence is a copy of that with this number."""

    def copied(name: str, array: np.ndarray[Any, Any], before: int) -> np.ndarray[Any, Any]:
        axis = signature.input(name).batch_axis
        if axis is None:
            return array
        one = np.take(array, [number], axis=axis + before)
        return np.repeat(one, array.shape[axis + before], axis=axis + before)

    steps = {name: copied(name, array, 1) for name, array in part.steps.items()}
    return Sequence(steps, {name: copied(name, array, 0) for name, array in part.begin.items()}, part.carry)
