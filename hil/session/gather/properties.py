"""Properties: batches drawn from the signature, run on the real engine, and the reference beside it."""

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

LOOKED_AT = 8
"""Batches of the validation data that ranges and scales are taken from where the config gives none."""


def numeric(session: EngineContext, row: Row) -> Gathered:
    """``property.parity``."""
    spec = session.model(row.model)
    reference = session.memo.once(("fp32 on the host", row.model), lambda: cpu_session(session.onnx(row.model)))
    names = [one.name for one in session.signature(row.model).outputs]
    scales, tolerances = _scales(session, row.model), spec.tolerances.get(precision_of(row))

    def trial(worker: EngineWorker, feeds: Feeds, _drawn: Drawn) -> str:
        ours: Outputs = list(zip(names, reference.run(names, feeds), strict=True))
        engine = worker.run(feeds)
        return properties.difference(ours, engine, scales, precision_of(row), tolerances, where=where_of(session, row))

    return _searched(session, row, trial, "every output is within its tolerance of the reference")


def stable(session: EngineContext, row: Row) -> Gathered:
    """``property.stable``."""
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

        def tried(drawn: Drawn) -> str:
            try:
                return trial(worker, drawn.feeds(valid), drawn)
            except EngineError as error:
                return f"a valid batch is refused: {error}"

        session.progress(f"{row.model} {row.precision}: {row.id}, up to {most} drawn batches")
        examples, samples, smallest, wrong = search(valid, most, tried)
    saved = "" if smallest is None else _kept(session, row, smallest.feeds(valid))
    told = None if smallest is None else smallest.told()
    judgement = properties.judge(properties.SearchResult(examples, samples, wrong, told, saved), what)
    ranges = {name: list(ends) for name, ends in valid.ranges.items()}
    method = {"version": 1, "drawn": "by Hypothesis, derandomized", "examples": most, "ranges": ranges}
    return Gathered(judgement, {**method, "sizes": {name: list(ends) for name, ends in valid.sizes.items()}})


def _kept(session: EngineContext, row: Row, feeds: Feeds) -> str:
    """Saves the inputs that show it beside the report, in the form that a model's ``data`` has."""
    name = re.sub(r"[^\w.-]", "_", f"{row.id}-{row.model}-{row.precision}") + ".npz"
    folder = session.report_dir / "repro"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / name, **feeds)  # type: ignore[arg-type]  # names of inputs are not those of its parameters
    return f"repro/{name}"


def space(session: EngineContext, row: Row) -> Space:
    """The valid batches of a model: declared ranges, or those of the validation data; sizes that the engine takes."""
    spec, signature = session.model(row.model), session.signature(row.model)
    seen = session.memo.once(("looked at", row.model), lambda: _seen(session, row.model))
    ranges = {one.name: spec.ranges.get(one.name) or seen[one.name][0] for one in signature.inputs}
    sizes: dict[str, tuple[int, int]] = {}
    for one in signature.inputs:
        for axis, size in list(enumerate(one.shape))[1:]:
            if not isinstance(size, int):
                key = size or dimension(one, axis)
                own = spec.shapes.get(key)
                sizes[key] = (own[0], own[2]) if own else (seen[one.name][1][axis],) * 2
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


def _seen(session: EngineContext, model: str) -> dict[str, tuple[tuple[float, float], tuple[int, ...]]]:
    """Of each input: the least and greatest value of the first batches, and the shape of a batch."""
    found: dict[str, tuple[tuple[float, float], tuple[int, ...]]] = {}
    for batch in islice(session.dataset(model).batches(session.model(model).batch), LOOKED_AT):
        for name, array in batch.inputs.items():
            low, high = float(array.min(initial=np.inf)), float(array.max(initial=-np.inf))
            ends = found[name][0] if name in found else (low, high)
            found[name] = (min(low, ends[0]), max(high, ends[1])), array.shape
    return found


def _scales(session: EngineContext, model: str) -> dict[str, float]:
    """The largest magnitude of each output over the first batches of the reference."""

    def work() -> dict[str, float]:
        found: dict[str, float] = {}
        spec = session.model(model)
        for outputs in islice(session.reference(model).batches(spec.batch, spec.samples), LOOKED_AT):
            for name, array in outputs:
                values: Any = np.abs(array.astype(np.float64))
                found[name] = max(found.get(name, 0.0), float(values[np.isfinite(values)].max(initial=0.0)))
        return found

    return session.memo.once(("scales", model), work)


def _named(signature: Signature, feeds: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, int]:
    return {
        size: feeds[spec.name].shape[axis]
        for spec in signature.inputs
        for axis, size in enumerate(spec.shape)
        if isinstance(size, str)
    }
