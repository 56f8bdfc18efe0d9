"""What all of these stand on: a finite vector, and how it hangs together."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def vector(samples: npt.ArrayLike, what: str) -> FloatArray:
    """``samples`` as a vector; raises ``ValueError``, naming ``what``, for what is none or not finite."""
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"{what} must be a finite vector, got shape {array.shape}")
    return array


def check(q: float, confidence: float) -> None:
    """Raises ``ValueError`` unless both lie strictly between 0 and 1."""
    if not (0 < q < 1 and 0 < confidence < 1):
        raise ValueError(f"q and confidence must lie between 0 and 1, got {q} and {confidence}")


def autocorrelation(signal: FloatArray) -> FloatArray | None:
    """Autocorrelation at lags 0 to n // 2 by FFT; ``None`` for a constant signal."""
    n = signal.size
    centred = signal - signal.mean()
    power = energy(centred)
    if power <= 0:
        return None
    # Padded by n // 2 or more, so that no lag up to there wraps around.
    spectrum = np.fft.rfft(centred, _fast_length(n + n // 2 + 1))
    product = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, _fast_length(n + n // 2 + 1))[: n // 2 + 1]
    return np.asarray(product / power, dtype=np.float64)


def energy(signal: FloatArray) -> float:
    """The sum of squares. Not by ``@``, whose threads wait for each other on a machine that is at work."""
    return float(np.square(signal).sum())


def _fast_length(least: int) -> int:
    """A length of at least ``least`` that is even and has no prime factor over 5, so that its FFT is fast."""
    return min(odd << max(1, math.ceil(math.log2(least / odd))) for odd in (1, 3, 5, 9, 15))
