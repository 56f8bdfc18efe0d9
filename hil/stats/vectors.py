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
    power = float(centred @ centred)
    if power <= 0:
        return None
    spectrum = np.fft.rfft(centred, 2 ** math.ceil(math.log2(2 * n)))
    product = np.fft.irfft(spectrum * spectrum.conj())[: n // 2 + 1]
    return np.asarray(product / power, dtype=np.float64)
