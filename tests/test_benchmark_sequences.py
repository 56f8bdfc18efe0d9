from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.sequences import judging, planting, sound
from benchmarks.sequences.faults import FAULTS
from benchmarks.sequences.models import MAKERS, sequences
from benchmarks.sequences.runner import free_running, largest

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = {"fp32": 1e-3, "fp16": 0.1, "bf16": 0.3, "int8": 0.5}
"""Errors of sound variants over a short sequence, in standard deviations."""


@pytest.mark.parametrize("kind", sound.SOUND)
def test_a_sound_variant_computes_the_same(kind: str) -> None:
    """Each step of a sound variant gives the model's outputs, up to the rounding of its precision."""
    precision, change = sound.SOUND[kind]
    x = sequences(2, 5, steps=40)
    for name, make in MAKERS.items():
        model = make(3)
        graph = change(model, np.random.default_rng(1))
        if graph is not None:
            (ours,), (theirs,) = (free_running(model, [x], graph=one) for one in (None, graph))
            assert largest(ours, theirs) < LARGEST[precision], name


@pytest.mark.parametrize("name", MAKERS)
def test_a_model_is_stable_and_needs_its_state(name: str) -> None:
    """Outputs stay bounded over a long sequence, and the effect of a lost earlier state shrinks to under half."""
    model = MAKERS[name](4)
    x = sequences(1, 6, steps=300)
    (whole,) = free_running(model, [x])
    (late,) = free_running(model, [x[:, 100:]])
    assert np.abs(whole["y"]).max() < 100
    apart = np.abs(whole["y"][100:] - late["y"]).max(axis=(1, 2))
    assert apart[0] > 0.05
    assert apart[-1] < 0.5 * apart.max()


def test_a_seed_draws_the_same_cases_again() -> None:
    """Faults and variants depend only on the seed and the number, so that a case can be examined again."""
    for draw in (planting.draw_fault, planting.draw_sound):
        first, again, other = draw(1, 2), draw(1, 2), draw(2, 2)
        assert first.graph.SerializeToString() == again.graph.SerializeToString()
        assert np.array_equal(first.x, again.x)
        assert first.kind == other.kind
        assert not np.array_equal(first.x, other.x)


def test_a_variant_is_not_accused(tmp_path: Path) -> None:
    """The checks of sequences accuse no sound variant."""
    (row,) = judging.rows(tmp_path, [planting.draw_sound(5, 0)])
    assert (row["failed"], row["named"]) == (False, ""), row


NAMED = ("not reset", "exchanged", "wrong output", "last steps", "drift", "leaking")
"""The most common faults of programs that run sequences. Each must be found and named, whatever is drawn."""


@pytest.mark.parametrize("kind", NAMED)
def test_each_fault_of_a_runner_is_found_and_named(tmp_path: Path, kind: str) -> None:
    """States left over, exchanged, wrongly wired, leaking or drifting, and missing steps are found and named."""
    (row,) = judging.rows(tmp_path, [planting.draw_fault(11, list(FAULTS).index(kind))])
    assert (row["passed"], row["right"]) == (False, True), row


def test_sequences_that_share_a_state_are_found_without_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with one sequence in each call, a program with one state for all sequences fails the isolation check."""
    monkeypatch.setattr(judging, "BATCH", 1)
    (row,) = judging.rows(tmp_path, [planting.draw_fault(12, list(FAULTS).index("shared"))])
    assert row["verdicts"]["sequence.isolation"] == "failed"
    assert "share a state" in row["reasons"]["sequence.isolation"]
