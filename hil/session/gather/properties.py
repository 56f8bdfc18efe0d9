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
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.reference import cpu_session
from hil.onnx_files.signature import dimension
from hil.runtimes import runtime_record
from hil.session.engines.shape_profiles import profiles_of
from hil.session.gather.declaration import declaration_of
from hil.session.gather.gathered import Gathered
from hil.session.gather.parity import precision_of, refuse_sequences, where_of
from hil.session.properties.drawing import MOST_MATES, Drawn, Recipe, Space, search

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hil.checks.comparison import Outputs
    from hil.onnx_files.signature import Signature
    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.session.properties.drawing import Feeds
    from hil.targets.engine_worker import EngineWorker

EXAMINED = 8
"""Number of batches from which undeclared input ranges and sizes, and the scales of outputs, are derived."""


def numeric(session: EngineContext, row: Row) -> Gathered:
    """Judge ``property.parity``: whether the engine's outputs for drawn batches agree with the reference."""
    refuse_sequences(session, row.model)
    spec, reference = session.model(row.model), _reference(session, row.model)
    scales, tolerances = _scales(session, row.model), spec.tolerances.get(precision_of(row))

    def trial(worker: EngineWorker, feeds: Feeds, _drawn: Drawn) -> str | None:
        ours = reference(feeds)
        if ours is None:
            return None
        engine = worker.run(feeds)
        return properties.difference(ours, engine, scales, precision_of(row), tolerances, where=where_of(session, row))

    return _searched(session, row, trial, "every output is within its tolerance of the reference")


def stable(session: EngineContext, row: Row) -> Gathered:
    """Judge ``property.stable``: whether the outputs for drawn batches are well-formed, and are the same again.

    The outputs of a sample must not depend on the other samples of the batch either.
    """
    refuse_sequences(session, row.model)
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
        return properties.batch_dependence(first, others, batch, scales, precision_of(row), signature)

    what = "outputs have the declared shapes and dtypes, are finite, repeatable and independent of the other samples"
    gathered = _searched(session, row, trial, what)
    wrong = declaration_of(session, row, gathered.judgement)
    return replace(gathered, facts=replace(gathered.facts, diagnosis=wrong))


def _reference(session: EngineContext, model: str) -> Callable[[Feeds], Outputs | None]:
    """Return a function that runs the FP32 model on the host; it returns ``None`` for a batch that the model refuses.

    If the host cannot run the model, raises ``Unsupported`` for a model with saved reference outputs, and the original
    error for any other model.
    """
    names = [output.name for output in session.signature(model).outputs]

    def load() -> Any:
        try:
            return cpu_session(session.onnx(model))
        except (EngineBuildError, UserError) as error:
            if session.model(model).reference is None:
                raise
            raise Unsupported(
                f"drawn inputs are judged by running the reference, which the host cannot do: model {model}: {error}"
            ) from None

    host = session.memo.once(("fp32 on the host", model), load)

    def run(feeds: Feeds) -> Outputs | None:
        try:
            return list(zip(names, run_on_host(host, names, feeds), strict=True))
        except Exception:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
            return None

    return run


def _searched(
    session: EngineContext, row: Row, trial: Callable[[EngineWorker, Feeds, Drawn], str | None], what: str
) -> Gathered:
    valid, most = space(session, row), session.config.spec.measure.examples
    with session.engines.lease(row.model, row.precision) as worker:

        def run_trial(drawn: Drawn) -> str | None:
            step.advance()
            feeds = drawn.feeds(valid)
            try:
                return trial(worker, feeds, drawn)
            except EngineError as error:
                return _refusal(session, row.model, feeds, error)

        text = f"{row.model} {row.precision}: {row.id}, up to {most} drawn batches"
        with session.progress.step(text, total=most, unit="batches") as step:
            found = search(valid, most, run_trial)
    smallest = found.smallest
    saved = "" if smallest is None else _save_inputs(session, row, smallest.feeds(valid))
    example = None if smallest is None else smallest.as_dict()
    result = properties.SearchResult(found.examples, found.samples, found.wrong, example, saved, found.refused)
    judgement = properties.judge(result, what)
    ranges = {name: list(ends) for name, ends in valid.ranges.items()}
    method = {"version": 2, "drawn": "by Hypothesis, derandomized", "examples": most, "ranges": ranges}
    return Gathered(judgement, {**method, "sizes": {name: list(ends) for name, ends in valid.sizes.items()}})


def _refusal(session: EngineContext, model: str, feeds: Feeds, error: EngineError) -> str | None:
    """Return, as text, the problem of a batch that the engine refused; ``None`` if the reference refuses it too."""
    try:
        refused = _reference(session, model)(feeds) is None
    except Unsupported:
        refused = False
    return None if refused else f"a valid batch is refused: {error}"


def _save_inputs(session: EngineContext, row: Row, feeds: Feeds) -> str:
    """Save failing inputs in the report's folder, in the format of a model's ``data``; return the path."""
    name = re.sub(r"[^\w.-]", "_", f"{row.id}-{row.model}-{row.precision}") + ".npz"
    folder = session.report_dir / "repro"
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: for_file(array) for key, array in feeds.items()}
    np.savez_compressed(folder / name, **arrays)  # type: ignore[arg-type]  # names of inputs are not those of its parameters
    return f"repro/{name}"


def space(session: EngineContext, row: Row) -> Space:
    """Return the valid batches of the row's model.

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
    return Space(signature, ranges, sizes, _batch(session, row, signature))


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
        for name, array in batch.feeds.items():
            low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
            ends = observed.setdefault(name, Observed((low, high), set()))
            ends.range = min(low, ends.range[0]), max(high, ends.range[1])
            ends.shapes.add(array.shape)
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
