"""Check parity: compare engine and reference over the validation data, some batches at a time."""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hil.checks import parity
from hil.checks.blocks import Pair, blocks
from hil.checks.parity import DataFacts, Scores
from hil.checks.task import SHARES
from hil.compare_files import Declared, comparison_of, refuse_carried
from hil.datasets.distinct import distinct
from hil.metrics import Metric, open_metric
from hil.proposals.roles import exchanged_states, next_states
from hil.session.amendments.row_facts import Facts
from hil.session.gather.cause import diagnosis_of, signal_end_of
from hil.session.gather.gathered import Gathered
from hil.session.sampling.sampling import feeds_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hil.checks.blocks import Outputs
    from hil.checks.comparison import Comparison
    from hil.checks.tolerances import Where
    from hil.datasets import Batch
    from hil.results import Row
    from hil.session.engine_context import EngineContext

TIMES = 3


@dataclass
class Compared:
    """The comparison of an engine (``candidate``) with a reference over the same data.

    Attributes:
        comparison: the comparison of the outputs.
        metric: the metric of the model's task; ``None`` if it cannot be scored.
        reference: the reference's scores, one array with a score per sample for each batch; empty without a metric.
        candidate: the engine's scores, in the same form.
        why_not: if there is no metric, the reason.
        distinct: the number of distinct samples; 0 without a metric.
        known: the reference's scores from earlier comparisons, by the number of the batch.
    """

    comparison: Comparison
    metric: Metric | None
    reference: list[np.ndarray[Any, Any]]
    candidate: list[np.ndarray[Any, Any]]
    why_not: str
    distinct: int
    known: dict[int, np.ndarray[Any, Any]]

    def scores(self) -> Scores | None:
        """Return the scores of both sides; ``None`` if nothing was scored or the comparison had to stop early."""
        if self.comparison.fatal or not self.candidate or self.metric is None:
            return None
        ours, theirs = np.concatenate(self.reference), np.concatenate(self.candidate)
        return scored(self.metric, ours, theirs, self.distinct)


def scored(metric: Metric, ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any], distinct: int) -> Scores:
    """Return the scores of both sides, one for each sample, with what ``parity.task`` needs to judge them.

    ``ours`` are the scores of the side that is the reference, ``theirs`` those of the other side. ``distinct`` is the
    number of distinct samples.
    """
    pools = None if metric.pools is None else metric.pools(ours, theirs)
    return Scores(metric.key, ours, theirs, pools, min(distinct, len(ours)))


def data(session: EngineContext, row: Row) -> Gathered:
    """Judge ``parity.data`` by facts of the validation data, which are the same for all precisions of a model."""
    facts = session.memo.once(("data facts", row.model), lambda: _facts(session, row.model))
    return Gathered(
        parity.data(facts), {"version": 2, "compared": "samples by SHA-256 of their inputs, and by likeness"}
    )


def distinct_of(session: EngineContext, model: str) -> int:
    """Return the number of distinct samples among the validation samples that are used; the first call counts them."""
    spec = session.model(model)
    return session.memo.once(("distinct", model), lambda: distinct(session.dataset(model), spec.samples, spec.batch))


def _facts(session: EngineContext, model: str) -> DataFacts:
    spec, data, signature = session.model(model), session.dataset(model), session.signature(model)
    training = session.training_data(model)
    digests = [] if training is None else data.sample_digests()
    return DataFacts(
        count=data.count,
        synthetic=data.synthetic,
        has_labels=data.has_labels,
        task=spec.task,
        declared=spec.samples,
        distinct=distinct_of(session, model),
        training=None if training is None else parity.overlap(digests, training.sample_digests()),
        exchanged=exchanged_states(signature),
        states={name: output for name, output in next_states(signature).items() if not signature.input(name).is_given},
    )


def outputs(session: EngineContext, row: Row) -> Gathered:
    """Judge ``parity.outputs``: each output against its tolerances."""
    sides = compared(session, row)
    judgement = sides.comparison.judge()
    facts = Facts(diagnosis=diagnosis_of(session, row, sides, judgement))
    return Gathered(judgement, {**method_of(session, row, "outputs"), **_answered_by(session, row.model)}, facts)


def _answered_by(session: EngineContext, model: str) -> dict[str, Any]:
    """Return how answers are read from outputs, with the digests of the user's code; empty if no kind is declared."""
    declared = {name: one.model_dump(exclude_unset=True) for name, one in session.model(model).outputs.items()}
    code = {part.name: part.digest for part in session.parts(model) if part.role == "outputs.decode"}
    return {"kinds": declared, **({"code": code} if code else {})} if declared else {}


def task(session: EngineContext, row: Row) -> Gathered:
    """Judge ``parity.task``: the engine's loss of score against the reference."""
    scored = compared(session, row)
    tolerances = session.model(row.model).tolerances.get(precision_of(row))
    judgement = parity.task(
        scored.scores(),
        precision_of(row),
        tolerances,
        where=where_of(session, row),
        why_not=scored.comparison.fatal or scored.why_not,
    )
    shares = scored.metric is not None and scored.metric.key in SHARES
    end = signal_end_of(session, row, scored.comparison, judgement, shares=shares)
    method = {**method_of(session, row, "task"), **scored_by(session, row.model)}
    return Gathered(judgement, method, Facts(diagnosis=end))


def scored_by(session: EngineContext, model: str) -> dict[str, Any]:
    """Return how the task is scored, with the digest of the user's code, for the method."""
    own = ("task", "detection.decode")
    code = {part.role: part.digest for part in session.parts(model) if part.role in own}
    return {"task": session.model(model).task, **({"code": code} if code else {})}


def repeatable(session: EngineContext, row: Row) -> Gathered:
    """Judge ``parity.repeatable``: whether the engine returns bit for bit the same outputs for the same inputs.

    Raises ``Unsupported`` for a model with a state or with random outputs.
    """
    refuse_sequences(session, row.model)
    session.refuse_random(row.model)
    best: list[Outputs] = []
    with session.engines.lease(row.model, row.precision) as worker:
        for feeds in feeds_of(session, row.model, session.model(row.model).batch):
            runs: list[Outputs] = list(worker.run_many([feeds] * TIMES))
            best = max(best, runs, key=_filled)
            if best and _filled(best) == len(best[0]):  # a detector has empty outputs for many batches
                break
    return Gathered(parity.repeatable(best), {"version": 1, "compared": "bit for bit", "times": TIMES})


def _filled(runs: list[Outputs]) -> int:
    """Return how many outputs of the first run have elements; -1 if ``runs`` is empty."""
    return sum(bool(array.size) for _, array in runs[0]) if runs else -1


def compared(session: EngineContext, row: Row) -> Compared:
    """Return the comparison with the reference; the first call runs both.

    Raise ``Unsupported`` for a model with a state.
    """
    refuse_sequences(session, row.model)
    spec = session.model(row.model)

    def work() -> Compared:
        reference = session.reference(row.model)
        text, total = f"{row.model} {row.precision}: comparing with {reference.source}", session.batches(row.model)
        with session.progress.step(text, total=total, unit="batches") as step:
            known = session.memo.once(("reference scores", row.model), dict[int, "np.ndarray[Any, Any]"])
            return side_by_side(session, row, step.counting(reference.batches(spec.batch, spec.samples)), known)

    return session.memo.once(("compared", row.model, row.precision), work)


def refuse_sequences(session: EngineContext, model: str) -> None:
    """Raise ``Unsupported`` for a model with a state."""
    refuse_carried(session.signature(model), model)


def side_by_side(
    session: EngineContext, row: Row, answers: Iterable[Outputs], known: dict[int, np.ndarray[Any, Any]] | None = None
) -> Compared:
    """Run the engine of ``row`` over the validation data, and return the comparison of its outputs with ``answers``.

    The comparison stops early, with the reason in its ``fatal``, if one side ends before the other. ``known`` is as in
    ``Compared``; scores that it lacks are computed and added to it.
    """
    refuse_sequences(session, row.model)
    spec, data = session.model(row.model), session.dataset(row.model)
    metric, why_not = scorer_of(session, row.model)
    comparison = comparison_of(
        Declared(session.config, row.model, session.requested),
        precision_of(row),
        spec.tolerances.get(precision_of(row)),
        samples=data.count if spec.samples is None else min(spec.samples, data.count),
        distinct=distinct_of(session, row.model) if spec.outputs else None,
    )
    distinct = 0 if metric is None else distinct_of(session, row.model)
    scored = Compared(comparison, metric, [], [], why_not, distinct, {} if known is None else known)
    sent: deque[SentBatch] = deque()
    arrived: deque[SentBatch] = deque()
    with (
        session.engines.lease(row.model, row.precision) as worker,
        closing(worker.run_many(_feeds(data.batches(spec.batch, spec.samples), sent))) as runs,
    ):
        for block in blocks(_pairs(answers, runs, sent, arrived)):
            comparison.add(block)
            if comparison.fatal:
                break
            for pair in block:
                batch = arrived.popleft()
                if metric is not None:
                    _score(scored, metric, batch, pair)
    return scored


class SentBatch(NamedTuple):
    """The number of samples and the labels of a batch, which are needed when its outputs arrive."""

    samples: int
    labels: dict[str, np.ndarray[Any, Any]]


def _feeds(batches: Iterable[Batch], sent: deque[SentBatch]) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    for batch in batches:
        sent.append(SentBatch(len(next(iter(batch.inputs.values()))), batch.labels))
        yield batch.feeds


def _pairs(
    answers: Iterable[Outputs], runs: Iterable[Outputs], sent: deque[SentBatch], arrived: deque[SentBatch]
) -> Iterator[Pair]:
    """Yield the outputs of both sides of each batch, and move each batch that arrived from ``sent`` to ``arrived``."""
    for got, answer in zip_longest(runs, answers):
        if got is None:
            yield Pair(answer, None)
        else:
            arrived.append(sent.popleft())
            yield Pair(answer, got, arrived[-1].samples)


def scorer_of(session: EngineContext, model: str) -> tuple[Metric | None, str]:
    """Return the metric of the model's task and an empty text, or ``None`` and why the task cannot be scored."""
    config, spec = session.config, session.model(model)
    if spec.task is None:
        return None, "the model has no task"
    where = config.where("models", model, "task" if spec.metric is None else "metric")
    metric = open_metric(spec.task, config.root, name=spec.metric, boxes_as=spec.detection, model=model, where=where)
    if metric.needs_labels and not session.dataset(model).has_labels:
        return None, "the validation data has no labels"
    return metric, ""


def _score(scored: Compared, metric: Metric, batch: SentBatch, pair: Pair) -> None:
    number = len(scored.reference)
    if number not in scored.known:
        scored.known[number] = metric.score(dict(pair.reference or ()), batch.labels)
    scored.reference.append(scored.known[number])
    scored.candidate.append(metric.score(dict(pair.candidate or ()), batch.labels))


def precision_of(row: Row) -> Any:
    """Return the row's precision, typed as a key of the tolerances: the plan has only valid precisions."""
    return row.precision


def where_of(session: EngineContext, row: Row) -> Where:
    """Return a function that returns where ``hil.toml`` sets a tolerance of this row."""

    def where(*keys: str) -> str:
        return session.config.where("models", row.model, "tolerances", row.precision, *keys)

    return where


def method_of(session: EngineContext, row: Row, what: str) -> dict[str, Any]:
    """Return the method of a comparison with the reference; ``what`` names what is compared, such as ``outputs``."""
    spec = session.model(row.model)
    return {
        "version": 1,
        "compared": what,
        "reference": session.reference(row.model).source,
        "data": session.dataset(row.model).digest,
        "batch": spec.batch,
        "samples": spec.samples,
    }
