"""Calibration uses each step with the reference's state before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.load import load
from hil.onnx_files.declared import declared_signature
from hil.session.unrolled import spread, unrolled
from tests import recurrent
from tests.datasets.test_sequence_folder import opened

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("lengths", [None, [7, 3, 9, 5]])
def test_each_step_is_a_sample_with_its_state(tmp_path: Path, lengths: list[int] | None) -> None:
    """Each step is a sample with its state, in order; the second call reads the stored steps."""
    x = recurrent.inputs(4, 9)
    h = np.random.default_rng(0).normal(size=(4, 1, 4)).astype(np.float32)
    arrays: dict[str, Any] = {"x": x, "h": h} if lengths is None else {"x": x, "h": h, "lengths": np.array(lengths)}
    np.savez(tmp_path / "data.npz", **arrays)
    data = opened(tmp_path, "data.npz")
    spec = load(tmp_path / "hil.toml").spec.models["m"]
    signature = declared_signature(tmp_path / "m.onnx", spec, "m")
    made = [unrolled(tmp_path / "m.onnx", signature, data, tmp_path / "cache", "m") for _ in range(2)]
    counts = [9] * 4 if lengths is None else lengths
    assert made[0].count == sum(counts)
    assert made[0].digest == made[1].digest != data.digest
    samples = next(made[0].batches(sum(counts)))
    start = 0
    for sequence, count in enumerate(counts):
        states = recurrent.expected(x[sequence, :count, None], h[sequence][:, None])["hn"][:, :, 0]
        before = np.concatenate([h[sequence][None], states[:-1]])
        np.testing.assert_allclose(samples.inputs["h"][start : start + count], before, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(samples.inputs["x"][start : start + count], x[sequence, :count])
        start += count
    assert samples.feeds["h"].shape == (1, sum(counts), 4)


@given(st.lists(st.integers(2, 50), min_size=1, max_size=12), st.integers(1, 700))
def test_steps_are_spread_over_all_sequences_and_reach_their_ends(lengths: list[int], samples: int) -> None:
    """The requested number of distinct steps is spread by length over all sequences, ends included."""
    chosen = spread(lengths, samples)
    used, total = min(samples, sum(lengths)), sum(lengths)
    assert sum(map(len, chosen)) == used
    for steps, length in zip(chosen, lengths, strict=True):
        assert abs(len(steps) - used * length / total) < 1
        assert sorted(set(steps)) == list(steps)
        assert all(0 <= step < length for step in steps)
        if len(steps) > 1:
            assert steps[-1] == length - 1
            assert steps[0] < length / len(steps)


def test_single_steps_of_many_sequences_are_not_all_as_late() -> None:
    """If fewer steps than sequences are requested, the chosen steps are early, late and in between."""
    chosen = spread([100] * 40, 20)
    assert [len(steps) for steps in chosen] == [0, 1] * 20
    places = np.concatenate(chosen)
    assert min(np.histogram(places, 4, (0, 100))[0]) >= 4


def test_some_steps_are_those_of_all_steps(tmp_path: Path) -> None:
    """Selected steps have the same states as among all steps; each number of steps has its own file."""
    x = recurrent.inputs(4, 9)
    np.savez(tmp_path / "data.npz", x=x)
    data = opened(tmp_path, "data.npz")
    signature = declared_signature(tmp_path / "m.onnx", load(tmp_path / "hil.toml").spec.models["m"], "m")
    whole, *parts = (
        unrolled(tmp_path / "m.onnx", signature, data, tmp_path / "cache", "m", samples=samples)
        for samples in (None, 10, 7, 99)
    )
    assert [part.count for part in parts] == [10, 7, 36]
    everything = next(whole.batches(36)).inputs
    for part in parts[:2]:
        places = np.concatenate([9 * at + steps for at, steps in enumerate(spread([9] * 4, part.count))])
        inputs = next(part.batches(part.count)).inputs
        for name in ("x", "h"):
            np.testing.assert_array_equal(inputs[name], everything[name][places])
