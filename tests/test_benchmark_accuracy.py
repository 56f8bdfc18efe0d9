from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from benchmarks.accuracy import graphs
from benchmarks.accuracy.case import Case
from benchmarks.accuracy.damage import PLACED
from benchmarks.accuracy.faults import FAULTS
from benchmarks.accuracy.judges import JUDGES, POLYGRAPHY
from benchmarks.accuracy.left_out import band, left_out
from benchmarks.accuracy.sound import SOUND
from benchmarks.accuracy.subjects import ROOT, SUBJECTS
from benchmarks.accuracy.truth import a_class, boxes, region, text, vector
from benchmarks.accuracy.variants import Store, Variant, truth_of, variants

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def case(name: str) -> Case:
    """Return one of the bundled models."""
    return Case(name, SUBJECTS[name], SUBJECTS[name].reference(ROOT), seed=5)


def test_text_changes_by_its_share_of_characters() -> None:
    """Equal classes in a row are one character, unless a blank separates them; one of three characters is a third."""
    steps = np.eye(4)[[[1, 1, 0, 1, 2, 0], [1, 0, 0, 2, 2, 0]]]
    ours, theirs = text("t").answers({"t": steps})
    assert (ours, theirs) == ((1, 1, 2), (1, 2))
    assert text("t").changed(ours, theirs) == pytest.approx(1 / 3)
    assert text("t").changed((), ()) == 0
    assert text("t").telling([(), ours]) == 0.5


def detections(*rows: tuple[float, float, int, float]) -> dict[str, NDArray[Any]]:
    """Return the outputs of one image with boxes of side 10 at x, y, with a class and its score."""
    scores = np.zeros((1, len(rows), 3))
    for number, (_, _, kind, score) in enumerate(rows):
        scores[0, number, kind] = score
    return {"boxes": np.array([[[x, y, x + 10, y + 10] for x, y, *_ in rows]]), "scores": scores}


@pytest.mark.parametrize(
    ("box", "changed"),
    [((2, 0, 1, 0.9), 0), ((6, 0, 1, 0.9), 1), ((0, 0, 2, 0.9), 1), ((0, 0, 1, 0.2), 1), ((0, 0, 1, 0.3), 0)],
)
def test_a_box_changes_by_place_class_or_score(box: tuple[float, float, int, float], changed: float) -> None:
    """A box is the same if it overlaps by half, has the class, and its score reaches the threshold."""
    (ours,) = boxes().answers(detections((0, 0, 1, 0.9)))
    (theirs,) = boxes().answers(detections(box))
    assert boxes().changed(ours, theirs) == changed


def test_one_box_is_not_matched_twice() -> None:
    """A second box of another class at the same place counts as changed; overlapping boxes of one class are one box."""
    (ours,) = boxes().answers(detections((0, 0, 1, 0.9), (1, 0, 1, 0.8)))
    (theirs,) = boxes().answers(detections((0, 0, 1, 0.9), (0, 0, 2, 0.9)))
    assert len(ours[0]) == 1
    assert boxes().changed(ours, theirs) == pytest.approx(1 / 3)


def test_answers_that_say_nothing_are_no_truth() -> None:
    """Samples of one class, empty masks and images without boxes do not decide whether an engine is sound."""
    assert a_class("c").telling([3] * 9 + [1]) == 0
    assert region("m").telling([np.zeros((4, 4), bool)]) == 0
    assert boxes().telling(boxes().answers(detections((0, 0, 1, 0.1)))) == 0
    assert vector().telling([np.zeros(3)] * 4) == 0
    assert truth_of(variants("digits", 1)[0], {"changed": 0.0, "telling": 0.5}) == "untold"


def test_a_value_that_is_not_finite_has_changed() -> None:
    """An answer with NaN counts as changed."""
    ours, theirs = np.array([[0.1, 0.9]]), np.array([[np.nan, np.nan]])
    assert a_class("c").answers({"c": theirs}) != a_class("c").answers({"c": ours})
    one = vector()
    (first, _), (second, _) = (
        one.answers({"v": np.array([[1.0], [2.0]])}),
        one.answers({"v": np.full((2, 1), np.nan)}),
    )
    assert one.changed(first, second) == 1


@pytest.mark.parametrize("name", ["digits", "arm", "scenes"])
def test_a_sound_change_keeps_the_outputs(name: str) -> None:
    """Each sound change alters the graph and keeps the outputs, up to rounding."""
    one = case(name)
    arrays = {key: values[:4] for key, values in one.calibration.items()}
    ours, applied = graphs.run(one.model, arrays), 0
    for kind, (precision, change) in SOUND.items():
        made = change(one, one.random(kind)) if precision == "fp32" else None
        if made is not None:
            applied += 1
            assert made.SerializeToString() != one.model.SerializeToString(), kind
            theirs = graphs.run(made, arrays)
            assert all(np.allclose(ours[key], theirs[key], rtol=1e-3, atol=1e-4) for key in ours), kind
    assert applied >= 6


@pytest.mark.parametrize("name", ["digits", "arm", "scenes"])
def test_damage_changes_the_outputs(name: str) -> None:
    """Each kind of damage that a model can have changes its outputs, and one seed does the same damage twice."""
    one = case(name)
    arrays = {key: values[:4] for key, values in one.calibration.items()}
    ours, applied = graphs.run(one.model, arrays), 0
    for kind, damage in {**PLACED, **FAULTS}.items():
        made = damage(one, one.simple, one.random(kind))
        if made is None:
            continue
        applied += 1
        theirs = graphs.run(made, arrays)
        assert any(not np.array_equal(ours[key], theirs[key]) for key in ours) or kind == "one scale saturated", kind
        again = damage(one, one.simple, one.random(kind))
        assert again is not None
        assert made.SerializeToString() == again.SerializeToString(), kind
    assert applied >= 16


def test_dead_scores_leave_the_boxes() -> None:
    """Damage to scores changes nothing but scores."""
    one = case("scenes")
    arrays = {key: values[:4] for key, values in one.calibration.items()}
    made = PLACED["dead scores"](one, one.simple, one.random(""))
    assert made is not None
    ours, theirs = graphs.run(one.model, arrays), graphs.run(made, arrays)
    assert np.allclose(ours["boxes"], theirs["boxes"])
    assert not theirs["scores"].any()


def test_every_model_has_enough_kinds_of_change() -> None:
    """There are at least 12 kinds of sound change, and 16 kinds of damage that every seed includes."""
    made = variants("320n", 1)
    assert len({one.kind for one in made if one.group == "sound"}) >= 12
    assert len({one.kind for one in made if one.group != "sound"}) >= 16
    assert len({one.file for one in made}) == len(made)
    assert [one.int8 for one in made] != [one.int8 for one in variants("320n", 2)]


def test_outputs_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored change is read again without being built, with the same facts and outputs."""
    change = Variant("digits", "placed", "dead scores", ("fp16",))
    first = Store(tmp_path, ROOT, "digits", 3, 16)
    facts, outputs = first.facts(change), first.outputs(change)
    assert facts["changed"] > 0.5
    monkeypatch.setattr(graphs, "run", None)
    again = Store(tmp_path, ROOT, "digits", 3, 16)
    assert again.facts(change) == facts
    assert np.array_equal(again.outputs(change)["logits"], outputs["logits"])


def test_truth_and_judges_see_different_samples(tmp_path: Path) -> None:
    """No sample that decides the truth is shown to a judge."""
    truth, judged = Store(tmp_path, ROOT, "digits", 3, 64).data
    both = np.concatenate([truth["image"], judged["image"]]).reshape(128, -1)
    assert len(np.unique(both, axis=0)) == 128


@pytest.mark.parametrize("factor", [1.0, 1 + 0.9 * POLYGRAPHY, 1 + 1.1 * POLYGRAPHY, 0.0])
def test_the_rule_of_polygraphy_is_its_own(factor: float) -> None:
    """The copy of Polygraphy's rule in the benchmark gives the verdict of the installed package."""
    pytest.importorskip("polygraphy")
    from benchmarks.parity.holes import theirs

    ours = {"a": np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)}
    engine = {"a": (ours["a"] * np.float32(factor)).astype(np.float32)}
    verdict = JUDGES["Polygraphy"]("fp32", SUBJECTS["digits"], ours, engine).verdict
    assert (verdict == "passed") is theirs({"reference": [ours], "engine": [engine]})


def test_earlier_rules_pass_an_engine_of_dead_scores() -> None:
    """Scores of zero beside large boxes pass by the earlier rules."""
    random = np.random.default_rng(0)
    table = np.concatenate([random.uniform(0, 320, (8, 4, 100)), random.uniform(0, 1, (8, 18, 100))], 1)
    dead = table.copy()
    dead[:, 4:] = 0
    judge = JUDGES["earlier rules"]
    assert judge("int8", SUBJECTS["320n"], {"o": table}, {"o": dead}).verdict == "passed"
    assert judge("int8", SUBJECTS["320n"], {"o": table}, {"o": table}).verdict == "passed"
    assert judge("int8", SUBJECTS["320n"], {"o": table}, {"o": table * 0}).verdict == "failed"


@pytest.mark.parametrize(
    ("errors", "limits"),
    [
        ([(0.01, True), (0.04, False)], (0.02, 0.02)),
        ([(0.3, True), (0.2, False)], (np.nextafter(0.2, 0), 0.3)),
        ([(0.3, True)], (0.3, 0.3)),
        ([(0.3, True), (np.inf, False)], (0.3, 0.3)),
    ],
)
def test_limits_from_errors(errors: list[tuple[float, bool]], limits: tuple[float, float]) -> None:
    """The limit lies between sound and broken errors; if these overlap, errors between two limits stay undecided."""
    assert band(errors) == pytest.approx(limits)


def test_a_left_out_model_does_not_set_its_own_limits() -> None:
    """By other models' limits, a broken engine with a small error passes, and a sound one with a large error fails."""
    rows = [
        {"model": model, "precision": "int8", "truth": truth, "slice_error": error}
        for model, truth, error in [
            ("a", "sound", 0.1),
            ("a", "broken", 0.9),
            ("a", "broken", None),
            ("b", "sound", 0.5),
            ("b", "broken", 0.01),
        ]
    ]
    first, second = (one for one in left_out(rows) if one["precision"] == "int8")
    assert (first["broken passed"], first["sound failed"], first["open"], first["engines"]) == (0, 0, 1, 3)
    assert (second["broken passed"], second["sound failed"], second["open"], second["engines"]) == (1, 1, 0, 2)
