"""Check properties: run batches drawn from the signature on the engine, and search for one that violates a property."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import properties
from hil.datasets.npz import write_npz
from hil.dtypes import for_file
from hil.errors import EngineBuildError, EngineError, Unsupported, UserError, WorkerLost
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.rounding_error import RoundingErrors
from hil.session.gather.declaration import declaration_of
from hil.session.gather.gathered import Gathered
from hil.session.gather.parity import precision_of, where_of
from hil.session.properties.drawing import Drawn, Recipe, Searched, search
from hil.session.properties.drawn_runs import DrawnBatches, DrawnSequences
from hil.session.properties.valid_batches import EXAMINED, space
from hil.stats.masks_and_scores import largest_unmasked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.checks.blocks import Outputs
    from hil.onnx_files.signature import Signature
    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.session.properties.drawing import Feeds
    from hil.targets.engine_worker import EngineWorker

    Trial = Callable[["_Case"], str | None]


@dataclass
class _Case:
    """A drawn batch on the engine and on the reference, each executed when it is first needed."""

    runs: DrawnBatches
    worker: EngineWorker
    drawn: Drawn
    inputs: Any

    @cached_property
    def reference(self) -> Outputs | None:
        """The reference's outputs; ``None`` if it refuses the batch."""
        return self.runs.reference(self.inputs)

    @cached_property
    def engine(self) -> Outputs:
        """The engine's outputs."""
        return self.runs.run(self.worker, self.inputs)


def numeric(session: EngineContext, row: Row) -> Gathered:
    """Judge ``property.parity``: whether the engine's outputs for drawn batches agree with the reference.

    For a model with a state, each step begins with the reference's state.
    """
    return _searched(session, row, "every output is within its tolerance of the reference")


def stable(session: EngineContext, row: Row) -> Gathered:
    """Judge ``property.stable``: whether outputs for drawn batches are well-formed, repeatable, and do not mix samples.

    For a model with a state, a sample is a sequence, in which the engine is fed with its own state.
    """
    what = "outputs have the declared shapes and dtypes, are finite, repeatable and independent of the other samples"
    gathered = _searched(session, row, what)
    wrong = declaration_of(session, row, gathered.judgement)
    return replace(gathered, facts=replace(gathered.facts, diagnosis=wrong))


def _parity_trial(session: EngineContext, row: Row, runs: DrawnBatches) -> Trial:
    scales, tolerances = _scales(session, row.model), session.model(row.model).tolerances.get(precision_of(row))
    precision, where, path = precision_of(row), where_of(session, row), session.onnx(row.model)
    errors = session.memo.once(("rounding errors", row.model, precision), lambda: RoundingErrors(path, precision))

    def trial(case: _Case) -> str | None:
        ours = case.reference
        if ours is None:
            return None
        engine = runs.run_as(case.worker, case.inputs, ours) if runs.space.steps else case.engine
        for number, ((place, one), (_, other)) in enumerate(zip(runs.calls(ours), runs.calls(engine), strict=True)):
            rounding = partial(_rounding, errors, runs, case, number)
            wrong = properties.difference(one, other, scales, precision, tolerances, where=where, rounding=rounding)
            if wrong:
                return f"{place}{wrong}"
        return ""

    return trial


def _rounding(errors: RoundingErrors, runs: DrawnBatches, case: _Case, number: int) -> Mapping[str, float]:
    """Return the errors that rounding causes in the reference's inference ``number`` of a drawn batch."""
    reference = case.reference or []
    _, outputs = next(islice(runs.calls(reference), number, None))
    return errors.of((case.drawn, number), outputs, runs.of_call(case.inputs, reference, number))


def _stable_trial(session: EngineContext, row: Row, runs: DrawnBatches) -> Trial:
    signature, scales = session.signature(row.model), _scales(session, row.model)

    def trial(case: _Case) -> str:
        first, sizes = case.engine, _named(signature, runs.of_one_call(case.inputs))
        found = ((place, properties.malformed(one, signature, sizes)) for place, one in runs.calls(first))
        wrong = next((f"{place}{wrong}" for place, wrong in found if wrong), "")
        wrong = wrong or properties.not_repeatable(first, runs.run(case.worker, case.inputs))
        batch = len(case.drawn.samples)
        if wrong or batch == 1:
            return wrong
        for same in ((0,), range(1, batch)):  # a sample may also change only those after it
            mates = tuple(one if at in same else Recipe(level=9) for at, one in enumerate(case.drawn.samples))
            others = runs.run(case.worker, runs.inputs(Drawn(mates, case.drawn.sizes)))
            for (place, one), (_, other) in zip(runs.calls(first), runs.calls(others), strict=True):
                wrong = properties.batch_dependence(one, other, batch, scales, precision_of(row), signature, same)
                if wrong:
                    return f"{place}{wrong}"
        return ""

    return trial


TRIALS = {"property.parity": _parity_trial, "property.stable": _stable_trial}
"""The function of each check that makes its trial. A trial judges one drawn batch: it returns the problem as text, an
empty text if there is no problem, and ``None`` if it cannot judge the batch."""


def _runs(session: EngineContext, row: Row) -> DrawnBatches:
    """Return the object that runs drawn batches of the row's model on engine and reference."""
    model = row.model

    def load() -> Any:
        try:
            return cpu_session(session.onnx(model))
        except (EngineBuildError, UserError) as error:
            if session.model(model).reference is None:
                raise
            raise Unsupported(
                f"drawn inputs are judged by running the reference, which the host cannot do: model {model}: {error}"
            ) from None

    kind = DrawnSequences if session.signature(model).carry else DrawnBatches
    return kind(space(session, row), lambda: session.memo.once(("fp32 on the host", model), load))


def _searched(session: EngineContext, row: Row, what: str) -> Gathered:
    runs, draws = _runs(session, row), session.config.spec.measure.draws
    valid = runs.space
    together = [id_ for id_ in TRIALS if any(_alike(one, row) for one in session.plan.of(id_))]
    found = None
    if len(together) == len(TRIALS):
        key = ("drawn batches", row.model, row.precision)
        found = session.memo.once(key, lambda: _sound(session, row, runs, together))[row.id]
    found = found or _search(session, row, runs, [row.id])[row.id]
    smallest = found.smallest
    saved = "" if smallest is None else _save_inputs(session, row, runs.saved(smallest))
    example = None if smallest is None else smallest.as_dict()
    result = properties.SearchResult(found.examples, found.samples, found.wrong, example, saved, found.refused)
    judgement = properties.judge(result, what)
    ranges = {name: list(ends) for name, ends in valid.ranges.items()}
    method = {"version": 3, "drawn": "by Hypothesis, derandomized", "examples": draws.method(), "ranges": ranges}
    method |= {"steps": valid.steps} if valid.steps else {}
    method |= {"lengths": dict(valid.lengths)} if valid.lengths else {}
    return Gathered(judgement, {**method, "sizes": {name: list(ends) for name, ends in valid.sizes.items()}})


def _alike(one: Row, other: Row) -> bool:
    return (one.model, one.precision) == (other.model, other.precision)


class _Wrong(Exception):  # noqa: N818 - a signal that ends a search, never visible outside
    pass


def _sound(
    session: EngineContext, row: Row, runs: DrawnBatches, checks: Sequence[str]
) -> Mapping[str, Searched | None]:
    """Run one search for all ``checks`` on the same batches, and return its result for each check.

    If any check has a problem or the search fails, all results are ``None``. Each check then needs its own search,
    because a batch is shrunk for one problem.
    """
    try:
        return _search(session, row, runs, checks)
    except (_Wrong, EngineError, Unsupported, WorkerLost):  # the check's own search meets it again
        return dict.fromkeys(checks)


def _search(session: EngineContext, row: Row, runs: DrawnBatches, checks: Sequence[str]) -> dict[str, Searched]:
    """Search the same batches for a problem of each of ``checks``, and return the result for each check.

    With more than one check, raise ``_Wrong`` as soon as a check has a problem.
    """
    draws, trials = session.config.spec.measure.draws, {check: TRIALS[check](session, row, runs) for check in checks}
    counted = {check: Searched() for check in checks}
    with session.engines.lease(row.model, row.precision) as worker:

        def run_trial(drawn: Drawn) -> str | None:
            step.advance()
            case = _Case(runs, worker, drawn, runs.inputs(drawn))
            for check, trial in trials.items():
                try:
                    wrong = trial(case)
                except EngineError as error:
                    wrong = _refusal(case, error)
                if len(checks) == 1:
                    return wrong
                if wrong:
                    raise _Wrong
                counted[check].count(drawn, judged=wrong is not None)
            return ""

        text = f"{row.model} {row.precision}: {' and '.join(checks)}, up to {draws.most} drawn batches"
        with session.progress.step(text, total=draws.most, unit="batches") as step:
            found = search(runs.space, draws, run_trial)
    return {checks[0]: found} if len(checks) == 1 else counted


def _refusal(case: _Case, error: EngineError) -> str | None:
    """Return, as text, that the engine refused a valid batch; ``None`` if the reference refuses the batch too."""
    try:
        refused = case.reference is None
    except Unsupported:
        refused = False
    return None if refused else f"a valid batch is refused: {error}"


def _save_inputs(session: EngineContext, row: Row, feeds: Feeds) -> str:
    """Save failing inputs in the report's folder, in the format of a model's ``data``; return the path within it."""
    name = re.sub(r"[^\w.-]", "_", f"{row.id}-{row.model}-{row.precision}") + ".npz"
    folder = session.report_dir / "repro"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: for_file(array) for key, array in feeds.items()}
    write_npz(folder / name, arrays, compressed=True)
    return f"repro/{name}"


def _scales(session: EngineContext, model: str) -> dict[str, float]:
    """Return the largest finite magnitude of each output, without masks, in the reference's first 8 batches."""

    def work() -> dict[str, float]:
        scales: dict[str, float] = {}
        spec = session.model(model)
        for outputs in islice(session.reference(model).batches(spec.batch, spec.samples), EXAMINED):
            for name, array in outputs:
                values: Any = array.astype(np.float64)
                scales[name] = largest_unmasked(values[np.isfinite(values)], scales.get(name, 0.0))
        return scales

    return session.memo.once(("scales", model), work)


def _named(signature: Signature, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, int]:
    return {
        size: feeds[spec.name].shape[axis]
        for spec in signature.inputs
        for axis, size in enumerate(spec.shape)
        if isinstance(size, str)
    }
