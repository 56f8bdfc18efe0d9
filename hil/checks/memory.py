"""Memory of the worker, the system and the engine's file, and the growth of the worker's memory over a soak."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.checks.verdicts import hold, hold_interval, inconclusive
from hil.results import Judgement, Limit, Measurement, Verdict
from hil.stats import slope_interval
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTLED = 0.5
"""Share of a soak that is ignored: allocators and caches fill in its first half."""

FEWEST_POINTS = 10
"""The fewest readings of the later part from which a slope is estimated."""

PER = 1000
"""Growth is stated in bytes per this many inferences."""

HIDDEN_TRIMMED = 32 * 1024.0
"""The most bytes that can leak on the host without a visible growth, if the process returned its freed memory first.

Measured with ONNX Runtime on glibc 2.36, with leaks of 256 B to 4 KiB per inference over 100 to 1,000 inferences: at
most 28 KiB leaked before the growth was visible.
"""

HIDDEN_UNTRIMMED = 2.0**20
"""The same for a process that did not return its freed memory: up to 900 KiB leaked without a visible growth."""

HIDDEN_DEVICE = 2.0 * 2**20
"""The same on a GPU: CUDA's driver allocates blocks of 2 MiB (measured on an H200 with cuMemAlloc of 256 B)."""

SETTLING = 1.25
"""By default, a soak has the fewest inferences that can pass times this, since the first ones may still allocate."""

GROWTH_UNIT = "B/1000 inferences"


def footprint(host: float | None, device: float | None, *, unified: bool, includes_host: bool = False) -> float | None:
    """Return the memory of a worker with a GPU, in bytes; ``None`` if a part of it is not readable.

    On a discrete GPU this is the device memory alone. With ``unified`` memory it is host and device memory together,
    unless the device's reading ``includes_host`` already.
    """
    if not _readable(device) or not (includes_host or not unified or _readable(host)):
        return None
    assert device is not None  # noqa: S101 - checked above; for the type checker
    return device if includes_host or not unified else device + (host or 0.0)


def soaked(
    resident: npt.NDArray[np.int64], device: npt.NDArray[np.int64] | None, *, unified: bool
) -> npt.NDArray[np.float64]:
    """Return the bytes whose growth is judged for a worker with a GPU, shape (n,).

    These are resident plus device memory; with ``unified`` memory the device memory alone, which includes the resident
    bytes. If a device reading is missing, all values are NaN.
    """
    if device is None or device.shape != resident.shape or not (device > 0).all():
        return np.full(resident.shape, np.nan)
    return device.astype(np.float64) if unified else resident.astype(np.float64) + device


def peak(
    used: float | None,
    limit: Limit | None,
    details: Mapping[str, Any] | None = None,
    what: str = "the worker's peak",
) -> Judgement:
    """Judge ``memory.peak``: the worker's peak in bytes over load, warm-up and run. Messages name it ``what``."""
    return _bytes(what, used, limit, details)


def engine_size(size: float | None, limit: Limit | None) -> Judgement:
    """Judge ``memory.engine_size``: the size of the engine's file."""
    return _bytes("the engine's size", size, limit, None)


def increment(with_model: float | None, baseline: float | None, limit: Limit | None) -> Judgement:
    """Judge ``memory.model``: the peak with the model minus the same worker's memory with only the runtime loaded."""
    for name, value in (("the memory with the model", with_model), ("the runtime's baseline", baseline)):
        if not _readable(value):
            return inconclusive(f"{name} is not readable ({value})", limit)
    assert with_model is not None and baseline is not None  # noqa: S101, PT018 - checked above; for the type checker
    added = with_model - baseline
    details = {"with_model": with_model, "baseline": baseline}
    if added < 0:
        return inconclusive("less memory with the model than without: the two readings are not consistent", limit)
    return hold(Measurement(value=added, unit="B", n=1), limit, details)


def system(used: float | None, total: float | None, limit: Limit | None) -> Judgement:
    """Judge ``memory.system``: the share of the whole machine's memory that is in use at the peak."""
    if not _readable(used) or not _readable(total):
        return inconclusive(f"the system's memory is not readable ({used} of {total})", limit)
    assert used is not None and total is not None  # noqa: S101, PT018 - checked above; for the type checker
    if used > total:
        return inconclusive(f"{used:.0f} B in use of {total:.0f} B: the readings are not consistent", limit)
    return hold(Measurement(value=used / total, unit="1", n=1), limit, {"used": used, "total": total})


def hidden(*, trimmed: bool, has_device: bool) -> float:
    """Return how many bytes can leak during a soak without a visible growth.

    ``trimmed`` is whether the process returned its freed memory before the soak.
    """
    host = HIDDEN_TRIMMED if trimmed else HIDDEN_UNTRIMMED
    return max(host, HIDDEN_DEVICE) if has_device else host


def fewest_to_pass(limit: Limit, *, has_device: bool) -> int | None:
    """Return the fewest inferences with which ``growth`` can pass; ``None`` if no number is enough.

    With fewer, a leak of the size of ``limit`` could be ``hidden``.
    """
    needed = hidden(trimmed=True, has_device=has_device) * PER / limit.value if limit.value > 0 else math.inf
    return math.ceil(needed) if math.isfinite(needed) else None


def worth_repeating(found: Judgement, limit: Limit, possible: float, *, has_device: bool) -> bool:
    """Return whether to repeat a soak with ``possible`` inferences after the ``growth`` judgement ``found``.

    Return False if the soak passed. Also return False if the measured growth is within ``limit`` and ``possible``
    inferences are too few to show a leak of the size of ``limit``.
    """
    measured, unseen = found.measurement, found.details.get("smallest_visible")
    if found.verdict is not Verdict.INCONCLUSIVE or measured is None or measured.high != unseen:
        return found.verdict is not Verdict.PASSED
    needed = fewest_to_pass(limit, has_device=has_device)
    return measured.value > limit.value or (needed is not None and needed <= possible)


def growth(  # noqa: PLR0913 - a series, its limit, and what the series cannot show
    runs: npt.ArrayLike,
    resident: npt.ArrayLike,
    limit: Limit | None,
    confidence: float = 0.99,
    *,
    unseen: float,
    fewest: int = 0,
) -> Judgement:
    """Judge ``memory.growth``: the growth of the memory per 1,000 inferences, over the second half of a soak.

    ``runs`` counts the inferences so far, ``resident`` holds the worker's memory at that moment, in bytes; equal
    length. Passed if the upper bound is within the limit, failed if the lower bound is beyond it. The largest single
    increase does not count for the lower bound, since a runtime may allocate one buffer late. A leak smaller than
    ``unseen`` bytes (``hidden``) may show in no reading, so the upper bound includes it. A soak with fewer than
    ``fewest`` inferences is inconclusive.
    """
    done, bytes_ = np.asarray(runs, dtype=np.float64), np.asarray(resident, dtype=np.float64)
    broken = _unusable(done, bytes_)
    if broken:
        return inconclusive(broken, limit)
    if done[-1] < fewest:
        why = f"the soak reached its time limit after {done[-1]:.0f} of at least {fewest} inferences"
        return inconclusive(f"{why}: write soak in [measure] as a longer time, such as '20 min'", limit)
    later = done >= done[0] + SETTLED * (done[-1] - done[0])
    x, y = done[later], bytes_[later]
    if x.size < FEWEST_POINTS:
        return inconclusive(f"{x.size} readings in the later half of the soak, {FEWEST_POINTS} are needed", limit)
    bound = float(np.ptp(y) / np.ptp(x)) * PER
    slope, low, high = (min(max(side * PER, -bound), bound) for side in slope_interval(x, y, confidence))
    low = min(low, max(slope_interval(x, _without_largest_increase(y), confidence)[1] * PER, -bound))
    smallest = min(unseen / float(np.ptp(x)), _most_leaked(done, bytes_, unseen)) * PER
    measurement = Measurement(
        value=slope, unit=GROWTH_UNIT, low=low, high=max(high, smallest), confidence=confidence, n=int(x.size)
    )
    details = {
        "inferences": float(done[-1]),
        "range": float(np.ptp(y)),
        "first": float(y[0]),
        "last": float(y[-1]),
        "smallest_visible": float(smallest),
    }
    advice = "soak for longer"
    if smallest > high:
        least = show(smallest / PER, "B")
        advice = f"a leak under {least} per inference does not show in {done[-1]:.0f} inferences: {advice}"
    return hold_interval(measurement, limit, advice, details)


def _without_largest_increase(y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the readings ``y``, shape (n,), without the largest increase between two consecutive ones."""
    increases = np.diff(y)
    at = int(increases.argmax())
    return y - max(float(increases[at]), 0.0) * (np.arange(y.size) > at)


def _most_leaked(done: npt.NDArray[np.float64], bytes_: npt.NDArray[np.float64], unseen: float) -> float:
    """Return the most bytes per inference that can have leaked if a leak of ``unseen`` bytes changes no reading."""
    backwards = bytes_[::-1]
    ranges = (np.maximum.accumulate(backwards) - np.minimum.accumulate(backwards))[::-1]
    return float(((ranges[:-1] + unseen) / (done[-1] - done[:-1])).min())


def _unusable(done: npt.NDArray[np.float64], resident: npt.NDArray[np.float64]) -> str:
    if done.ndim != 1 or done.shape != resident.shape:
        return f"the inference counts have shape {done.shape}, the readings {resident.shape}"
    if done.size < FEWEST_POINTS:
        return f"{done.size} readings over the soak, {2 * FEWEST_POINTS} are needed"
    if not (np.isfinite(done).all() and np.isfinite(resident).all() and (resident > 0).all()):
        return "memory was not readable throughout the soak"
    if (np.diff(done) <= 0).any():
        return "the soak's inference counts do not increase"
    return ""


def _bytes(what: str, value: float | None, limit: Limit | None, details: Mapping[str, Any] | None) -> Judgement:
    if not _readable(value):
        return inconclusive(f"{what} is not readable ({value})", limit, details)
    assert value is not None  # noqa: S101 - checked above; for the type checker
    return hold(Measurement(value=value, unit="B", n=1), limit, details)


def _readable(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0
