"""Calibration sees each step with the state that the reference has before it, not a state of zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.config.load import load
from hil.onnx_files.declared import declared_signature
from hil.session.unrolled import unrolled
from tests import recurrent
from tests.datasets.test_sequence_folder import opened

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("lengths", [None, [7, 3, 9, 5]])
def test_each_step_is_a_sample_with_its_state(tmp_path: Path, lengths: list[int] | None) -> None:
    """In the order of sequences and steps, from the given state on; the second call reads the stored steps."""
    x = recurrent.inputs(4, 9)
    h = np.random.default_rng(0).normal(size=(4, 1, 4)).astype(np.float32)
    arrays: dict[str, Any] = {"x": x, "h": h} if lengths is None else {"x": x, "h": h, "lengths": np.array(lengths)}
    np.savez(tmp_path / "data.npz", allow_pickle=False, **arrays)
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
