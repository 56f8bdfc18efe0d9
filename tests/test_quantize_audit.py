"""Calibrating again, activations outside of their ranges, and ranking layers, on small real models."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hil.config.spec import CalibrationSpec
from hil.errors import UserError
from hil.quantize import quantize, read_ranges
from hil.quantize.activations import known_tensors, observe
from hil.quantize.recalibrate import snapshots
from hil.quantize.sensitivity import Layer, proposed, sensitivity, sqnr
from tests.memory_data import MemoryData
from tests.models import convnet, images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.datasets import Batch
    from hil.runtimes import QdqLayout


class Refusing(MemoryData):
    """Data whose samples cannot be read again."""

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        raise UserError(f"refused: batches of {size}, limit {limit}")


def spec(**changes: Any) -> CalibrationSpec:
    """Return a calibration table, min-max unless the test sets another method."""
    return CalibrationSpec(**{"data": "memory", "method": "minmax", **changes})


@pytest.mark.parametrize("layout", ["onnxruntime", "tensorrt"])
@pytest.mark.parametrize(("method", "norm"), [("entropy", False), ("minmax", True), ("percentile", False)])
def test_calibrating_again_gives_the_same_ranges(tmp_path: Path, layout: QdqLayout, method: str, norm: bool) -> None:
    """A second calibration gives equal ranges, bit for bit, for tensors of the model only, also with a batch norm."""
    model, data = convnet(tmp_path / "m.onnx", norm=norm), MemoryData(image=images(100))
    made = read_ranges(quantize(model, tmp_path / "out", data, spec(method=method), layout=layout).path)
    history = snapshots(model, data, spec(method=method), layout)
    assert history[-1].ranges.scales == made.scales
    assert [snapshot.samples for snapshot in history] == [32, 64, 100]
    assert set(made.scales) <= set().union(*known_tensors(model))


def test_half_of_few_samples_is_calibrated_separately(tmp_path: Path) -> None:
    """Ranges are recorded at half and at all of the samples; a single batch of fixed size is recorded only once."""
    data = MemoryData(image=images(20))

    def counts(path: Path) -> list[int]:
        return [snapshot.samples for snapshot in snapshots(path, data, spec(), "onnxruntime")]

    assert counts(convnet(tmp_path / "m.onnx")) == [10, 20]
    data.stride = 20
    assert counts(convnet(tmp_path / "f.onnx", batch=20)) == [20]


def test_activations_beyond_each_range_are_counted(tmp_path: Path) -> None:
    """Count and energy equal NumPy's; a tensor that only a ReLU reads is measured behind the ReLU."""
    model, shown = convnet(tmp_path / "m.onnx"), images(50)
    flow = observe(model, {"image": 1.0, "mapped": 2.0, "nowhere": 1.0, "kernel": 1.0}, MemoryData(image=shown))
    use = flow.uses["image"]
    magnitudes = np.abs(shown.astype(np.float64))
    assert use.beyond == np.count_nonzero(magnitudes > 1 + 1 / 254)
    assert use.lost == pytest.approx(np.square(magnitudes[magnitudes > 1 + 1 / 254] - 1).sum())
    assert use.energy == pytest.approx(np.square(magnitudes).sum())
    assert (use.n, use.peak, flow.samples) == (shown.size, magnitudes.max(), 50)
    relu = observe(model, {"lit": 2.0}, MemoryData(image=shown)).uses["lit"]
    assert vars(flow.uses["mapped"]) == vars(relu)
    assert flow.unknown == ("nowhere",)


def test_a_mistake_in_the_data_keeps_its_message(tmp_path: Path) -> None:
    """A ``UserError`` of the data set is not reported as a failure of ONNX Runtime."""
    with pytest.raises(UserError, match=r"^refused: batches of \d+, limit \d+$"):
        observe(convnet(tmp_path / "m.onnx"), {"image": 1.0}, Refusing(image=images(4)))


def test_large_data_is_sampled_evenly(tmp_path: Path) -> None:
    """About 512 samples run, from the whole data set."""
    data = MemoryData(image=np.repeat(np.arange(2000, dtype=np.float32), 72).reshape(2000, 2, 6, 6))
    flow = observe(convnet(tmp_path / "m.onnx"), {"image": 1e9}, data)
    assert 400 <= flow.samples <= 544
    assert flow.uses["image"].peak > 1800


def test_layers_are_ranked_and_a_proposal_is_measured(tmp_path: Path) -> None:
    """Layers are ranked by their noise, and the noise measured with the noisiest layer in float is lower."""
    model, data = convnet(tmp_path / "m.onnx"), MemoryData(image=images(64))
    result = sensitivity(model, data, MemoryData(image=images(64, seed=1)), spec(), "onnxruntime")
    assert {layer.node for layer in result.layers} == {"conv", "head"}
    assert [layer.noise for layer in result.layers] == sorted((layer.noise for layer in result.layers), reverse=True)
    assert result.keep == (result.layers[0].node,)
    assert result.kept is not None
    assert result.kept.noise < result.int8.noise
    assert result.fp32.noise == 0
    assert min(result.fp32.seconds, result.int8.seconds, result.kept.seconds) > 0


def test_a_proposal_has_few_layers_and_a_predicted_noise() -> None:
    """The noisiest layers are proposed, a quarter of all at most, until a quarter of the noise remains."""
    layers = [Layer(name, "Conv", noise, 1) for name, noise in zip("abcdefgh", [4, 3, 1, 1, 1, 0, 0, 0], strict=True)]
    assert proposed(layers, 20.0) == (("a", "b"), 6.0)
    assert proposed(layers[:3], 8.0) == (("a",), 4.0)
    assert proposed([Layer("a", "Conv", 9, 1), Layer("b", "Conv", 1, 1)] * 4, 1.0)[0] == ("a", "a")
    assert proposed([Layer("a", "Conv", 0.0, 1)] * 2, 0.0) == ((), 0.0)
    assert proposed([Layer("a", "Conv", 1.0, 1)], 1.0) == ((), 1.0)  # without its only layer, nothing would be INT8
    assert sqnr(0.01) == pytest.approx(20)
    assert math.isinf(sqnr(0.0))
