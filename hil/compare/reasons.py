"""State why a noisy row has its status, and what would settle an unclear one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hil.compare.schema import Settings, Status
from hil.stats.power import CAP, SPARE, runs_needed
from hil.stats.runs import FEWEST, Comparison
from hil.stats.session_noise import FEWEST_DF, sd_and_df

if TYPE_CHECKING:
    from hil.stats.control_difference import ControlDifference
    from hil.stats.session_noise import SessionNoise

MORE_RUNS = f"pytest --hil-runs={FEWEST + SPARE}"
ONE_RUN = f"a side with one run does not show the spread: {MORE_RUNS} on both sides"


@dataclass(frozen=True)
class Measured:
    """What a noisy row was judged by.

    Attributes:
        comparison: the comparison of both sides.
        sd: relative standard deviation between the runs of a side, pooled over both sides.
        sessions: the number of sessions of the base and of the candidate.
        target: the target of the candidate.
        noise: the noise between sessions of the target, which may be unknown; ``None`` without a history.
        control: the difference of the control between the sides; ``None`` if a side has no usable control.
    """

    comparison: Comparison
    sd: float
    sessions: tuple[int, int]
    target: str
    noise: SessionNoise | None
    control: ControlDifference | None = None


def reason_of(status: Status, measured: Measured, settings: Settings) -> str:
    """Return the reason for ``status``, which is same, worse, better or unclear; if unclear, also what to do."""
    comparison = measured.comparison
    level = f"{settings.confidence * 100:g} %"
    if status is Status.SAME and comparison.noise is None:
        return (
            f"these sessions differ by less than {settings.exclude * 100:.3g} % at {level}; "
            f"the noise between sessions of {measured.target} is unknown"
        )
    if status is Status.SAME:
        return f"a worsening of {settings.exclude * 100:.3g} % or more is excluded at {level}"
    if status in {Status.WORSE, Status.BETTER}:
        beyond = f"by more than {settings.above * 100:.3g} %, significant at {level} over all rows"
        return f"{beyond}, with {_noise_text(measured)}"
    if min(comparison.runs) < FEWEST:
        few = min(comparison.runs)
        return f"{few} runs per side are too few to detect a change: {MORE_RUNS} on both sides"
    if comparison.noise is None and comparison.p <= 1 - settings.confidence:
        return _unknown_noise(measured)
    power = f"only a change of {comparison.visible * 100:.2g} % or more would have been detected with 90 % power"
    if not math.isfinite(comparison.visible):
        power = "no change of any size could have been detected"
    return f"neither a change nor its absence is settled: {power}; {_advice(measured, settings)}"


def _noise_text(measured: Measured) -> str:
    """Return the noise between sessions that the comparison includes, and where it is from."""
    comparison, noise = measured.comparison, measured.noise
    sd = f"noise of {(comparison.noise or 0.0) * 100:.2g} % between sessions"
    if noise is None or not noise.known or comparison.noise != noise.sd:
        return f"{sd}, as in the sessions compared"
    if noise.source == "calibrated":
        return f"{sd}, as calibrated"
    return f"{sd}, as in {noise.sessions} earlier sessions"


def _unknown_noise(measured: Measured) -> str:
    few = min(measured.sessions)
    sides = "one session a side" if few == 1 else f"{few} sessions a side"
    earlier = 0 if measured.noise is None else measured.noise.sessions
    known = f"{earlier} earlier sessions of the same model are comparable, {FEWEST_DF + 1} are needed"
    advice = f"hil board calibrate {measured.target}, or measure {FEWEST} sessions a side"
    what = f"the noise between sessions of {measured.target} is unknown ({known})"
    return f"the sides differ, but {sides} cannot show whether code or machine changed, because {what}: {advice}"


def _advice(measured: Measured, settings: Settings) -> str:
    """Return how many runs per side, or how many sessions, would settle the row, as text."""
    comparison, noise = measured.comparison, measured.noise
    between = comparison.noise or 0.0
    needed = partial(runs_needed, effect=settings.exclude, confidence=settings.confidence, above=settings.above)
    if comparison.unit == "runs":
        _, df = sd_and_df(noise)
        runs = needed(measured.sd, noise=between, noise_df=df)
        if runs is not None:
            runs = max(runs, min(comparison.runs) + 1)
            return f"about {runs} runs per side would be enough: pytest --hil-runs={runs} on both sides"
        between = math.hypot(between, measured.sd / math.sqrt(min(comparison.runs)))
    sessions = needed(between)
    if sessions is None:
        return f"even {CAP} sessions per side would not be enough: reduce the machine's noise"
    return f"about {max(sessions, min(measured.sessions) + 1)} sessions per side would be enough"
