from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.errors import UserError
from hil.metrics import open_metric

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOGITS = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)


def mean_logit(outputs: Mapping[str, np.ndarray], _labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a user's own score for each sample."""
    return np.asarray(outputs["logits"].mean(axis=1))


def one_number(outputs: Mapping[str, np.ndarray], _labels: Mapping[str, np.ndarray]) -> float:
    """Return one mean instead of a score for each sample, a user's mistake."""
    return float(outputs["logits"].mean())


def broken(outputs: Mapping[str, np.ndarray], _labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Raise ``KeyError``, a user's mistake."""
    return outputs["no such output"]


def test_top1_is_one_or_zero_for_each_sample() -> None:
    """A sample scores 1 if its largest logit is the label's, else 0."""
    metric = open_metric("classification")
    assert metric.key == "top1_drop"
    assert metric.higher_is_better
    assert metric.score({"logits": LOGITS}, {"": np.array([1, 1, 1])}).tolist() == [1, 0, 1]
    assert metric.score({"logits": LOGITS}, {"logits": np.array([[1], [0], [0]])}).tolist() == [1, 1, 0]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_one_hot_logits_score_one(labels: list[int]) -> None:
    """One-hot rows of the labels score 1, and of shifted labels 0."""
    truth = np.array(labels)
    score = open_metric("classification").score
    assert score({"y": np.eye(5)[truth]}, {"": truth}).tolist() == [1] * len(labels)
    assert score({"y": np.eye(5)[(truth + 1) % 5]}, {"": truth}).tolist() == [0] * len(labels)


def test_a_non_finite_row_is_a_miss() -> None:
    """A row of NaN or infinity scores 0, although argmax gives position 0."""
    rows = np.array([[np.nan, np.nan], [np.inf, 0]], np.float32)
    assert open_metric("classification").score({"y": rows}, {"": np.array([0, 0])}).tolist() == [0, 0]


def test_several_labels_of_a_sample_score_their_mean() -> None:
    """A sample with a class for each pixel scores the mean over its pixels."""
    logits = np.eye(2)[np.array([[0, 1], [1, 1]])]
    assert open_metric("classification").score({"y": logits}, {"": np.array([[0, 0], [1, 1]])}).tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("outputs", "labels", "message"),
    [
        ({"y": LOGITS}, {}, "no labels"),
        ({"y": LOGITS}, {"": np.array([1, 1])}, "shape"),
        ({"y": LOGITS}, {"": np.array([1.0, 1.0, 1.0])}, "integers"),
        ({"y": LOGITS}, {"": np.array([1, 2, 1])}, "from 1 to 2"),
        ({"y": LOGITS}, {"": np.array([-1, 1, 1])}, "from -1"),
        ({"y": LOGITS, "z": LOGITS}, {"": np.array([1, 1, 1])}, "any output of y, z"),
        ({"y": LOGITS}, {"z": np.array([1, 1, 1])}, "'z'"),
        ({"y": LOGITS, "z": LOGITS}, {"y": np.array([1] * 3), "z": np.array([1] * 3)}, "one output"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    outputs: dict[str, np.ndarray], labels: dict[str, np.ndarray], message: str
) -> None:
    """Labels that are missing, too few, not integers, out of range, ambiguous or of an unknown output are refused."""
    with pytest.raises(UserError, match=message):
        open_metric("classification").score(outputs, labels)


def test_absolute_error_is_over_all_labelled_outputs() -> None:
    """The error is the mean over the elements of all labelled outputs; unlabelled outputs are ignored."""
    outputs = {"a": np.array([[1.0, 2.0]]), "b": np.array([[3.0]]), "c": np.array([[9.0]])}
    labels = {"a": np.array([[0.0, 0.0]]), "b": np.array([3.0])}
    metric = open_metric("regression")
    assert metric.key == "error_increase"
    assert not metric.higher_is_better
    assert metric.score(outputs, labels).tolist() == [1.0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "no labels"),
        ({"y": np.zeros((2, 3))}, "shape"),
        ({"z": np.zeros((3, 2))}, "'z'"),
        ({"y": np.zeros((6, 1))}, "shape"),
    ],
)
def test_regression_labels_must_fit(labels: dict[str, np.ndarray], message: str) -> None:
    """Labels that are missing, of another shape or of an unknown output are refused, not broadcast."""
    with pytest.raises(UserError, match=message):
        open_metric("regression").score({"y": LOGITS}, labels)


def test_a_callable_scores_by_its_own_unit() -> None:
    """``package.module:callable`` is imported and called with outputs and labels by name."""
    metric = open_metric("tests.metrics.test_metrics:mean_logit")
    assert metric.key == "score_drop"
    assert metric.score({"logits": LOGITS}, {}) == pytest.approx([0.5, 0.5, 0.5])


def test_a_callable_is_imported_from_the_configs_folder(tmp_path: Path) -> None:
    """A callable's module may be beside the config, without an import path."""
    (tmp_path / "beside_the_config.py").write_text("def score(outputs, labels):\n    return outputs['y'] + 1\n")
    score = open_metric("beside_the_config:score", tmp_path).score
    assert score({"y": np.zeros(2)}, {}).tolist() == [1, 1]


@pytest.mark.parametrize("name", ["one_number", "broken"])
def test_a_callable_that_does_not_score_samples_is_named(name: str) -> None:
    """A callable that returns a single number or raises gives one error with its name."""
    with pytest.raises(UserError, match=f"tests.metrics.test_metrics:{name}"):
        open_metric(f"tests.metrics.test_metrics:{name}").score({"logits": LOGITS}, {})


def test_a_detector_without_a_layout_is_refused() -> None:
    """The layout of boxes is never guessed; the error names the table for it."""
    with pytest.raises(UserError, match=r"\[models\.eyes\.detection\]"):
        open_metric("detection", model="eyes")


@pytest.mark.parametrize(("task", "name"), [("classification", "map"), ("detection", "top1"), ("math:sqrt", "top1")])
def test_a_metric_of_another_task_is_refused(task: str, name: str) -> None:
    """A metric of another task is refused, and so is a metric for a callable."""
    with pytest.raises(UserError, match=r"metric|not known"):
        open_metric(task, name=name)


@pytest.mark.parametrize("task", ["clasification", "", "no.such.module:f", "math:nothing", "math:pi", "tests:"])
def test_an_unknown_task_is_refused(task: str) -> None:
    """A typo, a missing module or attribute, and an attribute that is not callable raise ``UserError``."""
    with pytest.raises(UserError, match="task"):
        open_metric(task)
