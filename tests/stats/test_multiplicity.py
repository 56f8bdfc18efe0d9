from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats.multiplicity import adjusted


def test_holm_as_in_his_paper() -> None:
    """The least p is multiplied by all, the next by one less, and none falls under the one before it."""
    assert adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=20))
def test_adjusting_only_raises_and_keeps_the_order(p: list[float]) -> None:
    """No p value becomes smaller or more than 1, nor does one overtake another; one alone stays as it is."""
    found = adjusted(p)
    assert all(before <= after <= 1 for before, after in zip(p, found, strict=True))
    ranked = [found[at] for at in sorted(range(len(p)), key=p.__getitem__)]
    assert all(a <= b for a, b in pairwise(ranked))
    assert len(p) != 1 or found == p


@pytest.mark.parametrize("wrong", [math.nan, -0.1, 1.1])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    """A NaN among the p values would sort anywhere: it is refused, not adjusted."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        adjusted([0.5, wrong])
