"""``parity.task``: does the engine do its task as well as the reference? Judged by the interval of the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hil.checks.tolerances import TASK_DEFAULTS, TASK_ORIGIN, Where, somewhere
from hil.checks.verdicts import failed, finite, hold_interval, inconclusive, no_limit
from hil.results import CLAIM, Judgement, Limit, Measurement, Sense, Verdict
from hil.stats import Pool, bootstrap_drop, bootstrap_pooled_drop
from hil.units import show

if TYPE_CHECKING:
    import numpy.typing as npt

    from hil.config.spec import Precision, TolerancesSpec

CONFIDENCE = 0.95
"""Confidence of the loss, as usual for paired bootstraps. At 99 % it would take 459 samples to exclude a 1 % loss."""

HITS = frozenset({"top1_drop", "top5_drop", "retrieval_drop"})
"""Losses of scores that are a share of correct samples."""

SHARES = HITS | {"map_drop", "miou_drop"}
"""Losses of scores from 0 to 1, to which one of n samples contributes at most about 1/n."""

TASK_KEYS = (*sorted(SHARES), "error_increase", "score_drop")


@dataclass(frozen=True)
class Scores:
    """Scores of the reference and of the engine on the same n samples.

    Attributes:
        key: the tolerance of the loss: one of ``SHARES``, ``error_increase`` or ``score_drop``.
        reference: a score per sample, shape (n,); with ``pools`` the evidence per sample, shape (n, …).
        candidate: the same for the engine.
        pools: functions that compute the score of the reference and of the engine from how often each sample is drawn.
        distinct: how many samples differ by more than noise, ``None`` if all do.
    """

    key: str
    reference: npt.NDArray[np.float64]
    candidate: npt.NDArray[np.float64]
    pools: tuple[Pool, Pool] | None = None
    distinct: int | None = None

    @property
    def worth(self) -> int:
        """The number of samples that count: the distinct ones."""
        return len(self.reference) if self.distinct is None else self.distinct

    def whole(self) -> tuple[float, float]:
        """Return the scores of the reference and of the engine over all samples."""
        if self.pools is None:
            return float(self.reference.mean()), float(self.candidate.mean())
        once = np.ones((1, len(self.reference)))
        return float(self.pools[0](once)[0]), float(self.pools[1](once)[0])


def task(  # noqa: PLR0911, PLR0913 - one return per reason; all arguments but two have a default
    scores: Scores | None,
    precision: Precision,
    spec: TolerancesSpec | None = None,
    *,
    where: Where = somewhere,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    why_not: str = "no sample was scored",
) -> Judgement:
    """Judge ``parity.task``: is the engine's loss of score against the reference within the tolerance?

    Passed if the upper bound of the loss is within the tolerance, failed if the measured loss is beyond it, otherwise
    inconclusive. Also failed if scores are not finite or ``spec`` has a tolerance for another metric, and ``not_run``
    without a tolerance. For ``SHARES``, also passed if no score differs in as many distinct samples as
    ``spec.no_disagreement_in`` requires, and inconclusive if the reference's own score is not above the tolerance. The
    bounds come from a paired bootstrap, each one-sided at ``confidence``; for ``SHARES`` the upper bound also obeys the
    rule of three. ``why_not`` is the reason if there are no ``scores``.
    """
    if scores is None or not scores.reference.size:
        return inconclusive(why_not)
    others = [k for k in TASK_KEYS if k != scores.key and spec is not None and getattr(spec, k) is not None]
    unused = f"tolerance {others[0]} applies to no score ({where(others[0])}): use {scores.key}" if others else ""
    wrong = unused or _unscored(scores)
    if wrong:
        return failed(wrong)
    n = scores.worth
    ours, theirs = scores.whole()
    if not math.isfinite(ours) or not math.isfinite(theirs):
        return failed(f"the scores are not finite: the reference's {ours}, the engine's {theirs}")
    drop, low, high = _lost(scores, confidence, seed)
    details = {"reference": ours, "candidate": theirs, "samples": len(scores.reference), "distinct": n}
    if not math.isfinite(drop):
        return failed("the engine makes errors and the reference none, so there is no relative increase", details)
    unit = "" if scores.key == "score_drop" else "1"
    measurement = Measurement(value=drop, unit=unit, low=finite(low), high=finite(high), confidence=confidence, n=n)
    limit = _task_limit(scores.key, unit, precision, spec, where)
    if limit is None:
        return no_limit(measurement, details)
    few = "samples" if n == len(scores.reference) else f"distinct of {len(scores.reference)} samples"
    judgement = hold_interval(measurement, limit, f"{n} {few} are too few: validate with more", details)
    if judgement.verdict is Verdict.INCONCLUSIVE and scores.key in SHARES and few_accepted(spec, n):
        judgement = _without_disagreement(judgement, scores, confidence, where)
    if scores.key in SHARES and ours <= limit.value:
        right = f"the reference itself {'gets' if scores.key in HITS else 'scores'} {show(ours, '1')}"
        right += " right" if scores.key in HITS else ""
        reason = f"{right}, so a loss cannot be measured: check that labels and preprocessing are the model's"
        judgement = inconclusive(reason, limit, details)
    if drop <= limit.value or judgement.verdict is Verdict.FAILED:
        return judgement
    reason = f"the measured loss, {show(drop, unit)}, is over {show(limit.value, unit)}"
    return judgement.model_copy(update={"verdict": Verdict.FAILED, "reason": reason})


def few_accepted(spec: TolerancesSpec | None, worth: int) -> bool:
    """Return whether ``worth`` distinct samples without a disagreement are enough by ``spec.no_disagreement_in``."""
    return spec is not None and spec.no_disagreement_in is not None and worth >= spec.no_disagreement_in


def no_disagreement(n: int, confidence: float) -> str:
    """Return, as text, which loss ``n`` samples without a disagreement exclude, and at which confidence."""
    excluded = 100 * (1 - (1 - confidence) ** (1 / max(n, 1)))
    at = f"at {100 * confidence:g} % confidence"
    return f"{n} samples without a disagreement exclude a loss above {excluded:.2g} % {at}"


def _without_disagreement(judgement: Judgement, scores: Scores, confidence: float, where: Where) -> Judgement:
    if not np.array_equal(scores.reference, scores.candidate):
        return judgement
    claim = no_disagreement(scores.worth, confidence)
    changes = {
        "verdict": Verdict.PASSED,
        "reason": f"{claim}, accepted by {where('no_disagreement_in')}",
        "details": {**judgement.details, CLAIM: claim},
    }
    return judgement.model_copy(update=changes)


def _lost(scores: Scores, confidence: float, seed: int) -> tuple[float, float, float]:
    relative = scores.key == "error_increase"
    sign = -1.0 if relative else 1.0
    n = len(scores.reference)
    if scores.pools is None:
        ours, theirs = sign * scores.reference, sign * scores.candidate
        drop, low, high = bootstrap_drop(ours, theirs, confidence, seed, relative=relative)
    else:
        first, second = (_signed(pool, sign) for pool in scores.pools)
        drop, low, high = bootstrap_pooled_drop(first, second, n, confidence, seed, relative=relative)
    if scores.worth < 2:  # one sample has no spread to resample
        low, high = -math.inf, math.inf
    # Copies count as one sample.
    wider = math.sqrt(n / max(scores.worth, 1))
    low, high = (drop + (side - drop) * wider if math.isfinite(side) else side for side in (low, high))
    if scores.key in SHARES:
        low, high = max(low, -1.0), min(high, 1.0)
        # The rule of three: even without a miss among n samples, a loss up to this cannot be excluded, but a bootstrap
        # of equal scores would exclude it. An engine equal to the reference thus needs 299 samples for 1 % at 95 %.
        high = max(high, 1 - (1 - confidence) ** (1 / max(scores.worth, 1)))
    # Rounded so that 5 of 500 are 1 %, not 1.0000000000000009 %.
    return round(drop, 12), round(low, 12), round(high, 12)


def _signed(pool: Pool, sign: float) -> Pool:
    return lambda counts: np.asarray(sign * pool(counts), dtype=np.float64)


def _unscored(scores: Scores) -> str:
    ours, theirs = scores.reference, scores.candidate
    if ours.shape != theirs.shape or (scores.pools is None and ours.ndim != 1):
        return f"the reference's scores have shape {ours.shape}, the engine's {theirs.shape}"
    if scores.pools is not None:
        return ""
    for whose, values in (("reference", ours), ("engine", theirs)):
        if not np.isfinite(values).all():
            return f"the {whose}'s scores are not all finite"
    return ""


def _task_limit(key: str, unit: str, precision: Precision, spec: TolerancesSpec | None, where: Where) -> Limit | None:
    written = None if spec is None else getattr(spec, key)
    if spec is not None and written is not None:
        source, value = where(key), float(written)
        return Limit(value=value, unit=unit, sense=Sense.AT_MOST, source=source, reason=spec.why, expires=spec.expires)
    if key not in TASK_DEFAULTS:
        return None
    return Limit(value=TASK_DEFAULTS[key][precision], unit=unit, sense=Sense.AT_MOST, source=TASK_ORIGIN)
