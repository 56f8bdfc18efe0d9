"""INT8: what calibration recorded of itself, held against the data the config declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.checks import int8, parity
from hil.model import Judgement, Row, Verdict
from hil.provision import calibrated
from hil.session.gather.gathered import Gathered
from hil.session.gather.parity import compared, engine_answers, side_by_side, where_of

if TYPE_CHECKING:
    from hil.session.core import Session

METHOD = {"version": 1, "route": "explicit"}


def disjoint(session: Session, row: Row) -> Gathered:
    """``int8.disjoint``."""
    seen = session.dataset(row.model).sample_digests()
    shared = parity.overlap(seen, session.calibration_data(row.model).sample_digests())
    return Gathered(int8.disjoint(shared), {"version": 1, "compared": "samples by SHA-256 of their inputs"})


def drop(session: Session, row: Row) -> Gathered:
    """``int8.drop``: the task's loss against the FP32 engine of the same target, or the outputs' where there is no task."""
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
