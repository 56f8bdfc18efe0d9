"""Histograms have a fixed number of bins, whatever the values are, and ranges do not depend on how values arrive."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.quantize.histograms import BINS, Collector, Histogram, entropy_bins, percentile_bins

MAGNITUDES = st.floats(-(2.0**100), 2.0**100, width=32)


def histogram(*feeds: list[float]) -> Histogram:
    """Return the histogram of some feeds."""
    made = Histogram(np.dtype(np.float32))
    for feed in feeds:
        made.add([np.array(feed, np.float32)])
    return made


@given(st.lists(st.lists(MAGNITUDES, min_size=1, max_size=5), min_size=1, max_size=4))
def test_each_element_is_counted_once_in_a_fixed_number_of_bins(feeds: list[list[float]]) -> None:
    """Each element is counted once in a fixed number of bins, also after zeros and for very different values."""
    made = histogram(*feeds)
    values = np.abs(np.concatenate([np.array(feed, np.float32) for feed in feeds]))
    assert made.counts.size == BINS
    assert made.counts.sum() + (0 if made.top else made.zeros) == values.size
    assert made.top >= values.max()
    for bins in (entropy_bins, lambda one: percentile_bins(one, 99.9)):
        low, high, _, _ = made.range(bins)
        assert -made.top <= low <= high <= made.top


def test_a_first_feed_of_tiny_values() -> None:
    """A first feed of tiny values does not limit the range of later, much larger values."""
    random = np.random.default_rng(0)
    made = histogram([1e-4], list(random.normal(0, 10, 100_000)))
    assert made.counts.size == BINS
    assert float(made.range(entropy_bins)[1]) > 2


def test_the_first_values_are_never_clipped() -> None:
    """The entropy method does not clip the values that were added first."""
    random = np.random.default_rng(0)
    made = histogram([*random.normal(0, 0.01, 10_000), 1.0])
    assert float(made.range(entropy_bins)[1]) == pytest.approx(1.0)
    made.add([np.append(random.normal(0, 0.3, 100_000), 8).astype(np.float32)])
    assert 1.0 <= float(made.range(entropy_bins)[1]) < 4


def test_the_percentile_is_exact_to_a_bin() -> None:
    """99 % of evenly spread values are below 0.99 of the largest."""
    made = histogram(list(np.linspace(0, 1, 100_001)))
    assert float(made.range(lambda one: percentile_bins(one, 99.0))[1]) == pytest.approx(0.99, abs=2 / BINS)


def test_values_that_are_not_finite_are_left_out() -> None:
    """Infinity and NaN are left out of a histogram."""
    made = histogram([np.inf, -np.inf, np.nan, 2.0], [np.nan])
    assert (made.top, made.low, made.counts.sum()) == (2.0, 2.0, 1)


def test_float16_keeps_its_type() -> None:
    """The ends of a range have the tensor's dtype, as onnxruntime requires."""
    collector = Collector("entropy", 99.9)
    collector.collect({"x": [np.array([[1, -3]], np.float16), np.array([2], np.float16)]})
    low, high, counts, _ = collector.compute_collection_result()["x"]
    assert low.dtype == high.dtype == np.float16
    assert (float(low), float(high), counts.sum()) == (-3.0, 2.0, 3)
