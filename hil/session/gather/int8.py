"""Check INT8: the data that calibration used, the ranges that it computed, and the loss against FP32."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from hil.checks import int8, parity
from hil.checks.int8 import CacheFacts, CalibrationFacts
from hil.checks.placement import any_of
from hil.errors import EngineBuildError, EngineError, Unsupported, WorkerLost
from hil.runtimes import runtime_record
from hil.series import digest_of
from hil.session.engines.provision import calibrated, is_implicit
from hil.session.gather.gathered import Gathered
from hil.session.gather.int8_audit import has_own_ranges, tensors
from hil.session.gather.parity import compared, distinct_of, scored, side_by_side, where_of
from hil.session.gather.placement import layers_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.checks.blocks import Outputs
    from hil.config.spec import Precision
    from hil.metrics import Metric
    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.session.engines.implicit_calibration import Streamed
    from hil.session.engines.provision import Provisioned

ELSEWHERE = "the engine was built elsewhere, and TensorRT does not report an engine's ranges"


def calibration(session: EngineContext, row: Row) -> Gathered:
    """Judge ``int8.calibration``: compare, by digest, the samples that calibration used with the declared ones."""
    from hil.quantize import samples_digest

    method = _method(session, row)
    if method["route"] == "foreign":
        facts = CalibrationFacts(0, 0, "", "", foreign=True)
        if session.model(row.model).engine is not None:
            return Gathered(int8.calibration(facts, "the engine was built elsewhere"), method)
        return Gathered(int8.calibration(facts), method)
    source, spec = session.calibration_data(row.model), session.model(row.model).calibration
    declared = (spec.samples if spec else None) or source.count
    if method["route"] == "implicit":
        made = session.engines.provisioned(row.model, row.precision)
        return Gathered(int8.calibration(consumed(made, declared, samples_digest(source, declared))), method)
    explicit = calibrated(session, row.model)
    facts = CalibrationFacts(
        declared=declared,
        consumed=int(explicit.provenance["samples"]),
        declared_digest=samples_digest(source, declared),
        consumed_digest=str(explicit.provenance["samples_digest"]),
        synthetic=source.synthetic,
    )
    return Gathered(int8.calibration(facts), method)


def _method(session: EngineContext, row: Row) -> dict[str, Any]:
    """Return the method of a check of INT8 ranges.

    Its ``route`` is ``explicit`` if hil calibrated, ``implicit`` if TensorRT's calibrator did, and ``foreign`` if the
    ranges came with the ONNX file or the engine.
    """
    if has_own_ranges(session, row):
        return {"version": 1, "route": "foreign"}
    return {"version": 1, "route": "implicit" if is_implicit(session, row.model) else "explicit"}


def consumed(made: Provisioned, declared: int, declared_digest: str) -> CalibrationFacts:
    """Return the facts by which the samples that TensorRT's calibrator read are compared with the declared samples.

    ``made`` must be an engine of the implicit route. ``declared`` is the number of declared samples, and
    ``declared_digest`` the digest of their digests (``samples_digest``).
    """
    streamed, about = made.streamed, _about(made)
    assert streamed is not None  # noqa: S101 - the implicit route streamed them; for the type checker
    fed, samples, earlier = about.get("consumed") or {}, int(about.get("samples") or 0), about.get("cache") == "read"
    if earlier and not _bound(made, streamed):
        fed = {}  # an earlier calibration counts only if it used the same data
    return CalibrationFacts(
        declared=declared,
        consumed=samples if fed else 0,
        declared_digest=digest_of({"samples": declared_digest, "inputs": dict(streamed.fed)}),
        consumed_digest=digest_of({"samples": streamed.samples_digest, "inputs": dict(fed)}),
        synthetic=streamed.synthetic,
        earlier=earlier,
    )


def _bound(made: Provisioned, streamed: Streamed) -> bool:
    """Return whether the build recorded the key and the blobs of the samples that were sent for calibration."""
    facts = made.engine.facts
    implicit = (facts.get("options") or {}).get("implicit")
    return facts.get("calibration") == streamed.key and implicit == streamed.option()


def _about(made: Provisioned) -> Mapping[str, Any]:
    """Return what the target recorded about calibration during the build; empty if it recorded nothing."""
    return made.engine.about.get("calibration") or {}


def cache(session: EngineContext, row: Row) -> Gathered:
    """Judge ``int8.cache``: whether the ranges that the build used are valid, complete, up to date and in use.

    Raises ``Unsupported`` for an engine that was built elsewhere.
    """
    method = _method(session, row)
    if session.model(row.model).engine is not None:
        advice = "remove 'engine' to have it built from the ONNX file"
        raise Unsupported(f"{ELSEWHERE}: model {row.model} on target {session.used}: {advice}")
    made = session.engines.provisioned(row.model, row.precision)
    facts = _implicit_cache(session, row, made) if made.streamed else _explicit_cache(session, row, made)
    if runtime_record(session.spec.runtime).chooses_precision:
        facts = replace(facts, precision=row.precision, in_use=any_of(layers_of(session, row), row.precision))
    return Gathered(int8.cache(facts), method)


def _explicit_cache(session: EngineContext, row: Row, made: Provisioned) -> CacheFacts:
    from hil.quantize import key_parts, read_ranges

    recorded: dict[str, object] = {"model": session.signature(row.model).has_qdq}
    recomputed, skipped, floating = recorded, {}, {}
    if made.quantized is not None:
        spec = session.model(row.model)
        assert spec.calibration is not None  # noqa: S101 - without it nothing was quantized; for the type checker
        model, source = session.onnx(row.model), session.calibration_data(row.model)
        recorded, skipped = made.quantized.provenance["parts"], made.quantized.provenance["skipped"]
        floating = made.quantized.provenance.get("floating", {})
        recomputed = key_parts(model, source, spec.calibration, runtime_record(session.spec.runtime).qdq_layout)
    ranges = read_ranges(made.source)
    facts = CacheFacts(recorded, recomputed, ranges.scales, ranges.zero_points, ranges.quantizable, skipped, floating)
    facts = replace(facts, biases=ranges.biases)
    if made.quantized is None or made.quantized.provenance["foreign"]:
        return replace(facts, foreign=True)
    known = set().union(*tensors(session, row.model))
    return replace(facts, known=known, damaged=made.quantized.damaged)


def _implicit_cache(session: EngineContext, row: Row, made: Provisioned) -> CacheFacts:
    """Return the facts of TensorRT's calibration cache on the target, such as its scales and how the build used it."""
    from hil.quantize.ranges import computed_tensors, weighted_inputs, zero_constants
    from hil.session.engines.implicit_calibration import expected_header, float_inputs, header_versions, key_parts

    spec, streamed, about = session.model(row.model), made.streamed, _about(made)
    assert spec.calibration is not None  # noqa: S101 - the implicit route calibrated; for the type checker
    assert streamed is not None  # noqa: S101 - as above
    again = key_parts(session.onnx(row.model), session.calibration_data(row.model), spec.calibration)
    header = str(about.get("header") or "")
    bound = {"engine": made.engine.facts.get("calibration"), "algorithm": about.get("algorithm")}
    return CacheFacts(
        recorded={**streamed.parts, **bound},
        recomputed={**again, "engine": digest_of(again), "algorithm": streamed.algorithm},
        scales={n: [math.nan if step is None else float(step)] for n, step in (about.get("scales") or {}).items()},
        quantizable=tuple(float_inputs(session.signature(row.model))),
        used=str(about.get("cache") or "not reported"),
        header=header,
        expected_header=expected_header(streamed.algorithm),
        header_versions=header_versions(made.engine.runtime_version),
        zeros=zero_constants(session.onnx(row.model)),
        computed=computed_tensors(session.onnx(row.model)),
        flowing=weighted_inputs(session.onnx(row.model)),
    )


def disjoint(session: EngineContext, row: Row) -> Gathered:
    """Judge ``int8.disjoint``: calibration and validation data must have no sample in common and no near duplicates."""
    from hil.datasets.likeness import NEAR, near

    data, source = session.dataset(row.model), session.calibration_source(row.model)
    shared = parity.overlap(data.sample_digests(), source.sample_digests())
    spec, batch = session.model(row.model), data.stride or source.stride
    steps = bool(session.signature(row.model).carry)  # then the number of calibration samples is that of their steps
    counts = spec.samples, spec.calibration.samples if spec.calibration and not steps else None
    alike = near(data, source, counts=counts, **({"batch": batch} if batch else {}))
    facts = int8.NearFacts(alike.pairs, alike.checked, NEAR)
    method = {"version": 2, "compared": "samples by SHA-256 of their inputs, and by likeness", "near": NEAR}
    return Gathered(int8.disjoint(shared, facts), method)


def drop(session: EngineContext, row: Row) -> Gathered:
    """Judge ``int8.drop``: the INT8 engine's loss of score against the FP32 engine on the same target.

    For a model without a task, the difference between the outputs of both engines is judged instead.
    """
    spec = session.model(row.model)
    fp32 = row.model_copy(update={"precision": "fp32"})
    method = {
        **_method(session, row),
        "against": "fp32 engine on the same target",
        "data": session.dataset(row.model).digest,
    }
    tolerances = next((table for key, table in spec.tolerances.items() if key == row.precision), None)
    if spec.task is not None:
        ours, theirs = compared(session, row).scores(), compared(session, fp32).scores()
        if ours is None or theirs is None:
            reason = compared(session, row).comparison.fatal or compared(session, fp32).comparison.fatal
            return Gathered(int8.drop(None, tolerances, why_not=reason or "nothing was scored"), method)
        metric = compared(session, row).metric
        if metric is None:
            return Gathered(int8.drop(None, tolerances, why_not="nothing was scored"), method)
        scores = scored(metric, theirs.candidate, ours.candidate, distinct_of(session, row.model))
        judgement = int8.drop(
            scores, tolerances, precision=cast("Precision", row.precision), where=where_of(session, row)
        )
        fp32_score, own_score = scores.whole()
        half, why_not = _fp16(session, row, metric, theirs.candidate)
        judgement = int8.split(judgement, {"fp32": fp32_score, row.precision: own_score}, half, why_not)
        return Gathered(judgement, {**method, "task": spec.task})
    both = side_by_side(session, row, _engine_answers(session, row.model, "fp32"))
    return Gathered(int8.drop(both.comparison, tolerances), method)


def _fp16(session: EngineContext, row: Row, metric: Metric, fp32: Any) -> tuple[float | None, str]:
    """Return the fp16 engine's score and an empty text, or ``None`` and the reason why there is no score.

    ``fp32`` has the fp32 engine's score of each sample.
    """
    if "fp16" not in session.model(row.model).precisions:
        return None, "fp16 is not among the model's precisions"
    try:
        scores = compared(session, row.model_copy(update={"precision": "fp16"})).scores()
    except (Unsupported, EngineBuildError, EngineError, WorkerLost) as error:
        return None, str(error)
    if scores is None:
        return None, "the fp16 engine's outputs could not be scored"
    return scored(metric, fp32, scores.candidate, len(fp32)).whole()[1], ""


def _engine_answers(session: EngineContext, model: str, precision: str) -> Iterator[Outputs]:
    """Yield the outputs of the engine of ``model`` and ``precision`` for the validation data, batch by batch."""
    spec = session.model(model)
    with session.engines.lease(model, precision) as worker:
        batches = session.dataset(model).batches(spec.batch, spec.samples)
        with closing(worker.run_many(batch.feeds for batch in batches)) as runs:
            yield from runs
