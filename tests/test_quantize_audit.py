"""Calibrating again, what flows beside the ranges, and ranking layers: on real small models."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.config.spec import CalibrationSpec
from hil.quantize import quantize, read_ranges
from hil.quantize.activations import known_tensors, observe
from hil.quantize.recalibrate import snapshots
from hil.quantize.sensitivity import Layer, proposed, sensitivity, sqnr
from tests.memory_data import MemoryData
from tests.models import convnet, images

if TYPE_CHECKING:
    from pathlib import Path

    from hil.runtimes import QdqLayout


def spec(**given: Any) -> CalibrationSpec:
    """A calibration table, min-max unless the test says otherwise."""
    return CalibrationSpec(**{"data": "memory", "method": "minmax", **given})


@pytest.mark.parametrize("layout", ["onnxruntime", "tensorrt"])
@pytest.mark.parametrize("method", ["entropy", "minmax", "percentile"])
@pytest.mark.parametrize("norm", [False, True])
def test_calibrating_again_gives_the_same_ranges(tmp_path: Path, layout: QdqLayout, method: str, norm: bool) -> None:
    """Bit for bit, of the very tensors of the model, with batch norms folded or without."""
    model, data = convnet(tmp_path / "m.onnx", norm=norm), MemoryData(image=images(100))
    made = read_ranges(quantize(model, tmp_path / "out", data, spec(method=method), layout=layout).path)
    taken = snapshots(model, data, spec(method=method), layout)
    assert taken[-1].ranges.scales == made.scales
    assert [one.samples for one in taken] == [32, 64, 100]
    assert set(made.scales) <= set().union(*known_tensors(model))


def test_few_samples_are_halved_by_a_run_of_their_own(tmp_path: Path) -> None:
    """What is fed at once is not told apart; a model of a fixed batch may have no half."""
    model = convnet(tmp_path / "m.onnx")
    assert [one.samples for one in snapshots(model, MemoryData(image=images(20)), spec(), "onnxruntime")] == [10, 20]
    fixed = convnet(tmp_path / "f.onnx", batch=20)
    assert [one.samples for one in snapshots(fixed, MemoryData(image=images(20)), spec(), "onnxruntime")] == [20]


def test_what_flows_is_counted_beyond_each_range(tmp_path: Path) -> None:
    """Rate and energy are those of NumPy; a tensor that a ReLU takes is judged behind it."""
    model, shown = convnet(tmp_path / "m.onnx"), images(50)
    seen = observe(model, {"image": 1.0, "mapped": 2.0, "nowhere": 1.0, "kernel": 1.0}, MemoryData(image=shown))
    use = seen.uses["image"]
    size = np.abs(shown.astype(np.float64))
    assert use.beyond == np.count_nonzero(size > 1 + 1 / 254)
    assert use.lost == pytest.approx(np.square(size[size > 1 + 1 / 254] - 1).sum())
    assert use.energy == pytest.approx(np.square(size).sum())
    assert (use.n, use.peak, seen.samples) == (shown.size, size.max(), 50)
    relu = observe(model, {"lit": 2.0}, MemoryData(image=shown)).uses["lit"]
    assert vars(seen.uses["mapped"]) == vars(relu)
    assert seen.unknown == ("nowhere",)


def test_large_data_is_looked_at_here_and_there(tmp_path: Path) -> None:
    """At most 512 samples or a feed more, from the whole of the set."""
    data = MemoryData(image=np.repeat(np.arange(2000, dtype=np.float32), 72).reshape(2000, 2, 6, 6))
    seen = observe(convnet(tmp_path / "m.onnx"), {"image": 1e9}, data)
    assert 400 <= seen.samples <= 544
    assert seen.uses["image"].peak > 1800


def test_layers_are_ranked_and_a_proposal_is_measured(tmp_path: Path) -> None:
    """A layer whose weights INT8 cannot hold comes first, is proposed, and keeping it really helps."""
    model, data = convnet(tmp_path / "m.onnx"), MemoryData(image=images(64))
    found = sensitivity(model, data, MemoryData(image=images(64, seed=1)), spec(), "onnxruntime")
    assert {layer.node for layer in found.layers} == {"conv", "head"}
    assert [layer.noise for layer in found.layers] == sorted((one.noise for one in found.layers), reverse=True)
    assert found.keep == (found.layers[0].node,)
    assert found.kept is not None
    assert found.kept.noise < found.int8.noise
    assert found.fp32.noise == 0
    assert min(found.fp32.seconds, found.int8.seconds, found.kept.seconds) > 0


def test_a_proposal_takes_few_layers_and_predicts_what_is_left() -> None:
    """The most noise first, a quarter of the layers at most, until a fourth is left; of no noise, none."""
    layers = [Layer(name, "Conv", noise, 1) for name, noise in zip("abcdefgh", [4, 3, 1, 1, 1, 0, 0, 0], strict=True)]
    assert proposed(layers, 20.0) == (("a", "b"), 6.0)
    assert proposed(layers[:3], 8.0) == (("a",), 4.0)
    assert proposed([Layer("a", "Conv", 9, 1), Layer("b", "Conv", 1, 1)] * 4, 1.0)[0] == ("a", "a")
    assert proposed([Layer("a", "Conv", 0.0, 1)] * 2, 0.0) == ((), 0.0)
    assert proposed([Layer("a", "Conv", 1.0, 1)], 1.0) == ((), 1.0)  # without its only layer nothing is INT8
    assert sqnr(0.01) == pytest.approx(20)
    assert math.isinf(sqnr(0.0))
