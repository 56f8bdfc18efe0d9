from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hil.errors import UserError
from hil.metrics import open_metric

ROWS = arrays.arrays(np.float32, (4, 7), elements=st.integers(-3, 3).map(float))
LABELS = arrays.arrays(np.int64, (4,), elements=st.integers(0, 6))


@given(ROWS, LABELS)
def test_top5_is_membership_of_the_five_largest(rows: np.ndarray, labels: np.ndarray) -> None:
    """Top-5 equals a stable sort's first five entries, and top-1 is argmax."""
    order = np.argsort(-rows, axis=1, kind="stable")
    five = (order[:, :5] == labels[:, None]).any(axis=1).astype(float)
    assert open_metric("classification", name="top5").score({"y": rows}, {"": labels}).tolist() == five.tolist()
    argmax = (rows.argmax(axis=1) == labels).astype(float)
    assert open_metric("classification").score({"y": rows}, {"": labels}).tolist() == argmax.tolist()


def test_top5_of_five_classes_is_refused() -> None:
    """Top-5 of five classes is refused."""
    with pytest.raises(UserError, match="top1"):
        open_metric("classification", name="top5").score({"y": np.zeros((2, 5))}, {"": np.zeros(2, int)})
