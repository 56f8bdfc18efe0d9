"""How much sessions of one target differ from each other, from a calibration or from earlier sessions of the target."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hil.stats.runs import NOISE_DF

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FEWEST_DF = 5
"""The fewest degrees of freedom of earlier sessions, such as six sessions of one model, from which their noise is
known. With fewer, Student's t makes nearly every change insignificant, and a single unusual session decides."""


@dataclass(frozen=True)
class SessionNoise:
    """The noise between sessions.

    Attributes:
        sd: relative standard deviation between sessions.
        df: degrees of freedom of ``sd``.
        source: ``calibrated`` by ``hil board calibrate``, or from the ``history``.
        sessions: number of sessions from which ``sd`` was estimated.
    """

    sd: float
    df: float
    source: Literal["calibrated", "history"]
    sessions: int

    @property
    def known(self) -> bool:
        """Whether there are enough sessions to judge by ``sd``."""
        return self.df >= FEWEST_DF


def pooled(groups: Iterable[Sequence[Sequence[float]]]) -> SessionNoise:
    """Return the noise between earlier sessions, pooled over ``groups`` of sessions of one identity.

    A session is the values of its runs. Sessions with a value that is not finite and positive, and groups of one
    session, do not count. The standard deviation includes a part that is due to the runs, so it is rather too large
    than too small.
    """
    sum_of_squares, df, sessions = 0.0, 0, 0
    for group in groups:
        valid = [session for session in group if session and all(0 < value < math.inf for value in session)]
        means = [statistics.fmean(map(math.log, session)) for session in valid]
        if len(means) >= 2:
            sum_of_squares += statistics.variance(means) * (len(means) - 1)
            df += len(means) - 1
            sessions += len(means)
    return SessionNoise(math.sqrt(sum_of_squares / df) if df else 0.0, float(df), "history", sessions)


def sd_and_df(noise: SessionNoise | None) -> tuple[float | None, float]:
    """Return ``noise`` and ``noise_df`` for ``hil.stats.runs.compare_runs``; the noise is ``None`` if it is unknown."""
    return (noise.sd, noise.df) if noise is not None and noise.known else (None, NOISE_DF)
