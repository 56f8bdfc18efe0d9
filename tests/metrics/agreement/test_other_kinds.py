"""Texts, embeddings, regressions, keypoints and users' answers: each way in which a broken engine must not pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import OutputSpec
from hil.errors import UserError
from hil.metrics.agreement.sequences import Decoded, edit_distance
from hil.results import Verdict
from tests.metrics.agreement.test_agreement import judged

if TYPE_CHECKING:
    from pathlib import Path

Array = np.ndarray[Any, Any]
N = 96
RANDOM = np.random.default_rng(0)


def texts() -> Array:
    """Return scores [samples, steps, classes] of random texts of five characters with blanks between."""
    classes = np.zeros((N, 10), np.int64)
    classes[:, ::2] = np.random.default_rng(0).integers(1, 6, (N, 5))
    return np.eye(6, dtype=np.float32)[classes]


def vectors(size: int = 16) -> Array:
    """Return normal vectors, float32 (samples, ``size``)."""
    return np.random.default_rng(0).normal(size=(N, size)).astype(np.float32)


def points() -> Array:
    """Return keypoints [samples, 5, 3]: x, y in pixels, and a score of 0.9."""
    places = np.random.default_rng(0).uniform(0, 200, (N, 5, 2))
    return np.concatenate([places, np.full((N, 5, 1), 0.9)], axis=2).astype(np.float32)


def many() -> Array:
    """Return 40 keypoints [samples, 40, 2] in pixels."""
    return np.random.default_rng(0).uniform(0, 200, (N, 40, 2)).astype(np.float32)


def noisy(values: Array, share: float) -> Array:
    """Return ``values`` with noise of ``share`` of their standard deviation."""
    noise = np.random.default_rng(1).normal(size=values.shape) * values.std() * share
    return np.asarray(values + noise, dtype=np.float32)


def moved(values: Array, pixels: float) -> Array:
    """Return keypoints that are moved to the right."""
    return np.asarray(values + np.array([pixels, 0, 0], np.float32))


HALVED = np.array([1, 1, 1, 0.5], np.float32)
MIXED = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
MIXED[:, 9] /= 100


@pytest.mark.parametrize(
    ("kind", "reference", "engine"),
    [
        pytest.param("ctc", texts(), np.roll(texts(), 1, axis=2), id="characters shifted"),
        pytest.param("ctc", texts(), np.where(np.arange(10)[:, None] < 8, texts(), texts()[:1, 1:2]), id="truncated"),
        pytest.param("ctc", texts(), texts() * 0, id="dead text"),
        pytest.param("embedding", vectors(), vectors()[:, ::-1].copy(), id="order"),
        pytest.param("embedding", vectors(), vectors() * 0, id="zero vectors"),
        pytest.param("embedding", vectors(), np.tile(vectors()[:1], (N, 1)), id="constant vectors"),
        pytest.param("embedding", vectors(), noisy(vectors(), 1), id="noise"),
        pytest.param("regression", vectors(6), vectors(6) / 2, id="half the size"),
        pytest.param("regression", vectors(6), vectors(6) * np.array([1, 1, 1, 1, 1, 0], np.float32), id="dead joint"),
        pytest.param("regression", vectors(6), vectors(6) + np.float32(0.3), id="offset"),
        pytest.param("regression", vectors(64), vectors(64) * np.float32(1 - np.eye(64)[5] / 2), id="one joint halved"),
        pytest.param("regression", vectors(4096), vectors(4096) * np.tile(HALVED, 1024), id="columns of a map"),
        pytest.param("keypoints", many(), many() + 20 * np.eye(40, dtype=np.float32)[:, 3:4], id="one point moved"),
        pytest.param("keypoints", points(), moved(points(), 20), id="points moved"),
        pytest.param("keypoints", points(), points() * np.array([1, 1, 0.2], np.float32), id="dead points"),
        pytest.param("keypoints", points(), np.roll(points(), 1, axis=1), id="points exchanged"),
    ],
)
def test_broken_engines_fail(kind: str, reference: Array, engine: Array) -> None:
    """An engine whose texts, vectors, numbers or keypoints are damaged fails."""
    assert judged({"y": reference}, {"y": engine}, y={"kind": kind}).verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("kind", "reference", "engine"),
    [
        pytest.param("ctc", texts(), texts() * np.float32(0.9), id="ctc"),
        pytest.param("embedding", vectors(), noisy(vectors(), 0.02), id="embedding"),
        pytest.param("regression", vectors(6), noisy(vectors(6), 0.02), id="regression"),
        pytest.param("regression", MIXED, noisy(MIXED, 0.005), id="noise of a step of the widest component"),
        pytest.param("keypoints", points(), moved(points(), 1), id="keypoints"),
    ],
)
def test_sound_engines_pass(kind: str, reference: Array, engine: Array) -> None:
    """An engine with small numeric errors passes."""
    assert judged({"y": reference}, {"y": engine}, y={"kind": kind}).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("kind", "reference", "what"),
    [
        pytest.param("ctc", texts() * 0, "reads an empty text", id="empty texts"),
        pytest.param("ctc", np.tile(texts()[:1], (N, 1, 1)), "ignores its input", id="one text"),
        pytest.param("embedding", vectors() * 0, "vector of zeros", id="zero vectors"),
        pytest.param("embedding", np.tile(vectors()[:1], (N, 1)), "ignores its input", id="one vector"),
        pytest.param("regression", np.ones((N, 6), np.float32), "does not vary", id="constant"),
        pytest.param("keypoints", points() * np.array([1, 1, 0.1], np.float32), "has no point", id="no points"),
        pytest.param("keypoints", np.tile(points()[:1], (N, 1, 1)), "ignores its input", id="the same points"),
    ],
)
def test_trivial_answers_show_nothing(kind: str, reference: Array, what: str) -> None:
    """An equal engine is inconclusive where the reference answers nothing, or the same in every sample."""
    judgement = judged({"y": reference}, {"y": reference}, y={"kind": kind})
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert what in judgement.reason


def test_a_component_that_never_varies_must_not_change() -> None:
    """An engine that changes a component that is constant in the reference fails."""
    reference = np.concatenate([vectors(4), np.ones((N, 1), np.float32)], axis=1)
    engine = reference * np.array([1, 1, 1, 1, 1.1], np.float32)
    assert judged({"y": reference}, {"y": engine}, y={"kind": "regression"}).verdict is Verdict.FAILED


def test_the_maximum_of_a_heat_map_is_the_point() -> None:
    """Heat maps are compared by the place of their maximum, whatever their values are."""
    maps = np.zeros((N, 3, 32, 32), np.float32)
    for image, places in enumerate(np.random.default_rng(0).integers(0, 32, (N, 3, 2))):
        maps[image, range(3), places[:, 0], places[:, 1]] = 1
    kind = {"kind": "keypoints"}
    assert judged({"y": maps}, {"y": maps * np.float32(0.8)}, y=kind).verdict is Verdict.PASSED
    assert judged({"y": maps}, {"y": np.roll(maps, 4, axis=3)}, y=kind).verdict is Verdict.FAILED


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), max_size=6))
def test_edit_distance(one: list[int], other: list[int]) -> None:
    """The distance is symmetric, 0 only for equal texts, and between the difference and the maximum of the lengths."""
    distance = edit_distance(tuple(one), tuple(other))
    assert distance == edit_distance(tuple(other), tuple(one))
    assert (distance == 0) == (one == other)
    assert abs(len(one) - len(other)) <= distance <= max(len(one), len(other))


def _decoded(folder: Path, body: str) -> Decoded:
    name = f"agreement_{abs(hash(body))}"
    (folder / f"{name}.py").write_text(f"def decode(outputs):\n    return {body}\n")
    return Decoded("y", OutputSpec(decode=f"{name}:decode"), folder, "m", "hil.toml:1")


def test_answers_of_a_callable_are_compared_for_equality(tmp_path: Path) -> None:
    """Arrays and other values are compared for equality; None on both sides is not counted."""
    answers = _decoded(tmp_path, "[None if row.max() < 0 else row.round() for row in outputs['y']]")
    ours = np.array([[1.0, 2], [3, 4], [-1, -1], [5, 6]], np.float32)
    theirs = np.array([[1.2, 2], [3, 5], [-2, -1], [-1, -1]], np.float32)
    answers.add({"y": ours}, {"y": theirs}, 4)
    evidence = answers.evidence()
    assert evidence.changed.tolist() == [0, 1, 1]
    assert evidence.samples.tolist() == [0, 1, 3]
    assert (evidence.total, evidence.silent) == (4, 1)


@pytest.mark.parametrize("body", ["list(outputs['y'])[:1]", "[]", "iter(int, 1)"])
def test_a_callable_with_another_number_of_answers_is_refused(tmp_path: Path, body: str) -> None:
    """Fewer or more answers than samples give one message, also if the callable yields without end."""
    with pytest.raises(UserError, match="answers for 4 samples"):
        _decoded(tmp_path, body).add({"y": vectors(2)[:4]}, {"y": vectors(2)[:4]}, 4)


def test_a_character_that_is_never_read_fails() -> None:
    """A rare character that the engine's texts lack is counted alone; if half of them have it, it is not lost."""
    ours = np.concatenate([texts(), np.zeros((N, 10, 1), np.float32)], axis=2)
    ours[::8, 4] = np.eye(7, dtype=np.float32)[6]
    theirs, half = ours.copy(), ours.copy()
    theirs[::8, 4] = half[::16, 4] = np.array([1, 0, 0, 0, 0, 0, 0.7], np.float32)  # no slice is constant
    judgement = judged({"y": ours}, {"y": theirs}, y={"kind": "ctc"})
    assert judgement.verdict is Verdict.FAILED
    assert "only class 6, which is lost" in judgement.reason
    assert "alone" not in judged({"y": ours}, {"y": half}, y={"kind": "ctc"}).reason
