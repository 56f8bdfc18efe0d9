"""Judges whether an engine gives the answers of its reference: the share that changed, and a drift of their scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hil.checks.numbers import LISTED
from hil.checks.task import CONFIDENCE, few_accepted, no_disagreement
from hil.checks.tolerances import Tolerance, Where, answer_limits, somewhere
from hil.checks.verdicts import hold_interval, inconclusive, judged
from hil.results import CLAIM, Judgement, Limit, Measurement, Sense, Verdict
from hil.stats import samples_needed, share_bounds
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from hil.checks.numbers import Array
    from hil.config.spec import TolerancesSpec

    FloatArray = npt.NDArray[np.float64]


FEWEST = 7
"""The fewest distinct samples that prove that a class is lost.

If half of the answers of a class differ, seven samples all differ by chance in under 1 % of cases.
"""


class Evidence(Protocol):
    """How far the answers of both sides differ; ``hil.metrics.agreement.evidence`` describes the attributes."""

    @property
    def changed(self) -> FloatArray: ...  # noqa: D102 - described there, as are all below
    @property
    def samples(self) -> Array: ...  # noqa: D102 - as above
    @property
    def total(self) -> int: ...  # noqa: D102 - as above
    @property
    def silent(self) -> int: ...  # noqa: D102 - as above
    @property
    def nothing(self) -> str: ...  # noqa: D102 - as above
    @property
    def constant(self) -> float: ...  # noqa: D102 - as above
    @property
    def drift(self) -> FloatArray | None: ...  # noqa: D102 - as above
    @property
    def scores(self) -> FloatArray | None: ...  # noqa: D102 - as above
    @property
    def moved(self) -> FloatArray | None: ...  # noqa: D102 - as above
    @property
    def f1(self) -> float | None: ...  # noqa: D102 - as above
    @property
    def part(self) -> str: ...  # noqa: D102 - as above


class Answers(Protocol):
    """Compares the answers of two sides batch by batch: see ``hil.metrics.agreement.evidence``."""

    @property
    def kind(self) -> str: ...  # noqa: D102 - as above
    @property
    def outputs(self) -> tuple[str, ...]: ...  # noqa: D102 - as above
    def add(self, reference: Mapping[str, Array], candidate: Mapping[str, Array], samples: int) -> None: ...  # noqa: D102 - as above
    def evidence(self) -> Evidence: ...  # noqa: D102 - as above


def judge(  # noqa: PLR0913 - all but the answers have a default
    answers: Answers,
    spec: TolerancesSpec | None = None,
    *,
    where: Where = somewhere,
    distinct: int | None = None,
    spot_check: bool = False,
    confidence: float = CONFIDENCE,
) -> Judgement:
    """Judge the agreement of answers by the interval of the share that changed, each bound one-sided at ``confidence``.

    Passed if the upper bound is within the tolerance ``answers``, failed if the lower bound, the mean change of scores
    or the mean change of boxes exceeds its tolerance, else inconclusive. A pass becomes inconclusive if the
    answers of the reference prove nothing. With the tolerance ``no_disagreement_in``, that many samples without a
    change are enough to pass. ``distinct`` is the number of distinct samples, ``None`` if all are. A ``spot_check``
    repeats samples of a report, and passes unless it finds a difference.
    """
    found = answers.evidence()
    limits = answer_limits(spec, answers.outputs, where)
    n = len(found.changed)
    worth = n if distinct is None else min(n, distinct)
    copies = bool(found.part) and distinct is not None and 0 < n < found.total
    if copies and distinct is not None:  # of the part's samples, an equal share is taken to be distinct
        worth = min(worth, max(1, distinct * n // found.total))
    several = len(answers.outputs) > 1
    name = f"output{'s' if several else ''} {', '.join(map(repr, answers.outputs))} ({answers.kind})"
    details, limit = _details(answers, found, worth, limits), _limit(limits["answers"], spec)
    if not n:
        details["verdict"] = Verdict.INCONCLUSIVE.value
        return inconclusive(f"{name}: {_silence(found)}", limit, details)
    low, high = share_bounds(found.changed, confidence, worth)
    share = float(found.changed.mean())
    needed = _needed(share, limit.value, worth, confidence)
    measurement = Measurement(value=share, unit="1", low=low, high=high, confidence=confidence, n=worth)
    judgement = hold_interval(measurement, limit, _advice(worth, needed), details)
    if copies and worth < FEWEST and judgement.verdict is Verdict.FAILED:
        reason = f"{judgement.reason}: {worth} distinct samples of {found.part} are too few, {FEWEST} are needed"
        judgement = judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})
    alone = f" (only {found.part}, which is lost)" if found.part else ""
    reason = f"share of answers changed{alone}: {judgement.reason}"
    verdict = judgement.verdict
    if verdict is Verdict.FAILED:
        first = int(found.samples[int((found.changed >= min(0.5, found.changed.max())).argmax())])
        reason += f"; the first is that of sample {first}"
    elif drifted := _drifted(found, limits["score_drift"].value) or _moved(found, limit.value):
        verdict, reason = Verdict.FAILED, drifted
    elif worthless := _worthless(found, None if spot_check else limit.value):
        verdict, reason = Verdict.INCONCLUSIVE, worthless
    elif verdict is Verdict.INCONCLUSIVE and few_accepted(spec, worth) and not found.changed.any():
        claim = no_disagreement(worth, confidence)
        verdict, reason = Verdict.PASSED, f"{claim}, accepted by {where('no_disagreement_in')}"
        details[CLAIM] = claim
    elif verdict is Verdict.INCONCLUSIVE and spot_check:
        verdict = Verdict.PASSED
    unsettled = judgement.verdict is Verdict.INCONCLUSIVE
    details |= {"low": low, "high": high, "confidence": confidence, "verdict": verdict.value}
    details["needed"] = needed if unsettled else None
    return judged(verdict, f"{name}: {reason}", measurement, limit, details)


def _limit(tolerance: Tolerance, spec: TolerancesSpec | None) -> Limit:
    reason, expires = (None, None) if spec is None or tolerance.key is None else (spec.why, spec.expires)
    return Limit(
        value=tolerance.value, unit="1", sense=Sense.AT_MOST, source=tolerance.source, reason=reason, expires=expires
    )


def _worthless(found: Evidence, limit: float | None) -> str:
    """Return, as text, why the agreement of these answers proves nothing; empty if it proves something.

    With a ``limit``, agreement proves nothing if constant answers would be within the limit.
    """
    if found.silent == found.total:
        return _silence(found)
    if limit is None or found.constant > limit:
        return ""
    reason = f"an engine that ignores its input would change {show(found.constant, '1')} of the answers"
    return f"{reason}: use data for which the answers vary"


def _silence(found: Evidence) -> str:
    where = f"{found.silent} of {found.total} samples"
    return f"the reference {found.nothing} in {where}: use data for which it gives answers"


def _drifted(found: Evidence, most: float) -> str:
    """Return, as text, which scores drifted by more than ``most``: of all answers, or of those with low or high scores.

    High scores that fall and low ones that rise may have no mean, but no threshold that fits them.
    """
    if found.drift is None or not len(found.drift):
        return ""
    scores = np.zeros(len(found.drift)) if found.scores is None else found.scores
    order, half = np.argsort(scores, kind="stable"), len(scores) // 2
    parts = (
        {"": order}
        if half < FEWEST
        else {"": order, "lower half of the ": order[:half], "upper half of the ": order[half:]}
    )
    for name, part in parts.items():
        drift = float(found.drift[part].mean())
        doubt = float(2 * found.drift[part].std() / math.sqrt(len(part))) if name else 0.0
        if abs(drift) - doubt > most:
            what = f"the {name}scores of the answers that both sides give changed by {drift:+.3g} on average"
            return f"{what}, at most {most:g} is accepted: the robot's thresholds would no longer fit"
    return ""


def _moved(found: Evidence, most: float) -> str:
    """Return, as text, by how much boxes moved or grew on average, if it is over the share ``most`` of their size."""
    if found.moved is None or not len(found.moved):
        return ""
    means = found.moved.mean(axis=0)
    doubts = 2 * found.moved.std(axis=0) / math.sqrt(len(found.moved))
    at = int((np.abs(means) - doubts).argmax())
    if abs(means[at]) - doubts[at] <= most:
        return ""
    what = ("moved along x", "moved along y", "changed in width", "changed in height")[at]
    by = f"the boxes that both sides give {what} by {100 * means[at]:+.3g} % of their size on average"
    return f"{by}, at most {show(most, '1')} is accepted"


def _needed(share: float, limit: float, worth: int, confidence: float) -> int | None:
    """Return how many samples would decide the check if this share stays; ``None`` if no number would."""
    needed = samples_needed(1 - limit, confidence, share) if 0 < limit < 1 else None
    return None if needed is None else max(needed, worth + 1)


def _advice(worth: int, needed: int | None) -> str:
    if needed is None:
        return f"{worth} samples: no number of samples would settle a share so close to the limit"
    return f"{worth} samples are too few, about {needed} would settle it at this share"


def _details(answers: Answers, found: Evidence, worth: int, limits: Mapping[str, Tolerance]) -> dict[str, Any]:
    drift = None if found.drift is None or not len(found.drift) else float(found.drift.mean())
    most = np.argsort(-found.changed, kind="stable")[:LISTED]
    return {
        "outputs": list(answers.outputs),
        "kind": answers.kind,
        "changed": float(found.changed.mean()) if len(found.changed) else None,
        "limit": limits["answers"].value,
        "counted": len(found.changed),
        "distinct": worth,
        "samples": found.total,
        "silent": found.silent,
        "score_drift": drift,
        "score_drift_limit": None if drift is None else limits["score_drift"].value,
        "f1": found.f1,
        "moved": None if found.moved is None or not len(found.moved) else found.moved.mean(axis=0).tolist(),
        "part": found.part,
        "most_changed": [int(found.samples[place]) for place in most if found.changed[place] > 0],
    }
