"""Values that become sizes, indices or factors of a Resize are not rounded to INT8."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from hil.agent.runtimes.onnxruntime import open_session
from hil.config.spec import CalibrationSpec
from hil.quantize import quantize
from hil.quantize.size_values import size_nodes
from tests.memory_data import MemoryData
from tests.models import images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.datasets.dataset import Batch

WAYS = {
    "sizes": """
        same = Constant<value = float[2] {1, 8}>()
        all = Concat<axis = 0>(same, hw)
        whole = Cast<to = 7>(all)
        y = Resize<mode = "nearest">(c, "", "", whole)""",
    "factors": """
        same = Constant<value = float[2] {1, 1}>()
        sixth = Constant<value = float {0.166666672}>()
        by = Mul(hw, sixth)
        all = Concat<axis = 0>(same, by)
        y = Resize<mode = "nearest">(c, "", all)""",
}


class Sized(MemoryData):
    """Images, each with its original size; a call takes one image, without a batch axis."""

    def __init__(self, **inputs: np.ndarray) -> None:
        super().__init__(image=inputs["image"], hw=inputs["hw"])
        self.stride = 1

    def batches(self, size: int, limit: int | None = None) -> Iterator[Batch]:
        """Yield one image a batch."""
        for batch in super().batches(size, limit):
            yield replace(batch, fed={"image": batch.inputs["image"], "hw": batch.inputs["hw"][0]})


@pytest.mark.parametrize("way", WAYS)
def test_a_size_that_is_fed(tmp_path: Path, way: str) -> None:
    """The INT8 model returns the reference's shape for sizes that calibration lacked, and its Conv is INT8."""
    model = parser.parse_model(f"""<ir_version: 9, opset_import: ["": 17]>
    g (float[1, 2, 6, 6] image, float[2] hw) => (float[1, 8, h, w] y) {{
        c = Conv<pads = [1, 1, 1, 1]>(image, kernel)
        {WAYS[way]}
    }}""")
    kernel = np.random.default_rng(0).normal(size=(8, 2, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "kernel"))
    onnx.save(model, tmp_path / "m.onnx")
    data = Sized(image=images(32), hw=np.full((32, 2), 12, np.float32))
    made = quantize(tmp_path / "m.onnx", tmp_path / "out", data, CalibrationSpec(data="memory", method="percentile"))
    assert len(made.provenance["quantized"]) == 1
    feeds = {"image": images(1, seed=1), "hw": np.array([18, 24], np.float32)}
    shapes = [
        open_session(str(path), onnxruntime.SessionOptions()).run(["y"], feeds)[0].shape
        for path in (tmp_path / "m.onnx", made.path)
    ]
    assert shapes == [(1, 8, 18, 24)] * 2


def test_an_omitted_input_is_no_value() -> None:
    """An omitted output and an omitted input, which both have an empty name, do not count as one tensor."""
    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 17]>
    g (float[1, 2, 6, 6] x, float[4] scales) => (float[1, 2, h, w] y) {
        r = Relu(x)
        d, "" = Dropout(r)
        y = Resize<mode = "nearest">(d, "", scales)
    }""")
    model.graph.node[1].output[1] = ""
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    assert size_nodes(model) == []
