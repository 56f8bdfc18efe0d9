"""Properties: run batches drawn from the signature on the engine, and compare with the reference."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import properties
from hil.errors import EngineError
from hil.onnx_files.reference import cpu_session
from hil.runtimes import runtime_record
from hil.session.engines.shape_profiles import profiles_of
from hil.session.gather.gathered import Gathered
from hil.session.gather.parity import precision_of, where_of
from hil.session.properties.drawing import MOST_MATES, Drawn, Recipe, Space, dimension, search

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hil.checks.comparison import Outputs
    from hil.onnx_files.signature import Signature
    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.session.properties.drawing import Feeds
    from hil.targets.engine_worker import EngineWorker

EXAMINED = 8
"""Batches of validation data from which ranges and scales are derived if the config gives none."""


def numeric(session: EngineContext, row: Row) -> Gathered:
    """Judge ``property.parity``: drawn batches agree with the reference."""
    spec = session.model(row.model)
    reference = session.memo.once(("fp32 on the host", row.model), lambda: cpu_session(session.onnx(row.model)))
    names = [output.name for output in session.signature(row.model).outputs]
    scales, tolerances = _scales(session, row.model), spec.tolerances.get(precision_of(row))

    def trial(worker: EngineWorker, feeds: Feeds, _drawn: Drawn) -> str:
        ours: Outputs = list(zip(names, reference.run(names, feeds), strict=True))
        engine = worker.run(feeds)
        return properties.difference(ours, engine, scales, precision_of(row), tolerances, where=where_of(session, row))

    return _searched(session, row, trial, "every output is within its tolerance of the reference")


def stable(session: EngineContext, row: Row) -> Gathered:
    """Judge ``property.stable``: outputs are well-formed, repeatable and independent of the other samples."""
    signature, scales = session.signature(row.model), _scales(session, row.model)

    def trial(worker: EngineWorker, feeds: Feeds, drawn: Drawn) -> str:
        first = worker.run(feeds)
        wrong = properties.malformed(first, signature, _named(signature, feeds))
        wrong = wrong or properties.not_repeatable(first, worker.run(feeds))
        batch = len(drawn.samples)
        if wrong or batch == 1:
            return wrong
        mates = Drawn((drawn.samples[0], *[Recipe(level=9)] * (batch - 1)), drawn.sizes)
        others = worker.run(mates.feeds(space(session, row)))
        return properties.batch_dependence(first, others, batch, scales, precision_of(row))

    what = "shapes, dtypes and finiteness hold, the same twice, whatever the batch mates"
    return _searched(session, row, trial, what)


def _searched(
    session: EngineContext, row: Row, trial: Callable[[EngineWorker, Feeds, Drawn], str], what: str
) -> Gathered:
    valid, most = space(session, row), session.config.spec.measure.examples
    with session.engines.lease(row.model, row.precision) as worker:

        def run_trial(drawn: Drawn) -> str:
            try:
                return trial(worker, drawn.feeds(valid), drawn)
            except EngineError as error:
                return f"a valid batch is refused: {error}"

        session.progress(f"{row.model} {row.precision}: {row.id}, up to {most} drawn batches")
        examples, samples, smallest, wrong = search(valid, most, run_trial)
    saved = "" if smallest is None else _save_inputs(session, row, smallest.feeds(valid))
    example = None if smallest is None else smallest.as_dict()
    judgement = properties.judge(properties.SearchResult(examples, samples, wrong, example, saved), what)
    ranges = {name: list(ends) for name, ends in valid.ranges.items()}
    method = {"version": 1, "drawn": "by Hypothesis, derandomized", "examples": most, "ranges": ranges}
    return Gathered(judgement, {**method, "sizes": {name: list(ends) for name, ends in valid.sizes.items()}})


def _save_inputs(session: EngineContext, row: Row, feeds: Feeds) -> str:
    """Save the inputs that fail to the report's folder, in the format of a model's ``data``; return the path."""
    name = re.sub(r"[^\w.-]", "_", f"{row.id}-{row.model}-{row.precision}") + ".npz"
    folder = session.report_dir / "repro"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / name, **feeds)  # type: ignore[arg-type]  # names of inputs are not those of its parameters
    return f"repro/{name}"


def space(session: EngineContext, row: Row) -> Space:
    """Return the valid batches of a model.

    Ranges are the declared ones, else those of the validation data. Sizes are those that the engine accepts.
    """
    spec, signature = session.model(row.model), session.signature(row.model)
    observed = session.memo.once(("input ranges", row.model), lambda: _observed_inputs(session, row.model))
    ranges = {tensor.name: spec.ranges.get(tensor.name) or observed[tensor.name][0] for tensor in signature.inputs}
    sizes: dict[str, tuple[int, int]] = {}
    for tensor in signature.inputs:
        for axis, size in list(enumerate(tensor.shape))[1:]:
            if not isinstance(size, int):
                key = size or dimension(tensor, axis)
                own = spec.shapes.get(key)
                sizes[key] = (own[0], own[2]) if own else (observed[tensor.name][1][axis],) * 2
    return Space(signature, ranges, sizes, _batch(session, row, signature))


def _batch(session: EngineContext, row: Row, signature: Signature) -> tuple[int, int]:
    fixed, spec = signature.batch(), session.model(row.model)
    if fixed is not None:
        return fixed, fixed
    first = signature.inputs[0]
    own = spec.shapes.get(str(first.shape[0]))
    if own is not None:
        return own[0], min(own[2], max(own[0], MOST_MATES))
    if runtime_record(session.spec.runtime).has_profiles and spec.engine is None:
        least, _, most = (shape[0] for shape in profiles_of(signature, spec, row.model)[first.name])
        return least, min(most, max(least, MOST_MATES))
    return (1, MOST_MATES) if spec.engine is None else (spec.batch, spec.batch)


def _observed_inputs(session: EngineContext, model: str) -> dict[str, tuple[tuple[float, float], tuple[int, ...]]]:
    """Return, for each input, the range of its values in the first batches and the shape of a batch."""
    observed: dict[str, tuple[tuple[float, float], tuple[int, ...]]] = {}
    for batch in islice(session.dataset(model).batches(session.model(model).batch), EXAMINED):
        for name, array in batch.inputs.items():
            low, high = float(array.min(initial=np.inf)), float(array.max(initial=-np.inf))
            ends = observed[name][0] if name in observed else (low, high)
            observed[name] = (min(low, ends[0]), max(high, ends[1])), array.shape
    return observed


def _scales(session: EngineContext, model: str) -> dict[str, float]:
    """Return the largest magnitude of each output over the first batches of the reference."""

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
