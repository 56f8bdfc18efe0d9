from __future__ import annotations

import numpy as np
import pytest

from hil.stats.vectors import autocorrelation


@pytest.mark.parametrize("n", [4, 5, 16, 99, 688, 3001])
def test_autocorrelation_is_the_sum_of_products(n: int) -> None:
    """No lag up to n // 2 wraps around, for any padded length of the FFT."""
    signal = np.random.default_rng(n).normal(3, 1, n)
    centred = signal - signal.mean()
    direct = [centred[: n - lag] @ centred[lag:] for lag in range(n // 2 + 1)]
    assert autocorrelation(signal) == pytest.approx(np.array(direct) / direct[0], abs=1e-12)


def test_a_constant_has_no_autocorrelation() -> None:
    """A constant signal has no variance to divide by: the result is None."""
    assert autocorrelation(np.full(10, 2.0)) is None
