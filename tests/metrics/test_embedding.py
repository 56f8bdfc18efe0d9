from __future__ import annotations

import numpy as np
import pytest

from hil.errors import UserError
from hil.metrics import open_metric

PAIRS = np.array([[1, 0.1], [1, 0.2], [-1, 1], [-1, 1.1]])
LABELS = np.array([0, 0, 1, 1])


def _scores(ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray | None = None) -> tuple[float, float]:
    metric = open_metric("embedding")
    truth = {} if labels is None else {"": labels}
    first, second = (metric.score({"y": vectors}, truth) for vectors in (ours, theirs))
    assert metric.pools is not None
    pools = metric.pools(first, second)
    once = np.ones((1, len(ours)))
    return float(pools[0](once)[0]), float(pools[1](once)[0])


def test_with_labels_the_nearest_neighbour_must_have_the_same_label() -> None:
    """Each side is scored by the labels of the nearest neighbours in its own space."""
    assert _scores(PAIRS, PAIRS[[0, 2, 1, 3]], LABELS) == (1, 0)


def test_without_labels_the_reference_defines_the_neighbours() -> None:
    """Scaling does not change the score; swapped samples lose their neighbours."""
    assert _scores(PAIRS, 7 * PAIRS) == (1, 1)
    assert _scores(PAIRS, PAIRS[[0, 2, 1, 3]]) == (1, 0)


@pytest.mark.parametrize("broken", [np.nan, np.inf, 0.0])
def test_an_invalid_embedding_has_no_neighbour(broken: float) -> None:
    """An embedding of NaN, infinity or zeros is a miss and not a neighbour of any other."""
    assert _scores(PAIRS, np.full_like(PAIRS, broken), LABELS) == (1, 0)
    assert _scores(PAIRS, np.full_like(PAIRS, broken)) == (1, 0)


def test_data_without_neighbours_is_refused() -> None:
    """One sample, labels that are all different, and labels that are not integers raise ``UserError``."""
    with pytest.raises(UserError, match="two samples"):
        _scores(PAIRS[:1], PAIRS[:1])
    with pytest.raises(UserError, match="occurs only once"):
        _scores(PAIRS, PAIRS, np.arange(4))
    with pytest.raises(UserError, match="one integer"):
        _scores(PAIRS, PAIRS, LABELS.astype(float))
