"""Masks of scores: a constant such as -1e9 sets no scale, in whatever form the exporter wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from hil.agent.runtimes.onnxruntime import open_session
from hil.checks.comparison import Comparison
from hil.config.spec import CalibrationSpec, TolerancesSpec
from hil.quantize import quantize, read_ranges
from hil.results import Verdict
from tests.memory_data import MemoryData
from tests.models import images

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    Array = np.ndarray[Any, Any]

FORMS = {
    "none": "masked = Identity(scores)",
    "-1e9 times the inverse": """
        inverse = Sub(one, float_mask)
        bias = Mul(inverse, large)
        masked = Add(scores, bias)""",
    "chosen": """
        some = Cast<to = 9>(float_mask)
        masked = Where(some, scores, large)""",
    "prepared": """
        some = Cast<to = 9>(float_mask)
        bias = Where(some, zero, large)
        masked = Add(scores, bias)""",
    "subtracted": """
        inverse = Sub(one, float_mask)
        bias = Mul(large, inverse)
        positive = Neg(bias)
        masked = Sub(scores, positive)""",
    "filled": """
        size = Shape(float_mask)
        all = Expand(large, size)
        some = Cast<to = 9>(float_mask)
        masked = Where(some, scores, all)""",
}
LOWEST = float(np.finfo(np.float32).min)
METHODS = ("minmax", "percentile", "entropy")
SIZE, PRODUCTS = 16, 5


def attention(path: Path, form: str, large: float) -> Path:
    """Write attention of one head over ``x`` [batch, 8, 16] with ``mask`` [batch, 8], applied as ``form`` of ``FORMS``.

    With a ``form`` that is not in ``FORMS``, ``mask`` is an input of type float and is added.
    """
    taken = "int64" if form in FORMS else "float"
    text = f"""<ir_version: 9, opset_import: ["": 17]>
    g (float[batch, 8, {SIZE}] x, {taken}[batch, 8] mask) => (float[batch, 8, {SIZE}] y) {{
        one = Constant<value = float {{1}}>()
        zero = Constant<value = float {{0}}>()
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        kt = Transpose<perm = [0, 2, 1]>(k)
        scores = MatMul(q, kt)
        axes = Constant<value = int64[1] {{1}}>()
        wide = Unsqueeze(mask, axes)
        float_mask = Cast<to = 1>(wide)
        {FORMS.get(form, "masked = Add(scores, wide)")}
        p = Softmax<axis = -1>(masked)
        y = MatMul(p, v)
    }}"""
    model = parser.parse_model(text)
    random = np.random.default_rng(5)
    weights = {name: random.normal(0, SIZE**-0.5, (SIZE, SIZE)).astype(np.float32) for name in ("wq", "wk", "wv")}
    weights["large"] = np.array(large, np.float32)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.save(model, path)
    return path


def samples(count: int, seed: int) -> dict[str, Array]:
    """Return inputs of ``attention``. The first 32 samples, one feed of the calibrator, are not masked."""
    random = np.random.default_rng(seed)
    mask = (np.arange(8) < random.integers(3, 9, (count, 1))).astype(np.int64)
    mask[:32] = 1
    return {"x": random.normal(size=(count, 8, SIZE)).astype(np.float32), "mask": mask}


def judged(model: Path, int8: Path, feeds: dict[str, Array]) -> Any:
    """Return the judgement of parity of an INT8 model with ``model``."""
    expected, obtained = (
        [("y", open_session(str(path), onnxruntime.SessionOptions()).run(None, feeds)[0])] for path in (model, int8)
    )
    return Comparison("int8", TolerancesSpec(slice_error=0.15)).consume([expected], [obtained]).judge()


def check_mask(model: Path, folder: Path, method: str, data: dict[str, Array], fresh: dict[str, Array]) -> None:
    """Quantize ``model``; no scale may come from the mask, and parity must pass."""
    spec = CalibrationSpec.model_validate({"data": "memory", "method": method})
    made = quantize(model, folder / "out", MemoryData(x=data["x"], mask=data["mask"]), spec)
    assert len(made.provenance["quantized"]) == PRODUCTS
    scales = read_ranges(made.path).scales
    assert "scores" in scales
    assert max(max(values) for values in scales.values()) < 1
    judgement = judged(model, made.path, fresh)
    assert judgement.verdict is Verdict.PASSED, judgement.reason


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_mask(tmp_path: Path, form: str) -> None:
    """In each form, the mask sets no scale, the products before and after it run in INT8, and parity passes."""
    check_mask(attention(tmp_path / "m.onnx", form, -1e9), tmp_path, "minmax", samples(96, 1), samples(64, 2))


@pytest.mark.parametrize(
    ("large", "method"),
    [(-1e4, "entropy"), (-1e9, "percentile"), (LOWEST, "minmax"), *((-np.inf, m) for m in METHODS)],
)
def test_each_constant(tmp_path: Path, large: float, method: str) -> None:
    """A mask with any constant, minus infinity included, sets no scale, even if it first appears in a later feed."""
    check_mask(attention(tmp_path / "m.onnx", "filled", large), tmp_path, method, samples(96, 1), samples(64, 2))


def test_a_mask_that_is_fed(tmp_path: Path) -> None:
    """A float input with the mask's constants sets no scale either."""
    model = attention(tmp_path / "m.onnx", "fed", 0)
    data, fresh = samples(96, 1), samples(64, 2)
    for arrays in (data, fresh):
        arrays["mask"] = np.where(arrays["mask"], 0, -1e9).astype(np.float32)[::-1]
    check_mask(model, tmp_path, "percentile", data, fresh)


def test_a_padding_before_a_maximum(tmp_path: Path) -> None:
    """The lowest float32 that pads a maximum pool, as TensorFlow's exporter writes it, sets no scale."""
    text = """<ir_version: 9, opset_import: ["": 17]>
    g (float[batch, 2, 6, 6] image) => (float[batch, 4] logits) {
        mapped = Conv<kernel_shape = [3, 3]>(image, kernel)
        pads = Constant<value = int64[8] {0, 0, 0, 0, 0, 0, 1, 1}>()
        padded = Pad(mapped, pads, lowest)
        pooled = MaxPool<kernel_shape = [2, 2]>(padded)
        flat = Flatten(pooled)
        logits = MatMul(flat, dense)
    }"""
    model = parser.parse_model(text)
    random = np.random.default_rng(3)
    kernel, dense = random.normal(size=(4, 2, 3, 3)), random.normal(size=(64, 4))
    lowest = np.array(LOWEST)
    weights = {"kernel": kernel, "dense": dense, "lowest": lowest}
    model.graph.initializer.extend(numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items())
    onnx.save(model, tmp_path / "m.onnx")
    made = quantize(tmp_path / "m.onnx", tmp_path / "out", MemoryData(image=images(64)), CalibrationSpec(data="memory"))
    assert len(made.provenance["quantized"]) == len(("mapped", "logits"))
    assert max(max(values) for values in read_ranges(made.path).scales.values()) < 1
    assert judged(tmp_path / "m.onnx", made.path, {"image": images(32, seed=1)}).verdict is Verdict.PASSED
