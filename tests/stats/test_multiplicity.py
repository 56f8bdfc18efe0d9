from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats.multiplicity import adjusted


def test_holms_adjustment() -> None:
    """The smallest p is multiplied by n, the next by n - 1 and so on; no result is below the result before it."""
    assert adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=20))
def test_adjusting_only_raises_and_keeps_the_order(p: list[float]) -> None:
    """Adjusted p values are at least the originals, at most 1 and in the same order; a single one is unchanged."""
    holm = adjusted(p)
    assert all(before <= after <= 1 for before, after in zip(p, holm, strict=True))
    ranked = [holm[at] for at in sorted(range(len(p)), key=p.__getitem__)]
    assert all(a <= b for a, b in pairwise(ranked))
    assert len(p) != 1 or holm == p


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.1])
def test_values_outside_0_to_1_are_refused(wrong: float) -> None:
    """NaN and values outside 0 to 1 raise ``ValueError``."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjusted([0.5, wrong])
