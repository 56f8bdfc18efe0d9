"""Judge the slices of an output: which ones count, by how much they differ, and which ones are dead in the engine.

The reference alone decides which slices count, and the scale of their errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.checks.tolerances import rounding_of
from hil.dtypes import is_float
from hil.stats.masks_and_scores import are_scores

if TYPE_CHECKING:
    from hil.checks.slices import AxisSums, BoolArray, FloatArray, Slices
    from hil.config.spec import Precision

LIVE_SHARE = 0.01
"""A slice is live if its standard deviation is over this share of the largest standard deviation of any slice."""

SCORE = 0.25
"""A slice whose values are from 0 to 1 is also live if it reaches this value: a score beside boxes in pixels."""

SMALL_SHARE = 1e-4
"""A slice between this share and ``LIVE_SHARE`` is small: it may be of another unit, as an angle beside pixels."""

LOST = 0.5
"""A small slice is lost in an engine that is off by this multiple of the slice's own standard deviation."""

ACCEPT = "keep its node in floating point, or write a tolerance slice_error if the robot does not need it"
"""What to do about a small slice that is lost, in an output whose answers are compared."""

DEAD_SHARE = 0.01
"""A live slice is dead in an engine where its standard deviation is under this share of the reference's."""

FEW = 10
"""With fewer elements, a slice's standard deviation is unreliable: at least that of the whole output is used."""

UNRELATED = 1.0
"""A sample with this error or more, in standard deviations, is no nearer to the reference than the slice's mean."""

ALIKE = 8.0
"""Slices whose standard deviations differ by a smaller factor are alike: an engine rounds them in common steps."""

STEPS = 2.0
"""The least scale of slices that are alike, as a multiple of the range of rounding (``NOISE``): eight steps of INT8.

Rounding a few times causes an error of about 0.8 steps, however little the slice varies about its mean.
"""

MOST_WIDENED = 4.5
"""The largest factor by which rounding in common steps widens a slice's scale. A slice that is off by half fails."""

LISTED = 5
"""How many dead slices are recorded."""

_LOW_SCORE = 0.02  # scores that never reach this one are too small for INT8, whose step is 1/255

# The range of a slice, as a share of its largest magnitude, up to which it varies only by rounding: four steps.
# FP8, FP4 and INT4 as INT8: no engine of these types was measured.
NOISE: dict[Precision, float] = {
    "fp32": 1e-6,
    "tf32": 2**-8,
    "fp16": 2**-8,
    "bf16": 2**-5,
    "int8": 4 / 127,
    "fp8": 4 / 127,
    "fp4": 4 / 127,
    "int4": 4 / 127,
}


@dataclass(frozen=True)
class AxisFacts:
    """What the slices along one axis show; arrays have one element for each slice.

    Attributes:
        axis: the axis, counted including the samples' axis; -1: the whole output is one slice.
        live: slices whose errors are measured by their own standard deviation.
        error: root mean square error over the slice's scale.
        deviation: standard deviation in the reference.
        engine_deviation: standard deviation in the engine.
        dead: live slices that hardly vary in the engine; small ones too, except with INT8.
        lost: small slices (``SMALL_SHARE``) that hardly vary in the engine, or are wrong by their own scale.
        first: the first sample in which the slice clearly differs, else its worst sample; -1 if none differs.
        scores: whether all values of the reference are from 0 to 1.
        odd: the sample that differs most in all slices together, and its error in standard deviations.
    """

    axis: int
    live: BoolArray
    error: FloatArray
    deviation: FloatArray
    engine_deviation: FloatArray
    dead: BoolArray
    lost: BoolArray
    first: FloatArray
    odd: tuple[int, float]
    scores: bool

    @property
    def worst(self) -> int:
        """The index of the slice with the largest error."""
        return int(np.nanargmax(np.where(np.isnan(self.error), np.inf, self.error)))

    @property
    def largest(self) -> float:
        """The error of the worst slice; infinite where it is undefined."""
        value = float(self.error[self.worst])
        return np.inf if np.isnan(value) else value

    def name(self, index: int) -> str:
        """Return the slice as text for a message."""
        return "the whole output" if self.axis < 0 else f"slice {index} of axis {self.axis}"

    def worst_text(self) -> str:
        """Return the worst slice with its scale, as text for a message."""
        worst = self.worst
        first = f", first at sample {int(self.first[worst])}" if self.first[worst] >= 0 else ""
        return f"worst slice: {self.name(worst)}, standard deviation {self.deviation[worst]:.3g}{first}"

    def dead_text(self) -> str:
        """Return text for a message that names the first dead slice and counts the others.

        At least one must be dead.
        """
        dead = np.flatnonzero(self.dead)
        one = int(dead[0])
        more = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
        return (
            f"{self.name(one)}{more} varies in the reference and is constant in the engine (standard deviation "
            f"{self.engine_deviation[one]:.3g} instead of {self.deviation[one]:.3g}), "
            f"first at sample {int(self.first[one])}"
        )

    def odd_text(self) -> str:
        """Return, as text, which sample is unrelated to the reference (``UNRELATED``), and which small slices are lost.

        Empty if there are none.
        """
        sample, error = self.odd
        odd = self.live.any() and error >= UNRELATED
        return (f"; sample {sample} differs by {error:.3g} standard deviations" if odd else "") + self.lost_text()

    def lost_text(self) -> str:
        """Return, as text, which small slices are lost; empty if there are none."""
        if not self.lost.any():
            return ""
        one, more = int(self.lost.argmax()), int(self.lost.sum()) - 1
        others = f" and {more} more" * bool(more)
        return f"; {self.name(one)}{others}, small beside the other slices, is lost by its own scale"

    def as_json(self) -> dict[str, Any]:
        """Return the facts for the report."""
        worst, dead = self.worst, np.flatnonzero(self.dead)
        return {
            "axis": None if self.axis < 0 else self.axis,
            "count": len(self.error),
            "live": int(self.live.sum()),
            "worst": worst,
            "error": self.largest,
            "sample": int(self.first[worst]),
            "dead": len(dead),
            "lost": int(self.lost.sum()),
            "first_dead": [{"index": int(each), "sample": int(self.first[each])} for each in dead[:LISTED]],
        }


def noise_of(precision: Precision, dtype: str) -> float:
    """Return the range that counts as rounding, as a share of a slice's largest magnitude."""
    return max(NOISE[precision], NOISE[rounding_of(dtype)]) if is_float(np.dtype(dtype)) else NOISE["fp32"]


def deciding(facts: list[AxisFacts], *, single: bool = False) -> AxisFacts | None:
    """Return the facts of the axis that decides; ``None`` if there are none.

    The shortest axis of more than one slice decides. An output of scores with a single channel (``single``) counts as
    one slice.
    """
    axes = [one for one in facts if one.axis >= 0 and not (single and one.scores)]
    return min(axes or facts, key=lambda one: len(one.error), default=None)


def facts_of(slices: Slices, noise: float) -> list[AxisFacts]:
    """Return the facts of each axis; empty if nothing was added. ``noise`` is the range of rounding (``NOISE``)."""
    return [_facts(axis, one, slices, noise) for axis, one in slices.sums.items() if one.n.any()]


def _facts(axis: int, sums: AxisSums, slices: Slices, noise: float) -> AxisFacts:
    with np.errstate(all="ignore"):
        deviation, engine = np.sqrt(sums.variance()), np.sqrt(sums.variance(engine=True))
        rmse = np.sqrt(sums.ee / np.maximum(sums.n, 1))
        low, high = sums.low, sums.high
        magnitude = np.where(sums.n > 0, np.maximum(np.abs(low), np.abs(high)), 0.0)
        varies = (high - low > noise * magnitude) & (deviation > 0)
        few = sums.n < FEW
        if few.any():
            deviation = np.maximum(deviation, np.where(few, _whole(slices), 0.0))
        within = are_scores(low, high)
        score = within & varies
        lively = float(np.max(deviation, where=varies, initial=0.0))
        live = varies & ((deviation > LIVE_SHARE * lively) | (score & (high >= SCORE)))
        small = varies & ~live & ~within & ~few & (deviation > SMALL_SHARE * lively)
        score_lively = float(np.max(deviation, where=score, initial=0.0))
        if not (live & score).any():  # scores of which none is high still have to be the reference's
            live |= score & (high >= _LOW_SCORE) & (deviation >= score_lively / 2)
        # A slice that is not live is measured by the liveliest slice of its kind, or by its own magnitude.
        other = np.where(within & (score_lively > 0), score_lively, lively)
        # One of few elements may be 0 but for rounding, beside larger ones: its magnitude alone is not a scale.
        own = np.maximum(magnitude, np.where(few, deviation, 0.0))
        scale = np.where(live, deviation, np.maximum(other, np.where(varies, 0.0, own)))
        if live.any() and float(deviation[live].max()) < ALIKE * float(deviation[live].min()):
            # At most this much: a slice with a large mean must not excuse any error of the others.
            scale = np.maximum(scale, np.minimum(STEPS * noise * float(magnitude.max()), MOST_WIDENED * scale))
        error = np.where(rmse == 0, 0.0, rmse / scale)
    constant = engine < DEAD_SHARE * deviation
    # INT8 may have one step for all slices, which makes a small one constant; other types round by each value's size.
    dead = (live | small if noise < NOISE["int8"] else live) & ~few & constant
    lost = small & (constant | (rmse >= LOST * deviation))
    first = np.where(sums.first >= 0, sums.first, sums.worst)
    odd = (sums.odd, float(np.sqrt(sums.odd_error)))
    return AxisFacts(
        axis, live, np.where(sums.n > 0, error, 0.0), deviation, engine, dead, lost, first, odd, bool(within.all())
    )


def _whole(slices: Slices) -> float:
    whole = slices.sums.get(-1)
    return 0.0 if whole is None else float(np.sqrt(whole.variance()[0]))
