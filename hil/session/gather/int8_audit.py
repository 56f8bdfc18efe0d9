"""Audit INT8: judge the calibration set, and check the ranges with an FP32 run on the host and a second calibration."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks import int8_ranges, int8_set
from hil.checks.int8_ranges import RangesFacts, RepeatFacts, TensorUse
from hil.checks.int8_set import Classes, InputFacts, SetFacts
from hil.checks.int8_states import state_use
from hil.errors import Unsupported
from hil.runtimes import runtime_record
from hil.session.engines.provision import build_options, is_implicit, of_one_model
from hil.session.gather.gathered import Gathered
from hil.session.split_sequences import split_sequences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hil.checks.int8_states import StateUse
    from hil.datasets import Dataset
    from hil.datasets.statistics import DataStatistics
    from hil.quantize.recalibrate import Snapshot
    from hil.results import Row
    from hil.session.engine_context import EngineContext

CLASSIFYING = "classification"
LEVELS = {"int8": 127, "fp8": 448}
"""The largest quantized value of each precision whose activations have ranges."""


def calibration_set(session: EngineContext, row: Row) -> Gathered:
    """Judge ``int8.calibration_set``: size, variety and distribution of the calibration samples."""
    from hil.datasets.statistics import CHUNK, far, statistics_of

    spec = session.model(row.model)
    source, (data, used) = session.calibration_data(row.model), session.steps(row.model)
    with session.progress.step(f"{row.model} int8: examining calibration and validation data"):
        ours = statistics_of(source, spec.calibration.samples if spec.calibration else None, source.stride or CHUNK)
        theirs = statistics_of(data, used, data.stride or CHUNK)
    growth, unknown = _growth(session, row)
    facts = SetFacts(
        samples=ours.samples,
        distinct=ours.distinct,
        constant=ours.constant,
        inputs=[
            InputFacts(name, _spread(stats), _spread(theirs.inputs[name]), far(stats.peaks, int8_set.FAR))
            for name, stats in ours.inputs.items()
            if name in theirs.inputs
        ],
        classes=_classes(session, row.model, ours, theirs),
        growth=growth,
        synthetic=source.synthetic or data.synthetic,
        unknown=unknown,
    )
    method = {"version": 1, "samples": ours.samples, "data": source.digest, "against": data.digest}
    return Gathered(int8_set.calibration_set(facts), method)


def _spread(stats: Any) -> int8_set.Spread:
    return int8_set.Spread(stats.mean, stats.deviation, stats.low, stats.high)


def has_own_ranges(session: EngineContext, row: Row) -> bool:
    """Return whether the ranges came with the ONNX file (``path`` or ``deployed``) or the engine."""
    spec = session.model(row.model)
    brought = spec.engine is not None or spec.deployed_in(row.precision) is not None
    return brought or session.signature(row.model).has_qdq


def _growth(session: EngineContext, row: Row) -> tuple[list[tuple[int, Mapping[str, Sequence[float]]]], dict[str, str]]:
    if has_own_ranges(session, row):
        return [], {"growth": "the ranges came with the model, and nothing is calibrated here"}
    snapshots = again(session, row.model)
    if len(snapshots) < 2:  # half of the set and the whole set
        return [], {"growth": "half of the samples is not a whole number of the model's batches"}
    flowing = tensors(session, row.model)[0]
    return [(s.samples, {n: step for n, step in s.ranges.scales.items() if n in flowing}) for s in snapshots], {}


def _classes(session: EngineContext, name: str, ours: DataStatistics, theirs: DataStatistics) -> Classes | None:
    """Return how many samples of each class the calibration set (``ours``) and the validation set (``theirs``) have.

    ``None`` if there are no classes to count.
    """
    if session.model(name).task != CLASSIFYING:
        return None
    if ours.classes and theirs.classes:
        return Classes(ours.classes, theirs.classes, "labels")
    spec = session.model(name).calibration
    source, batch = session.calibration_data(name), session.model(name).batch
    path = session.onnx(name)
    # For both sets: a class that the model never answers is then missing in both.
    answers = _answers(path, source, batch, spec.samples if spec else None)
    data, used = session.steps(name)
    truths = _answers(path, data, batch, used)
    return Classes(answers, truths, "the FP32 model's answers") if answers and truths else None


def _answers(path: Path, data: Dataset, batch: int, samples: int | None) -> dict[int, int]:
    """Run the model on the host, and return how many samples it assigns to each class.

    Empty unless exactly one output has the shape (n, classes).
    """
    from collections import Counter

    from hil.onnx_files.host_run import run_on_host
    from hil.onnx_files.reference import cpu_session

    runtime, counted = cpu_session(path), Counter[int]()
    names = [output.name for output in runtime.get_outputs()]
    for inputs in (portion.feeds for portion in data.batches(batch, samples)):
        ranked = [array for array in run_on_host(runtime, names, inputs) if array.ndim == 2]  # (n, classes)
        if len(ranked) != 1:
            return {}
        counted.update(int(value) for value in ranked[0].argmax(axis=1))
    return dict(sorted(counted.items()))


def again(session: EngineContext, name: str) -> list[Snapshot]:
    """Return the INT8 ranges that growing parts of the calibration samples give; the last part has all samples.

    The first call calibrates the model again on the host. Raises ``Unsupported`` if the config names no calibration
    data.
    """
    from hil.quantize.recalibrate import snapshots

    spec = session.model(name)
    if spec.calibration is None:
        raise Unsupported(f"model {name} has no [models.{name}.calibration]: add it for int8")
    calibration, path = spec.calibration, session.onnx(name)

    def work() -> list[Snapshot]:
        with of_one_model(), session.progress.step(f"{name} int8: calibrating again ({calibration.method})"):
            return snapshots(
                path, session.calibration_data(name), calibration, runtime_record(session.spec.runtime).qdq_layout
            )

    return session.memo.once(("calibrated again", name), work)


def tensors(session: EngineContext, name: str) -> tuple[set[str], set[str]]:
    """Return the names of the model's activations and the names of its constants, as the quantizer calls them."""
    from hil.quantize.activations import known_tensors

    path = session.onnx(name)
    return session.memo.once(("tensors", name), lambda: known_tensors(path))


def scales_in_use(session: EngineContext, row: Row) -> dict[str, list[float]]:
    """Return the quantization scales that the engine uses, by tensor.

    A scale that is missing in TensorRT's calibration cache is NaN. Raises ``Unsupported`` for an engine that was built
    elsewhere.
    """
    from hil.quantize import read_ranges

    if session.model(row.model).engine is not None:
        what = "the engine was built elsewhere, and TensorRT does not report an engine's ranges"
        advice = "remove 'engine' to have it built from the ONNX file"
        raise Unsupported(f"{what}: model {row.model} on target {session.used}: {advice}")
    made = session.engines.provisioned(row.model, row.precision)
    if made.streamed is None:
        return dict(read_ranges(made.source).scales)
    return _of_cache(made.engine.about)


def _of_cache(about: Mapping[str, Any]) -> dict[str, list[float]]:
    scales = (about.get("calibration") or {}).get("scales") or {}
    return {name: [math.nan if scale is None else float(scale)] for name, scale in scales.items()}


def ranges(session: EngineContext, row: Row) -> Gathered:
    """Judge ``int8.ranges``: the share of the activations on validation data that exceeds the engine's ranges."""
    from hil.quantize.activations import observe

    scales = scales_in_use(session, row)
    foreign = session.signature(row.model).has_qdq
    path = session.onnx(row.model)
    constants = set() if foreign else tensors(session, row.model)[1]
    tops = {
        name: LEVELS[row.precision] * steps[0]
        for name, steps in scales.items()
        if len(steps) == 1 and name not in constants
    }
    data, used = session.steps(row.model)
    text = f"{row.model} int8: comparing {len(tops)} ranges with the values on validation data"
    with session.progress.step(text):
        observed = observe(path, tops, data, limit=used, fold=not foreign)
    uses = [
        TensorUse(name, use.top, use.peak, use.beyond, use.n, use.lost / use.energy if use.energy else 0.0)
        for name, use in observed.uses.items()
    ]
    states = _states(session, row.model, tops)
    facts = RangesFacts(uses, observed.samples, observed.unknown, synthetic=data.synthetic, states=states)
    through = "the model's own Q/DQ nodes" if foreign else "the FP32 model"
    method = {"version": 1, "through": through, "data": data.digest, "samples": observed.samples}
    return Gathered(int8_ranges.ranges(facts, row.limit), method)


def _states(session: EngineContext, name: str, tops: Mapping[str, float]) -> list[StateUse]:
    """Return, for each sequence of the validation data, how the reference's states exceed their INT8 ranges."""
    signature, spec, data, uses, number = session.signature(name), session.model(name), session.dataset(name), [], 0
    ranges = _ranges_of_states(session, name, tops)
    if not ranges:
        return []
    answers = session.reference(name).batches(spec.batch, spec.samples)
    for batch, answer in zip(data.batches(spec.batch, spec.samples), answers, strict=True):
        rows, outputs = len(next(iter(batch.inputs.values()))), dict(answer)
        for state, tensor, top, parts in ranges:
            source = signature.carry[state]
            split = split_sequences(signature, name, rows, [(source, outputs[source])])
            for at, ((_, values),) in enumerate(split):
                use = state_use(tensor, top, number + at, values[:, parts[at]]) if parts[at].any() else None
                uses += [] if use is None else [replace(use, whole="" if tensor in {state, source} else state)]
        number += rows
    return uses


def _ranges_of_states(
    session: EngineContext, name: str, tops: Mapping[str, float]
) -> list[tuple[str, str, float, list[np.ndarray[Any, Any]]]]:
    """Return the ranges of states: the state, the tensor that has the range, its end, and the elements that it holds.

    A range is that of the state, of the output that feeds it, or of a tensor that holds some of its elements, which are
    returned for each sequence of a batch.
    """
    from hil.quantize.activations import plain_name
    from hil.quantize.state_parts import state_parts

    signature, by_name = session.signature(name), {plain_name(tensor): top for tensor, top in tops.items()}
    first = next(session.dataset(name).batches(session.model(name).batch, session.model(name).samples))
    carry, rows = signature.carry, len(next(iter(first.inputs.values())))
    found = state_parts(session.onnx(name), carry, first.feeds, set(by_name), fold=not signature.has_qdq)
    for state, source in carry.items():
        whole = [(by_name[tensor], tensor) for tensor in (state, source) if tensor in by_name]
        found += [(state, tensor, np.ones(first.feeds[state].shape, bool)) for _, tensor in sorted(whole)[:1]]
    return [
        (
            state,
            tensor,
            by_name[tensor],
            [held[0] for ((_, held),) in split_sequences(signature, name, rows, [(carry[state], part[None])])],
        )
        for state, tensor, part in found
    ]


def repeatable(session: EngineContext, row: Row) -> Gathered:
    """Judge ``int8.repeatable``: calibrate again, and compare the ranges with those in use.

    This is done on the host or, if TensorRT's calibrator computed the ranges, by a second build on the target. Raises
    ``Unsupported`` if the ranges came with the ONNX file ``path`` or the engine, or if the config names no calibration
    data.
    """
    name, source = row.model, session.calibration_data(row.model)
    in_use = scales_in_use(session, row)
    if has_own_ranges(session, row):
        raise Unsupported(f"the ranges came with the model's own Q/DQ nodes: model {name}: nothing is calibrated here")
    if is_implicit(session, name):
        fresh, where = _built_again(session, row), f"on {session.used}, by a build of its own"
    else:
        fresh, where = again(session, name)[-1].ranges.scales, "on the host"
    spec = session.model(name).calibration
    samples = (spec.samples if spec else None) or source.count
    method = {"version": 1, "calibrated": where, "data": source.digest, "samples": samples}
    return Gathered(int8_ranges.repeatable(RepeatFacts(in_use, fresh, samples, where)), method)


def _built_again(session: EngineContext, row: Row) -> dict[str, list[float]]:
    """Return TensorRT's ranges from a second build that reuses neither the first engine nor its calibration cache."""
    spec, made = session.model(row.model), session.engines.provisioned(row.model, row.precision)
    streamed = made.streamed
    assert streamed is not None  # noqa: S101 - the implicit route streamed them; for the type checker
    options = build_options(session, row.model, row.precision, spec)
    options |= {"calibration": streamed.key, "implicit": {**streamed.option(), "again": True}}
    digest, external = session.agent.put_model(made.source)
    limit, runtime = spec.build.time_limit, session.spec.runtime
    with session.progress.step(f"{row.model} int8: calibrating again on {session.used}", seconds=limit):
        engine = session.agent.build(digest, row.precision, runtime, options, limit, external=external)
    return _of_cache(engine.about)
