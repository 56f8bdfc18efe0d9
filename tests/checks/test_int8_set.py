from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hil.checks import int8_set
from hil.checks.int8_set import Classes, InputFacts, SetFacts, Spread
from hil.results import Verdict

LIKE = Spread(mean=0.3, deviation=0.4, low=0.0, high=1.0)
IMAGE = InputFacts("image", LIKE, LIKE)
EVEN = dict.fromkeys(range(10), 20)
GOOD = SetFacts(
    samples=100,
    distinct=100,
    constant=0,
    inputs=(IMAGE,),
    classes=Classes(EVEN, EVEN, "labels"),
    growth=((50, {"a": [0.1]}), (100, {"a": [0.11]})),
)


def test_a_good_set_passes() -> None:
    """Enough distinct samples of all classes, preprocessed alike, with settled ranges, pass."""
    judged = int8_set.calibration_set(GOOD)
    assert judged.verdict is Verdict.PASSED
    assert "10 classes, validation 10" in judged.reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"constant": 3}, "3 of 100 calibration samples are constant"),
        ({"distinct": 49}, "only 49 of 100 calibration samples differ"),
        ({"samples": 4, "distinct": 4}, "only 4 distinct calibration samples"),
        ({"samples": 0, "distinct": 0}, "only 0 distinct"),
        ({"inputs": (replace(IMAGE, far=((17, 50.0),)),)}, "sample 17 is an outlier: input 'image' reaches 50 times"),
        ({"inputs": (replace(IMAGE, calibration=Spread(76.0, 102.0, 0.0, 255.0)),)}, "is preprocessed differently"),
        ({"inputs": (replace(IMAGE, calibration=replace(LIKE, mean=0.7)),)}, "is preprocessed differently"),
        ({"inputs": (replace(IMAGE, calibration=replace(LIKE, deviation=0.0)),)}, "is preprocessed differently"),
        ({"classes": Classes({3: 100}, EVEN, "labels")}, "covers 1 of 10 classes"),
        ({"classes": Classes({77: 100}, EVEN, "labels")}, "covers 0 of 10 classes"),
        ({"growth": ((50, {"a": [0.1]}), (100, {"a": [0.25]}))}, "'a' moves by +150% from 50 to 100"),
        ({"growth": ((50, {"a": [0.1]}), (100, {"a": [0.04]}))}, "have not settled"),
    ],
)
def test_each_fault_of_a_set_fails(change: dict[str, Any], reason: str) -> None:
    """Each fault fails alone, and the reason names it."""
    judged = int8_set.calibration_set(replace(GOOD, **change))
    assert judged.verdict is Verdict.FAILED
    assert reason in judged.reason


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"inputs": ()}, Verdict.INCONCLUSIVE),
        ({"synthetic": True}, Verdict.WARNED),
        ({"growth": ()}, Verdict.WARNED),
        ({"growth": GOOD.growth[1:]}, Verdict.WARNED),
        ({"classes": None}, Verdict.PASSED),
        ({"constant": 2}, Verdict.PASSED),
    ],
)
def test_unobserved_facts_do_not_pass(change: dict[str, Any], verdict: Verdict) -> None:
    """Without inputs to compare the set is inconclusive, without growing sets it is a warning; classes are optional."""
    assert int8_set.calibration_set(replace(GOOD, **change)).verdict is verdict


def test_all_faults_are_listed_with_the_cause_first() -> None:
    """Of several faults the reason names the cause, and the details list all."""
    judged = int8_set.calibration_set(
        replace(GOOD, constant=100, distinct=1, classes=Classes({0: 100}, EVEN, "labels"))
    )
    assert "are constant" in judged.reason
    assert len(judged.details["faults"]) == 4


def test_coverage_is_compared_with_a_random_draw() -> None:
    """A calibration set may lack classes that a random draw of its size would lack too."""
    many = dict.fromkeys(range(1000), 10)
    assert 90 < int8_set.expected_classes(many, 100) < 100
    drawn = Classes(dict.fromkeys(range(95), 1), many, "labels")
    assert int8_set.calibration_set(replace(GOOD, classes=drawn)).verdict is Verdict.PASSED
    narrow = Classes(dict.fromkeys(range(20), 5), many, "labels")
    assert int8_set.calibration_set(replace(GOOD, classes=narrow)).verdict is Verdict.FAILED
