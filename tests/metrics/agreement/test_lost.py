"""A part of the answers that an engine has lost fails, however small it is: a class, a component or a point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hil.checks.comparison import Comparison
from hil.config.spec import ModelSpec
from hil.metrics.agreement import open_answers
from hil.results import Verdict
from tests.metrics.agreement.test_agreement import boxes, judged
from tests.metrics.agreement.test_other_kinds import many, noisy, vectors

Array = np.ndarray[Any, Any]

N = 400
RARE = 10
"""Number of samples of class 3: so few that losing all of them keeps the share of changed answers within the limit."""

VALUES = np.random.default_rng(0).normal(size=(N, 64)).astype(np.float32)


def _scores(best: Array, count: int) -> Array:
    """Return scores of ``count`` classes along a last axis, whose highest is that of ``best``; none is constant."""
    noise = np.random.default_rng(1).uniform(0, 0.05, (*best.shape, count))
    return np.asarray(np.eye(count)[best] * 0.9 + noise, np.float32)


def classes(changed: int = 0, samples: int = N) -> Array:
    """Return scores [samples, 4] with ``RARE`` samples of class 3, of which the first ``changed`` are class 2."""
    best = np.random.default_rng(0).integers(0, 3, samples)
    best[:RARE] = 3
    best[:changed] = 2
    return _scores(best, 4)


def maps(*, lost: bool) -> Array:
    """Return scores [samples, 3, 8, 8]: background, a large class, and, unless ``lost``, one pixel of a third class."""
    best = np.zeros((64, 8, 8), np.int64)
    for number, column in enumerate(np.random.default_rng(0).integers(0, 4, 64)):
        best[number, :, column : column + 3] = 1
        best[number, 0, column] = 1 if lost else 2
    return np.asarray(_scores(best, 3).transpose(0, 3, 1, 2))


def rare_boxes(change: float) -> Array:
    """Return the boxes of 200 images; 12 images have one box of class 7, with the score ``change``."""
    table = boxes(200)
    table[:12, 0, 5], table[:12, 0, 4] = 7, change
    return np.asarray(table)


def often_wrong(values: Array, share: float) -> Array:
    """Return vectors of which component 5 is negated in the first ``share`` of the samples."""
    made: Array = values.copy()
    made[: round(share * len(made)), 5] *= -1
    return made


def jumping(share: float) -> Array:
    """Return keypoints of which point 3 is elsewhere in the first ``share`` of the samples."""
    made = many()
    made[: round(share * len(made)), 3] += 90
    return np.asarray(made)


@pytest.mark.parametrize(
    ("kind", "reference", "engine", "part"),
    [
        pytest.param("classification", classes(), classes(RARE), "class 3", id="class"),
        pytest.param("segmentation", maps(lost=False), maps(lost=True), "class 2", id="small class of a map"),
        pytest.param("detection", rare_boxes(0.9), rare_boxes(0.1), "class 7", id="boxes of a class"),
        pytest.param("regression", vectors(64), often_wrong(vectors(64), 0.2), "component 5", id="component"),
        pytest.param("keypoints", many(), jumping(0.2), "point 3", id="point"),
    ],
)
def test_a_lost_part_fails_and_is_named(kind: str, reference: Array, engine: Array, part: str) -> None:
    """An engine that loses one class, component or point fails, and the reason names the lost part."""
    judgement = judged({"y": reference}, {"y": engine}, y={"kind": kind})
    assert judgement.verdict is Verdict.FAILED
    assert f"share of answers changed (only {part}, which is lost)" in judgement.reason
    (answers,) = judgement.details["answers"]
    assert answers["part"] == part
    assert judged({"y": reference}, {"y": reference}, y={"kind": kind}).verdict is Verdict.PASSED


def test_a_rare_alarm_that_never_comes_fails() -> None:
    """A single class whose score reaches the threshold in 10 of 400 samples fails if it never does in the engine."""
    reference = np.full((N, 1), 0.1, np.float32)
    reference[:RARE] = 0.9
    reference += np.random.default_rng(0).uniform(0, 0.05, (N, 1)).astype(np.float32)
    engine = np.minimum(reference, np.float32(0.2))
    judgement = judged({"y": reference}, {"y": engine}, y={"kind": "classification"})
    assert judgement.verdict is Verdict.FAILED
    assert "only class 0" in judgement.reason


@pytest.mark.parametrize(
    ("kind", "reference", "engine"),
    [
        pytest.param("classification", classes(), classes(RARE * 6 // 10), id="six of ten of a rare class"),
        pytest.param("regression", VALUES, often_wrong(VALUES, 0.08), id="a component in one of twelve"),
        pytest.param("regression", vectors(64), noisy(vectors(64), 0.03), id="noise on all components"),
    ],
)
def test_what_chance_explains_is_not_lost(kind: str, reference: Array, engine: Array) -> None:
    """A rare class or a component does not fail the check if chance may explain its changed answers."""
    assert judged({"y": reference}, {"y": engine}, y={"kind": kind}).verdict is Verdict.PASSED


def test_copies_of_one_sample_do_not_prove_a_loss() -> None:
    """If a tenth of the samples is distinct, the loss of a class is inconclusive: it may be copies of one sample."""
    spec = ModelSpec.model_validate({"path": "m", "data": "d", "outputs": {"y": {"kind": "classification"}}})
    comparison = Comparison("int8", samples=N, answers=open_answers(spec), distinct=N // 10)
    comparison.update([("y", classes())], [("y", classes(RARE))])
    assert comparison.judge().verdict is Verdict.INCONCLUSIVE
