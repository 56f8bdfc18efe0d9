"""The outputs of several samples together, compared with those of each alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hil.proposals.batch_rows import Rows, compare_rows, rows_of

ALONE = [np.random.default_rng(number).normal(0, 1, (1, 6)) for number in range(3)]
TOGETHER = np.concatenate(ALONE)


@pytest.mark.parametrize(
    ("together", "alone", "found"),
    [
        (TOGETHER, ALONE, Rows.AGREE),
        (TOGETHER + 1e-5, ALONE, Rows.AGREE),
        (TOGETHER[::-1], ALONE, Rows.DIFFER),
        (TOGETHER.mean(axis=0) + 0 * TOGETHER, ALONE, Rows.DIFFER),
        (TOGETHER @ TOGETHER.T, [one @ one.T for one in ALONE], Rows.DIFFER),
        (TOGETHER.T, [one.T for one in ALONE], Rows.AGREE),
        (TOGETHER.max(axis=0, keepdims=True), ALONE, Rows.POOLED),
        (ALONE[0], [ALONE[0]] * 3, Rows.UNKNOWN),
        (np.zeros((2, 7)), [np.zeros((0, 7)), np.zeros((2, 7)), np.zeros((0, 7))], Rows.UNKNOWN),
        (np.where(TOGETHER > 0, TOGETHER, np.nan), [np.where(one > 0, one, np.nan) for one in ALONE], Rows.AGREE),
        (np.where(TOGETHER > 0, TOGETHER, np.nan), ALONE, Rows.DIFFER),
        ([1], [[1]] * 3, Rows.UNKNOWN),
    ],
)
def test_rows_are_compared_with_each_sample_alone(together: Any, alone: list[Any], found: Rows) -> None:
    """Outputs of several samples agree if each row equals that of its sample alone, up to rounding."""
    assert compare_rows({"y": together}, [{"y": one} for one in alone]) is found


def test_one_output_whose_rows_differ_decides() -> None:
    """An output with mixed rows decides against a batch; a pooled output beside equal rows does not."""
    alone = [{"y": one, "z": one, "sum": one.sum()} for one in ALONE]
    assert compare_rows({"y": TOGETHER, "z": TOGETHER[::-1]}, alone) is Rows.DIFFER
    assert compare_rows({"y": TOGETHER, "sum": TOGETHER.sum()}, alone) is Rows.AGREE


def test_a_model_that_draws_random_numbers_shows_nothing() -> None:
    """It is unknown whether rows agree if the model draws random numbers or refuses a single sample."""
    random = np.random.default_rng(0)
    drawn = {"y": random.normal(0, 1, (3, 6))}
    assert rows_of(lambda _: {"y": random.normal(0, 1, (1, 6))}, drawn, [{}] * 3) is Rows.UNKNOWN
    pooled = {"y": random.normal(0, 1, (1, 6))}
    assert rows_of(lambda _: {"y": random.normal(0, 1, (1, 6))}, pooled, [{}] * 3) is Rows.UNKNOWN
    assert rows_of(lambda sample: {"y": sample["x"]}, drawn, [{}] * 3) is Rows.UNKNOWN
    assert rows_of(lambda _: drawn, drawn, []) is Rows.UNKNOWN
