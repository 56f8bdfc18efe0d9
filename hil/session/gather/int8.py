"""INT8: what calibration recorded of itself, held against the data the config declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.checks import int8, parity
from hil.checks.int8 import CacheFacts, CalibrationFacts
from hil.session.gather.gathered import Gathered
from hil.session.gather.parity import compared, engine_answers, side_by_side, where_of
from hil.session.provision import calibrated

if TYPE_CHECKING:
    from hil.model import Row
    from hil.session.core import Session

METHOD = {"version": 1, "route": "explicit"}


def calibration(session: Session, row: Row) -> Gathered:
    """``int8.calibration``: the samples that calibration recorded against those the config declares, by digest."""
    from hil.quantize import samples_digest  # noqa: PLC0415 - heavy

    if session.signature(row.model).has_qdq:
        return Gathered(int8.calibration(CalibrationFacts(0, 0, "", "", foreign=True)), METHOD)
    made, source = calibrated(session, row.model), session.calibration_data(row.model)
    spec = session.model(row.model).calibration
    declared = (spec.samples if spec else None) or source.count
    facts = CalibrationFacts(
        declared=declared,
        consumed=int(made.provenance["samples"]),
        declared_digest=samples_digest(source, declared),
        consumed_digest=str(made.provenance["samples_digest"]),
        synthetic=source.synthetic,
    )
    return Gathered(int8.calibration(facts), METHOD)


def cache(session: Session, row: Row) -> Gathered:
    """``int8.cache``: the ranges inside the engine that was built, and the key they were made under, made again."""
    from hil.quantize import key_parts, read_ranges  # noqa: PLC0415 - heavy

    made = session.engines.provisioned(row.model, row.precision)
    recorded: dict[str, object] = {"model": session.signature(row.model).has_qdq}
    recomputed, skipped = recorded, {}
    if made.quantized is not None:
        spec = session.model(row.model)
        assert spec.calibration is not None  # noqa: S101 - without it nothing was quantized; for the type checker
        model, source = session.config.resolve(spec.path), session.calibration_data(row.model)
        recorded, skipped = made.quantized.provenance["parts"], made.quantized.provenance["skipped"]
        recomputed = key_parts(model, source, spec.calibration, session.spec.runtime)
    found = read_ranges(made.source)
    facts = CacheFacts(recorded, recomputed, found.scales, found.zero_points, found.quantizable, skipped)
    return Gathered(int8.cache(facts), METHOD)


def disjoint(session: Session, row: Row) -> Gathered:
    """``int8.disjoint``."""
    seen = session.dataset(row.model).sample_digests()
    shared = parity.overlap(seen, session.calibration_data(row.model).sample_digests())
    return Gathered(int8.disjoint(shared), {"version": 1, "compared": "samples by SHA-256 of their inputs"})


def drop(session: Session, row: Row) -> Gathered:
    """``int8.drop``: the task's loss (without a task the outputs') against the FP32 engine of the same target."""
    spec = session.model(row.model)
    fp32 = row.model_copy(update={"precision": "fp32"})
    method = {**METHOD, "against": "fp32 engine on the same target", "data": session.dataset(row.model).digest}
    tolerances = spec.tolerances.get("int8")
    if spec.task is not None:
        ours, theirs = compared(session, row).scores(), compared(session, fp32).scores()
        if ours is None or theirs is None:
            reason = compared(session, row).comparison.fatal or compared(session, fp32).comparison.fatal
            return Gathered(int8.drop(None, tolerances, why_not=reason or "nothing was scored"), method)
        scores = parity.Scores(ours.key, theirs.candidate, ours.candidate)
        return Gathered(int8.drop(scores, tolerances, where=where_of(session, row)), {**method, "task": spec.task})
    seen = side_by_side(session, row, engine_answers(session, row.model, "fp32"))
    return Gathered(int8.drop(seen.comparison, tolerances), method)
