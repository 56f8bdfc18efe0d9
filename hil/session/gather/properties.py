"""Check properties: run batches drawn from the signature on the engine, and search for one that violates a property."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import properties
from hil.dtypes import for_file
from hil.errors import EngineBuildError, EngineError, Unsupported, UserError
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.signature import dimension
from hil.runtimes import runtime_record
from hil.session.engines.shape_profiles import profiles_of
from hil.session.gather.declaration import declaration_of
from hil.session.gather.gathered import Gathered
from hil.session.gather.parity import precision_of, where_of
from hil.session.properties.drawing import DRAWN_STEPS, MOST_MATES, Drawn, Recipe, Space, search
from hil.session.properties.drawn_runs import DrawnBatches, DrawnSequences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hil.onnx_files.signature import Signature
    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.session.properties.drawing import Feeds
    from hil.targets.engine_worker import EngineWorker

EXAMINED = 8
"""Number of validation batches from which undeclared input ranges and sizes, and the scales of outputs, are derived."""


def numeric(session: EngineContext, row: Row) -> Gathered:
    """Judge ``property.parity``: whether the engine's outputs for drawn batches agree with the reference.

    For a model with a state, each step begins with the reference's state.
    """
    runs = _runs(session, row)
    scales, tolerances = _scales(session, row.model), session.model(row.model).tolerances.get(precision_of(row))

    def trial(worker: EngineWorker, inputs: Any, _drawn: Drawn) -> str | None:
        ours = runs.reference(inputs)
        if ours is None:
            return None
        engine = runs.run_as(worker, inputs, ours)
        precision, where = precision_of(row), where_of(session, row)
        found = (
            (place, properties.difference(one, other, scales, precision, tolerances, where=where))
            for (place, one), (_, other) in zip(runs.calls(ours), runs.calls(engine), strict=True)
        )
        return next((f"{place}{wrong}" for place, wrong in found if wrong), "")

    return _searched(session, row, runs, trial, "every output is within its tolerance of the reference")


def stable(session: EngineContext, row: Row) -> Gathered:
    """Judge ``property.stable``: whether outputs for drawn batches are well-formed, repeatable, and do not mix samples.

    For a model with a state, a sample is a sequence, in which the engine is fed with its own state.
    """
    runs = _runs(session, row)
    signature, scales = session.signature(row.model), _scales(session, row.model)

    def trial(worker: EngineWorker, inputs: Any, drawn: Drawn) -> str:
        first, sizes = runs.run(worker, inputs), _named(signature, runs.of_one_call(inputs))
        found = ((place, properties.malformed(one, signature, sizes)) for place, one in runs.calls(first))
        wrong = next((f"{place}{wrong}" for place, wrong in found if wrong), "")
        wrong = wrong or properties.not_repeatable(first, runs.run(worker, inputs))
        batch = len(drawn.samples)
        if wrong or batch == 1:
            return wrong
        mates = Drawn((drawn.samples[0], *[Recipe(level=9)] * (batch - 1)), drawn.sizes)
        others = runs.run(worker, runs.inputs(mates))
        pairs = zip(runs.calls(first), runs.calls(others), strict=True)
        dependent = (
            (place, properties.batch_dependence(one, other, batch, scales, precision_of(row), signature))
            for (place, one), (_, other) in pairs
        )
        return next((f"{place}{wrong}" for place, wrong in dependent if wrong), "")

    what = "outputs have the declared shapes and dtypes, are finite, repeatable and independent of the other samples"
    gathered = _searched(session, row, runs, trial, what)
    wrong = declaration_of(session, row, gathered.judgement)
    return replace(gathered, facts=replace(gathered.facts, diagnosis=wrong))


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


def _searched(
    session: EngineContext,
    row: Row,
    runs: DrawnBatches,
    trial: Callable[[EngineWorker, Any, Drawn], str | None],
    what: str,
) -> Gathered:
    valid, most = runs.space, session.config.spec.measure.examples
    with session.engines.lease(row.model, row.precision) as worker:

        def run_trial(drawn: Drawn) -> str | None:
            step.advance()
            inputs = runs.inputs(drawn)
            try:
                return trial(worker, inputs, drawn)
            except EngineError as error:
                return _refusal(runs, inputs, error)

        text = f"{row.model} {row.precision}: {row.id}, up to {most} drawn batches"
        with session.progress.step(text, total=most, unit="batches") as step:
            found = search(valid, most, run_trial)
    smallest = found.smallest
    saved = "" if smallest is None else _save_inputs(session, row, runs.saved(smallest))
    example = None if smallest is None else smallest.as_dict()
    result = properties.SearchResult(found.examples, found.samples, found.wrong, example, saved, found.refused)
    judgement = properties.judge(result, what)
    ranges = {name: list(ends) for name, ends in valid.ranges.items()}
    method = {"version": 2, "drawn": "by Hypothesis, derandomized", "examples": most, "ranges": ranges}
    method |= {"steps": valid.steps} if valid.steps else {}
    return Gathered(judgement, {**method, "sizes": {name: list(ends) for name, ends in valid.sizes.items()}})


def _refusal(runs: DrawnBatches, inputs: Any, error: EngineError) -> str | None:
    """Return, as text, that the engine refused a valid batch; ``None`` if the reference refuses the batch too."""
    try:
        refused = runs.reference(inputs) is None
    except Unsupported:
        refused = False
    return None if refused else f"a valid batch is refused: {error}"


def _save_inputs(session: EngineContext, row: Row, feeds: Feeds) -> str:
    """Save failing inputs in the report's folder, in the format of a model's ``data``; return the path within it."""
    name = re.sub(r"[^\w.-]", "_", f"{row.id}-{row.model}-{row.precision}") + ".npz"
    folder = session.report_dir / "repro"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: for_file(array) for key, array in feeds.items()}
    np.savez_compressed(folder / name, **arrays)  # type: ignore[arg-type]  # names of inputs are not those of its parameters
    return f"repro/{name}"


def space(session: EngineContext, row: Row) -> Space:
    """Return the space of the valid batches of the row's model.

    Ranges and sizes that are not declared are those of the first 8 batches of the validation data.
    """
    signature = session.signature(row.model)
    observed = session.memo.once(("input ranges", row.model), lambda: _observed_inputs(session, row.model))
    ranges = {tensor.name: tensor.range or observed[tensor.name].range for tensor in signature.inputs}
    sizes: dict[str, tuple[int, ...]] = {}
    for tensor in signature.inputs:
        for axis, size in enumerate(tensor.shape):
            if axis != tensor.batch_axis and not isinstance(size, int):
                key = size or dimension(tensor.name, axis)
                sizes[key] = signature.sizes.get(key) or observed[tensor.name].sizes(axis)
    return Space(signature, ranges, sizes, _batch(session, row, signature), DRAWN_STEPS * bool(signature.carry))


def _batch(session: EngineContext, row: Row, signature: Signature) -> tuple[int, int]:
    fixed, spec = signature.stride(), session.model(row.model)
    if fixed is not None:
        return fixed, fixed
    own = next((signature.sizes[name] for name in signature.batch_names() if name in signature.sizes), None)
    if own is None and runtime_record(session.spec.runtime).has_profiles and spec.engine is None:
        first = signature.stacked[0]
        shapes = profiles_of(signature, spec, row.model)[first.name]
        least, own_batch, most = (shape[first.batch_axis or 0] for shape in shapes)
        own = least, own_batch, most
    if own is not None:
        return own[0], min(own[2], max(own[0], MOST_MATES))
    return (1, MOST_MATES) if spec.engine is None else (spec.batch, spec.batch)


@dataclass
class Observed:
    """The least and the greatest value of one input in some batches, and the shapes that the input had there."""

    range: tuple[float, float]
    shapes: set[tuple[int, ...]]

    def sizes(self, axis: int) -> tuple[int, ...]:
        """Return the distinct sizes of ``axis`` in ascending order."""
        return tuple(sorted({shape[axis] for shape in self.shapes}))


def _observed_inputs(session: EngineContext, model: str) -> dict[str, Observed]:
    observed: dict[str, Observed] = {}
    for batch in islice(session.dataset(model).batches(session.model(model).batch), EXAMINED):
        steps = {} if batch.sequence is None else batch.sequence.steps
        for name, first in batch.feeds.items():
            array = steps.get(name, first)
            low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
            ends = observed.setdefault(name, Observed((low, high), set()))
            ends.range = min(low, ends.range[0]), max(high, ends.range[1])
            ends.shapes.add(first.shape)
    return observed


def _scales(session: EngineContext, model: str) -> dict[str, float]:
    """Return the largest finite magnitude of each output in the reference's outputs for the first 8 batches."""

    def work() -> dict[str, float]:
        scales: dict[str, float] = {}
        spec = session.model(model)
        for outputs in islice(session.reference(model).batches(spec.batch, spec.samples), EXAMINED):
            for name, array in outputs:
                values: Any = np.abs(array.astype(np.float64))
                scales[name] = max(scales.get(name, 0.0), float(values[np.isfinite(values)].max(initial=0.0)))
        return scales

    return session.memo.once(("scales", model), work)


def _named(signature: Signature, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, int]:
    return {
        size: feeds[spec.name].shape[axis]
        for spec in signature.inputs
        for axis, size in enumerate(spec.shape)
        if isinstance(size, str)
    }
