"""Validates vectors and computes their autocorrelation, for the other modules of this package."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def vector(samples: npt.ArrayLike, what: str) -> FloatArray:
    """Return ``samples`` as a float64 vector, called ``what`` in messages.

    Raises ``ValueError`` if ``samples`` has not exactly one dimension, or has an element that is not finite.
    """
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"{what} must have one dimension and only finite values: the shape is {array.shape}")
    return array


def check(q: float, confidence: float) -> None:
    """Raise ``ValueError`` unless ``q`` and ``confidence`` both lie strictly between 0 and 1."""
    if not (0 < q < 1 and 0 < confidence < 1):
        raise ValueError(f"q and confidence must lie between 0 and 1, got {q} and {confidence}")


def autocorrelation(signal: FloatArray) -> FloatArray | None:
    """Return the autocorrelation at lags 0 to n // 2, computed by FFT; ``None`` for a constant signal."""
    from scipy.fft import next_fast_len  # imported with scipy.special, which judging needs anyway

    n = signal.size
    centred = signal - signal.mean()
    power = energy(centred)
    if power <= 0:
        return None
    # Padded by at least n // 2, so that no lag up to n // 2 wraps around.
    length = next_fast_len(n + n // 2 + 1, real=True)
    spectrum = np.fft.rfft(centred, length)
    product = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, length)[: n // 2 + 1]
    return np.asarray(product / power, dtype=np.float64)


def energy(signal: FloatArray) -> float:
    """Return the sum of squares."""
    # Not `@`: its BLAS threads wait for each other on a busy machine.
    return float(np.square(signal).sum())
