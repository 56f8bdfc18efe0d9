"""Define timed series, and the digest of a measuring method."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.stats.control import ControlSeries

FloatArray = npt.NDArray[np.float64]


def digest_of(facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of ``facts`` as canonical JSON, which is the same on any machine."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def without_control(method: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``method`` without its field ``control``, which states the control that was timed beside the series.

    Values of two methods that differ only in this field can be compared.
    """
    return {key: value for key, value in method.items() if key != "control"}


def comparable_digest(method: Mapping[str, Any] | None, digest: str) -> str:
    """Return the digest of ``method`` without its control; ``digest`` itself if the method's facts are unknown."""
    return digest_of(without_control(method)) if method else digest


@dataclass(frozen=True)
class Series:
    """Raw samples of one timed series; no sample is dropped for being slow.

    Attributes:
        start: when each inference began, in seconds on the worker's monotonic clock, shape (n,).
        duration: seconds of each inference, from inputs on the host to outputs on the host, shape (n,).
        batch: samples per inference.
        method: what was timed and how (hashed by ``digest_of``).
        facts: other recordings made while timing (clocks, temperatures, memory of the worker process).
        device: seconds of each inference on the device's own clock, float64, shape (n,); None without such a clock.
        control: the control that was timed in windows before, between and after the inferences; None without one.
    """

    start: FloatArray
    duration: FloatArray
    batch: int
    method: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    device: FloatArray | None = None
    control: ControlSeries | None = None

    @property
    def n(self) -> int:
        """The number of timed inferences."""
        return int(self.duration.size)
