"""The growth of errors over steps: its kind, and the error rates of its interval over sequences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hil.stats import growth, independent_mean

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = np.arange(1, 601, dtype=np.float64)
KINDS: dict[str, Callable[[], np.ndarray[tuple[int], np.dtype[np.float64]]]] = {
    "bounded": lambda: 1 - np.exp(-STEPS / 10),
    "linear": lambda: STEPS,
    "exponential": lambda: np.exp(0.02 * STEPS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_is_found(kind: str) -> None:
    """Errors that are bounded, grow linearly or grow exponentially are distinguished, with noise."""
    random = np.random.default_rng(3)
    errors = [1e-6 * KINDS[kind]() * np.abs(random.normal(size=600)) for _ in range(8)]
    found = growth(errors, 0.95)
    assert found.kind == kind
    if kind == "exponential":
        assert found.low <= 0.02 <= found.high or abs(found.rate - 0.02) < 2e-3


def test_rates_that_differ_between_few_sequences_are_not_bounded() -> None:
    """An error that grows exponentially in two of three sequences grows, although its interval reaches 0."""
    errors = [1e-9 * np.exp(rate * STEPS) for rate in (0.0, 0.02, 0.03)]
    assert growth(errors, 0.95).kind == "exponential"


def test_reduced_curves_give_the_same_rate() -> None:
    """If a curve has fewer points than its sequence has steps, its rate is still per step, not per point."""
    errors = [np.exp(0.02 * STEPS)[4::10] for _ in range(3)]
    assert growth(errors, 0.95, lengths=[600] * 3).rate == pytest.approx(0.02, rel=0.02)


def test_when_an_error_reaches_a_limit() -> None:
    """A bounded error never reaches a larger limit; for linear and exponential errors, the steps are computed."""
    assert growth([KINDS["bounded"]()] * 3, 0.95).steps_until(5.0, 1.0, 600) == math.inf
    assert growth([KINDS["linear"]()] * 3, 0.95).steps_until(5.0, 1.0, 600) == pytest.approx(3000, rel=0.05)
    grown = growth([KINDS["exponential"]()] * 3, 0.95).steps_until(math.e, 1.0, 600)
    assert grown == pytest.approx(650, rel=0.01)


def test_too_few_curves_have_no_rate() -> None:
    """One sequence, none, or sequences without any error give the kind ``unknown``."""
    for errors in ([np.exp(STEPS / 100)], [np.zeros(600)] * 5, []):
        assert growth(errors, 0.95).kind == "unknown"


def test_the_interval_of_independent_values_covers_their_mean() -> None:
    """The lower bound is wrong in about 5 % of series at 95 %; with one distinct value the upper bound is infinite."""
    random = np.random.default_rng(4)
    above = [independent_mean(random.normal(size=6), 0.95)[1] > 0 for _ in range(2000)]
    assert np.mean(above) < 0.065
    assert independent_mean([1.0, 1.0], 0.95, worth=1)[2] == math.inf
