from __future__ import annotations

import numpy as np
import pytest

from hil.stats import (
    drift,
)


def test_drift_detects_a_ramp_but_not_noise() -> None:
    """A ramp of 10 % is detected with size and direction; noise alone gives no more false alarms than stated."""
    random = np.random.default_rng(5)
    noise = 1 + 0.01 * random.standard_normal(4000)
    ramp = np.linspace(0, 0.1, 4000)
    assert drift(noise + ramp, 0.5, 0.99) == pytest.approx(0.1, rel=0.15)
    assert drift(noise - ramp, 0.5, 0.99) == pytest.approx(-0.1, rel=0.15)
    alarms = sum(drift(random.lognormal(size=400), 0.5, 0.95) != 0 for _ in range(400))
    assert alarms <= 36  # 20 are expected; 36 is more than the 99.9th percentile
    assert drift(np.ones(99), 0.5, 0.99) == 0.0
