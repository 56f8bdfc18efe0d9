"""Agreement of answers, judged with the real comparison: each way in which a broken engine must not pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.checks.comparison import Comparison
from hil.config.spec import ModelSpec, TolerancesSpec
from hil.errors import UserError
from hil.metrics.agreement import open_answers
from hil.results import Judgement, Verdict

Arrays = dict[str, np.ndarray[Any, Any]]

N = 128


def judged(
    reference: Arrays,
    engine: Arrays,
    tolerances: dict[str, Any] | None = None,
    *,
    spot_check: bool = False,
    **outputs: Any,
) -> Judgement:
    """Return the judgement of an engine whose outputs are declared as ``outputs``, compared in two batches."""
    spec = ModelSpec.model_validate({"path": "m.onnx", "data": "d.npz", "outputs": outputs})
    written = None if tolerances is None else TolerancesSpec.model_validate(tolerances)
    samples = len(next(iter(reference.values())))
    comparison = Comparison("int8", written, samples=samples, answers=open_answers(spec, Path()), spot_check=spot_check)
    for part in (slice(0, samples // 2), slice(samples // 2, samples)):
        ours, theirs = ([(name, array[part]) for name, array in side.items()] for side in (reference, engine))
        comparison.update(ours, theirs)
    return comparison.judge()


def scores(classes: int = 4, samples: int = N, top: float = 0.9) -> np.ndarray[Any, Any]:
    """Return probabilities [samples, classes] with a random best class of probability ``top``."""
    best = np.random.default_rng(0).integers(0, classes, samples)
    rest = (1 - top) / (classes - 1)
    return (np.eye(classes)[best] * (top - rest) + rest).astype(np.float32)


def boxes(samples: int = N, score: float = 0.9) -> np.ndarray[Any, Any]:
    """Return detections [samples, 5, 6] of which two per image have the score ``score``, the others 0."""
    random = np.random.default_rng(0)
    low = random.uniform(0, 200, (samples, 5, 2))
    high = low + random.uniform(20, 60, (samples, 5, 2))
    points = np.broadcast_to(np.where(np.arange(5) < 2, score, 0.0)[None, :, None], (samples, 5, 1))
    return np.concatenate([low, high, points, random.integers(0, 3, (samples, 5, 1))], axis=2).astype(np.float32)


CLASSES = {"kind": "classification"}
BOXES = {"kind": "detection"}


def test_other_numbers_and_the_same_classes_pass() -> None:
    """If an output's kind is declared, its numbers may drift as long as its answers do not."""
    engine = scores()
    engine[0] *= 1.9
    assert judged({"y": scores()}, {"y": engine}).verdict is Verdict.INCONCLUSIVE
    judgement = judged({"y": scores()}, {"y": engine}, y=CLASSES)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.measurement is not None
    assert (judgement.measurement.value, judgement.measurement.n) == (0, N)
    assert judgement.details["outputs"][0]["metrics"]["max_rel"] > 0


def test_a_written_tolerance_of_numbers_binds_too() -> None:
    """A written tolerance of numbers also applies to an output whose kind is declared."""
    engine = scores() - 0.01
    judgement = judged({"y": scores()}, {"y": engine}, {"max_abs": 0.001}, y=CLASSES)
    assert judgement.verdict is Verdict.FAILED
    assert "max_abs" in judgement.reason


def test_a_tenth_of_other_classes_fails() -> None:
    """An engine that answers another class in 16 of 128 samples fails; the reason names the first."""
    engine = scores()
    engine[5:21] = np.roll(engine[5:21], 1, axis=1)
    judgement = judged({"y": scores()}, {"y": engine}, y=CLASSES)
    assert judgement.verdict is Verdict.FAILED
    assert "sample 5" in judgement.reason


def test_few_samples_are_inconclusive_and_the_reason_counts() -> None:
    """20 samples of an equal engine are inconclusive; the reason states that 59 are enough."""
    judgement = judged({"y": scores(samples=20)}, {"y": scores(samples=20)}, y=CLASSES)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "59" in judgement.reason


def test_few_samples_pass_where_the_weaker_claim_is_accepted() -> None:
    """With no_disagreement_in = 48, 48 equal samples pass, and the reason states what they exclude."""
    accepted = {"no_disagreement_in": 48}
    same = {"y": scores(samples=48)}
    judgement = judged(same, same, accepted, y=CLASSES)
    assert judgement.verdict is Verdict.PASSED
    assert "48 samples without a disagreement exclude a loss above 6.1 % at 95 % confidence" in judgement.reason
    fewer = {"y": scores(samples=47)}
    assert judged(fewer, fewer, accepted, y=CLASSES).verdict is Verdict.INCONCLUSIVE
    other = {"y": scores(samples=48)}
    other["y"][3] = np.roll(other["y"][3], 1)
    assert judged(same, other, accepted, y=CLASSES).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(scores() / 2, id="halved"),
        pytest.param(1 / (1 + np.exp(-scores())), id="sigmoid twice"),
        pytest.param(scores(top=0.5), id="compressed"),
        pytest.param(np.broadcast_to(scores()[:1], (N, 4)).copy(), id="constant"),
        pytest.param(np.zeros((N, 4), np.float32), id="dead"),
        pytest.param(np.roll(scores(), 1, axis=0), id="of the sample before"),
    ],
)
def test_broken_scores_fail(engine: np.ndarray[Any, Any]) -> None:
    """A classifier with compressed, dead or constant scores, or those of another sample, fails."""
    assert judged({"y": scores()}, {"y": engine}, y=CLASSES).verdict is Verdict.FAILED


def spread(share: float) -> np.ndarray[Any, Any]:
    """Return scores whose best class has 0.3 to 0.95, with its distance from 0.625 multiplied by ``share``."""
    top = np.linspace(0.3, 0.95, N)
    best = np.random.default_rng(0).integers(0, 4, N)
    return (np.eye(4)[best] * (0.625 + share * (top - 0.625))[:, None]).astype(np.float32)


def test_scores_that_are_compressed_about_their_mean_fail() -> None:
    """High scores that fall and low scores that rise fail, although no answer and no mean changes."""
    judgement = judged({"y": spread(1)}, {"y": spread(0.3)}, y=CLASSES)
    assert judgement.verdict is Verdict.FAILED
    assert "the lower half of the scores" in judgement.reason
    assert judged({"y": spread(1)}, {"y": spread(0.95)}, y=CLASSES).verdict is Verdict.PASSED


def test_boxes_whose_scores_are_compressed_about_their_mean_fail() -> None:
    """Scores of boxes that are compressed about their mean fail too."""
    levels = np.linspace(0.35, 0.95, 2 * N).reshape(N, 2)
    good, bad = boxes(), boxes()
    good[:, :2, 4], bad[:, :2, 4] = levels, 0.65 + 0.3 * (levels - 0.65)
    assert "half of the scores" in judged({"y": good}, {"y": bad}, y=BOXES).reason


def test_a_systematic_drift_of_logits_fails() -> None:
    """Logits that are a tenth as large keep each argmax, but their softmax drifts: the check fails."""
    logits = np.log(scores())
    assert judged({"y": logits}, {"y": logits / 10}, y=CLASSES).verdict is Verdict.FAILED
    assert judged({"y": logits}, {"y": logits + np.float32(3)}, y=CLASSES).verdict is Verdict.PASSED


def test_scores_that_rounding_lifts_over_1_stay_scores() -> None:
    """Scores of which one exceeds 1 by rounding are not read as logits: an equal engine passes, a dead one fails."""
    text = (np.random.default_rng(0).random((N, 1, 8, 8)) < 0.3).astype(np.float32) * np.float32(1 + 1e-6)
    many = np.eye(40, dtype=np.float32)[np.arange(N) % 40] * np.float32(1 + 1e-6)
    for reference, kind in ((text, {"kind": "segmentation"}), (many, CLASSES)):
        assert judged({"y": reference}, {"y": reference}, {"no_disagreement_in": 100}, y=kind).verdict is Verdict.PASSED
        assert judged({"y": reference}, {"y": reference * 0}, y=kind).verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("reference", "kind", "what"),
    [
        pytest.param(np.full((N, 4), 0.1, np.float32), CLASSES, "no score of 0.25", id="no class"),
        pytest.param(np.tile(scores()[:1], (N, 1)), CLASSES, "ignores its input", id="one class"),
        pytest.param(scores(), {**CLASSES, "score": 0.95}, "no score of 0.95", id="threshold"),
        pytest.param(boxes(score=0.2), BOXES, "detects nothing at score 0.25 in 128 of 128", id="no box"),
        pytest.param(boxes(), {**BOXES, "score": 0.95}, "detects nothing", id="threshold of boxes"),
        pytest.param(np.tile(boxes()[:1], (N, 1, 1)), BOXES, "ignores its input", id="the same boxes"),
        pytest.param(boxes() * np.float32(np.nan), BOXES, "no finite element to compare", id="NaN"),
    ],
)
def test_trivial_answers_show_nothing(reference: np.ndarray[Any, Any], kind: dict[str, Any], what: str) -> None:
    """An equal engine does not pass if the reference's answers are empty or all the same."""
    judgement = judged({"y": reference}, {"y": reference}, y=kind)
    assert judgement.verdict in {Verdict.INCONCLUSIVE, Verdict.FAILED}
    assert what in judgement.reason


def test_rare_answers_are_not_hidden_by_empty_images() -> None:
    """An engine that detects nothing fails, even if only four images of a hundred show something."""
    reference = boxes(400)
    reference[16:, :, 4] = 0
    engine = reference.copy()
    engine[..., 4] = 0
    assert judged({"y": reference}, {"y": engine}, y=BOXES).verdict is Verdict.FAILED


def test_one_class_alone_is_an_answer_or_none() -> None:
    """For a single class, the answer is whether its score reaches the threshold; an engine that scores 0 fails."""
    reference = scores(2)[:, :1]
    assert judged({"y": reference}, {"y": reference * 0}, y=CLASSES).verdict is Verdict.FAILED
    assert judged({"y": reference}, {"y": reference}, y=CLASSES).verdict is Verdict.PASSED


def _changed(change: str) -> np.ndarray[Any, Any]:
    table = boxes()
    size = table[..., 2:4] - table[..., :2]
    if change == "shifted":
        table[..., :2] += size / 2
        table[..., 2:4] += size / 2
    elif change == "halved":
        table[..., 4] /= 2
    elif change == "dead":
        table[..., 4] = 0
    elif change == "other class":
        table[..., 5] = (table[..., 5] + 1) % 3
    elif change == "tenth less":
        table[..., 4] -= np.float32(0.1)
    return table


@pytest.mark.parametrize("change", ["shifted", "halved", "dead", "other class", "tenth less"])
def test_broken_boxes_fail(change: str) -> None:
    """Boxes shifted by half their size, scores lower by a half or a tenth, no scores and other classes fail."""
    assert judged({"y": boxes()}, {"y": _changed(change)}, y=BOXES).verdict is Verdict.FAILED


@pytest.mark.parametrize(("low", "high", "what"), [(1, 1, "moved along {}"), (-0.5, 0.5, "changed in {}")])
@pytest.mark.parametrize("axis", [0, 1])
def test_boxes_that_all_change_a_little_fail(low: float, high: float, what: str, axis: int) -> None:
    """Boxes that are all moved, wider or higher by a tenth still overlap by far more than a half, and fail."""
    moved, near = boxes(), boxes()
    size = moved[..., axis + 2] - moved[..., axis]
    for array, share in ((moved, 0.1), (near, 0.02)):
        array[..., axis] += low * share * size
        array[..., axis + 2] += high * share * size
    judgement = judged({"y": boxes()}, {"y": moved}, y=BOXES)
    assert judgement.verdict is Verdict.FAILED
    name = ("x", "y")[axis] if low == high else ("width", "height")[axis]
    assert f"{what.format(name)} by +10 % of their size" in judgement.reason
    assert judged({"y": boxes()}, {"y": near}, y=BOXES).verdict is Verdict.PASSED


def test_boxes_in_another_order_pass() -> None:
    """Neither the order of boxes nor boxes with scores under the threshold change the verdict."""
    engine = boxes()[:, ::-1].copy()
    engine[:, 0, 4] = 0.2
    assert judged({"y": boxes()}, {"y": engine}, y=BOXES).verdict is Verdict.PASSED


def test_boxes_and_scores_are_read_together() -> None:
    """Two outputs of kind detection are one detector: dead scores fail, and both outputs are named."""
    table = boxes()
    reference = {"boxes": table[..., :4], "scores": np.repeat(table[..., 4:5], 2, axis=2) * [1, 0.5]}
    reference["scores"] = reference["scores"].astype(np.float32)
    engine = {**reference, "scores": reference["scores"] * np.float32(0.05)}
    kinds: dict[str, Any] = {"boxes": {**BOXES, "layout": "boxes-scores"}, "scores": BOXES}
    judgement = judged(reference, engine, **kinds)
    assert judgement.verdict is Verdict.FAILED
    assert "'boxes', 'scores'" in judgement.reason
    assert judged(reference, reference, **kinds).verdict is Verdict.PASSED


def test_a_decoder_that_returns_fewer_images_is_refused(tmp_path: Path) -> None:
    """A decoder that returns fewer answers than samples gives one message."""
    (tmp_path / "agreement_few.py").write_text("def first(outputs):\n    return list(outputs['y'])[:1]\n")
    outputs = {"y": {"kind": "detection", "decode": "agreement_few:first"}}
    spec = ModelSpec.model_validate({"path": "m.onnx", "data": "d.npz", "outputs": outputs})
    comparison = Comparison("int8", answers=open_answers(spec, tmp_path))
    with pytest.raises(UserError, match="1 images were decoded for 128 samples"):
        comparison.update([("y", boxes())], [("y", boxes())])


def centers() -> np.ndarray[Any, Any]:
    """Return detections [samples, 4 + 1, 5]: x, y, width, height and a score of 0.9."""
    random = np.random.default_rng(0)
    places, sizes = random.uniform(100, 200, (N, 2, 5)), random.uniform(20, 60, (N, 2, 5))
    return np.concatenate([places, sizes, np.full((N, 1, 5), 0.9)], axis=1).astype(np.float32)


def test_columns_that_are_no_scores_are_refused() -> None:
    """If a layout reads keypoints in pixels as scores, a ``UserError`` has the largest of these values."""
    kind = {**BOXES, "layout": "channels-first", "boxes": "centers"}
    table = np.concatenate([centers(), np.full((N, 3, 5), 217.0, np.float32)], axis=1)
    with pytest.raises(UserError, match="the scores that the layout reads reach 217"):
        judged({"y": table}, {"y": table}, y=kind)
    assert judged({"y": centers()}, {"y": centers()}, y=kind).verdict is Verdict.PASSED


def test_centers_that_are_read_as_corners_are_refused() -> None:
    """If boxes of the reference have no area, a ``UserError`` names the key to correct, and no engine is judged."""
    with pytest.raises(UserError, match="boxes of the reference have no area: outputs y: correct 'layout'"):
        judged({"y": centers()}, {"y": centers()}, y={**BOXES, "layout": "channels-first"})


def test_pixels_count_in_relation_to_the_object() -> None:
    """A small object that disappears in every image fails, although under 1 % of the pixels change."""
    reference = np.zeros((N, 3, 16, 16), np.float32)
    reference[:, 0] = 1
    places = np.random.default_rng(0).integers(0, 16, (N, 2))
    for image, (row, column) in enumerate(places):
        reference[image, :, row, column] = 0, 0, 1
    engine = np.zeros_like(reference)
    engine[:, 0] = 1
    kind = {"kind": "segmentation"}
    assert judged({"y": reference}, {"y": engine}, y=kind).verdict is Verdict.FAILED
    assert judged({"y": reference}, {"y": reference}, y=kind).verdict is Verdict.PASSED
    assert judged({"y": engine}, {"y": engine}, y=kind).verdict is Verdict.INCONCLUSIVE


def test_a_tolerance_of_answers_needs_a_kind() -> None:
    """A tolerance of answers fails the check if no output has a kind."""
    judgement = judged({"y": scores()}, {"y": scores()}, {"answers": "1 %"})
    assert judgement.verdict is Verdict.FAILED
    assert "answers applies to no output" in judgement.reason


def test_a_drift_is_that_of_unchanged_answers() -> None:
    """The scores of changed answers are not part of the drift."""
    engine = scores()
    engine[:4] = np.roll(engine[:4], 1, axis=1)
    judgement = judged({"y": scores()}, {"y": engine}, y=CLASSES)
    assert judgement.details["answers"][0]["score_drift"] == 0
    assert judgement.details["answers"][0]["changed"] == 4 / N


def test_a_spot_check_finds_a_broken_engine_in_few_samples() -> None:
    """16 golden samples pass if the engine agrees, even if all have the same class, but not if nothing is detected."""
    few = boxes(16)
    assert judged({"y": few}, {"y": few}, spot_check=True, y=BOXES).verdict is Verdict.PASSED
    dead = _changed("dead")[:16]
    assert judged({"y": few}, {"y": dead}, spot_check=True, y=BOXES).verdict is Verdict.FAILED
    assert judged({"y": dead}, {"y": dead}, spot_check=True, y=BOXES).verdict is Verdict.INCONCLUSIVE
    one_class = np.tile(scores()[:1], (16, 1))
    assert judged({"y": one_class}, {"y": one_class}, spot_check=True, y=CLASSES).verdict is Verdict.PASSED


def test_dead_scores_fail_and_their_answers_are_in_the_details() -> None:
    """If the scores of an engine are dead, the reason names them, and the details have the answers that changed."""
    engine = {"y": np.zeros((N, 4), np.float32), "z": scores()}
    judgement = judged({"y": scores(), "z": scores()}, engine, {"no_disagreement_in": 48}, y=CLASSES, z=CLASSES)
    assert judgement.verdict is Verdict.FAILED
    assert "constant in the engine" in judgement.reason
    assert [one["changed"] for one in judgement.details["answers"]] == [1.0, 0.0]
    assert "weaker_claim" not in judgement.details
