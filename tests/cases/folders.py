"""Small models and data of kinds that often go wrong, each a folder as a user would have it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper, parser

from tests.models import externalize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    Array = np.ndarray[Any, Any]

SAMPLES = 64
HEAD = '<ir_version: 9, opset_import: ["": 17, "trt": 1, "pkg": 1]>\n'
IR3 = '<ir_version: 3, opset_import: ["": 9]>\n'


def normal(*shape: int, dtype: str = "float32") -> Callable[[np.random.Generator], Array]:
    """Return a function that draws an array of normally distributed values."""
    return lambda random: random.normal(size=shape).astype(dtype)


def varying(*shape: int) -> Callable[[np.random.Generator], Array]:
    """Return a function that draws a float32 array of normally distributed values, each time of a random amplitude."""
    return lambda random: (random.normal(size=shape) * random.uniform(0.2, 2)).astype(np.float32)


def constant(value: float, *shape: int, dtype: str = "float32") -> Callable[[np.random.Generator], Array]:
    """Return a function that returns an array of one value."""
    return lambda _: np.full(shape, value, dtype)


@dataclass(frozen=True)
class Case:
    """A model as ONNX text, its weights by shape or as arrays, and how one sample is drawn.

    ``lines`` are the lines of ``hil.toml`` that the model needs in addition to path, data and precisions.
    """

    text: str
    draws: Mapping[str, Callable[[np.random.Generator], Array]]
    weights: Mapping[str, Sequence[int] | Array] = field(default_factory=dict)
    lines: str = ""
    precisions: tuple[str, ...] = ("fp32", "int8")
    dtype: str = "float32"
    method: str = "percentile"
    external: bool = False
    generated: bool = False

    def model(self) -> onnx.ModelProto:
        """Return the model."""
        random = np.random.default_rng(3)
        model = parser.parse_model((self.text if self.text.startswith("<") else HEAD + self.text).strip())
        for name, one in self.weights.items():
            array = one if isinstance(one, np.ndarray) else random.normal(0, 0.5, tuple(one)).astype(self.dtype)
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        return model

    def samples(self, seed: int, count: int = SAMPLES) -> dict[str, Array]:
        """Return ``count`` samples, stacked along the first axis."""
        random = np.random.default_rng(seed)
        drawn = [{name: draw(random) for name, draw in self.draws.items()} for _ in range(count)]
        return {name: np.stack([one[name] for one in drawn]) for name in self.draws}

    def write(self, folder: Path, name: str) -> str:
        """Write the model and its data to ``folder``; return the tables of ``hil.toml`` for it."""
        folder.mkdir()
        onnx.save(self.model(), folder / "model.onnx")
        if self.external:
            externalize(folder / "model.onnx")
        data, calibration = "lengths:val", "lengths:cal"
        if not self.generated:
            data, calibration = f"{folder.name}/val.npz", f"{folder.name}/cal.npz"
            np.savez(folder / "val.npz", **self.samples(1))  # type: ignore[arg-type]  # no array is named allow_pickle
            np.savez(folder / "cal.npz", **self.samples(2))  # type: ignore[arg-type]  # no array is named allow_pickle
        precisions = ", ".join(f'"{one}"' for one in self.precisions)
        head = [f"[models.{name}]", f'path = "{folder.name}/model.onnx"', f'data = "{data}"']
        head.append(f"precisions = [{precisions}]")
        if "int8" in self.precisions:
            head.append(f'calibration = {{ data = "{calibration}", method = "{self.method}" }}')
        return "\n".join([*head, self.lines.replace("NAME", name).replace("FOLDER", folder.name), ""])


LENGTHS = """
import numpy as np


def drawn(seed):
    random = np.random.default_rng(seed)
    for _ in range(40):
        yield {"x": random.normal(size=(int(random.integers(3, 12)), 16)).astype(np.float32)}


def val():
    return drawn(1)


def cal():
    return drawn(2)
"""
"""A module of the project that yields samples of different length."""


def _image(random: np.random.Generator) -> Array:
    return random.integers(0, 256, (8, 8, 3)).astype(np.uint8)


def _boxes(random: np.random.Generator) -> Array:
    corner, size = random.uniform(0, 10, (20, 2)), random.uniform(0.1, 1, (20, 2))
    return np.concatenate([corner, corner + size], 1).astype(np.float32)


def _scores(random: np.random.Generator) -> Array:
    """Return scores [3, 20] that are up to 1 in about half of the samples, and up to 0.5 in the others."""
    return np.asarray(random.uniform(size=(3, 20)) * random.choice([0.5, 1]), np.float32)


def _mask(random: np.random.Generator) -> Array:
    return (np.arange(8) < random.integers(3, 9)).astype(np.int64)


SQUARE, TWO = {"w": (16, 16)}, {"w": (16, 16), "w2": (16, 8)}
MLP = "{ a = MatMul(x, w) b = Relu(a) y = MatMul(b, w2) }"
GRU: dict[str, Sequence[int] | Array] = {"W": (1, 24, 4), "R": (1, 24, 8), "B": (1, 48)}

DYNAMIC_HW = Case(
    """g (float[batch, 3, height, width] x) => (float[batch, 2, h2, w2] y) {
        a = Conv<pads = [1, 1, 1, 1]>(x, w1)
        b = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(a, w2)
        c = Relu(b)
        d = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(c, w3)
        u = Resize<mode = "nearest">(d, "", double)
        cat = Concat<axis = 1>(c, u)
        y = Conv<pads = [1, 1, 1, 1]>(cat, w4)
    }""",
    {"x": normal(3, 16, 16)},
    {
        "w1": (4, 3, 3, 3),
        "w2": (4, 4, 3, 3),
        "w3": (4, 4, 3, 3),
        "w4": (2, 8, 3, 3),
        "double": np.array([1, 1, 2, 2], np.float32),
    },
    "shapes = { height = [8, 16, 32], width = [8, 16, 32] }",
    ("fp32",),
)
"""A model for heights and widths that are multiples of 4; the reference refuses all others too."""

EXTERNAL = Case(
    "g (float[batch, 64] x) => (float[batch, 8] y) " + MLP,
    {"x": normal(64)},
    {"w": (64, 64), "w2": (64, 8)},
    external=True,
)
UINT8 = Case(
    """g (uint8[batch, 8, 8, 3] image) => (float[batch, 5] y) {
        f = Cast<to = 1>(image)
        t = Transpose<perm = [0, 3, 1, 2]>(f)
        n = Mul(t, k)
        c = Conv<pads = [1, 1, 1, 1]>(n, w)
        r = Relu(c)
        p = GlobalAveragePool(r)
        fl = Flatten(p)
        y = Gemm(fl, w2)
    }""",
    {"image": _image},
    {"k": np.array(1 / 255, np.float32), "w": (8, 3, 3, 3), "w2": (8, 5)},
    method="entropy",
)
NMS = Case(
    """g (float[1, 20, 4] boxes, float[1, 3, 20] scores) => (int64[n, 3] sel, float[n, 4] kept) {
        sel = NonMaxSuppression(boxes, scores, most, iou, least)
        two = Constant<value = int64 {2}>()
        first = Constant<value = int64[1] {0}>()
        index = Gather<axis = 1>(sel, two)
        own = Squeeze(boxes, first)
        kept = Gather<axis = 0>(own, index)
    }""",
    {"boxes": _boxes, "scores": _scores},
    {"most": np.array([5]), "iou": np.array([0.5], np.float32), "least": np.array([0.8], np.float32)},
    precisions=("fp32",),
)
NO_SHAPE = Case("g (float[batch, 16] x) => (float[] y) " + MLP, {"x": normal(16)}, TWO)
VARIABLE = Case(
    "g (float[batch, seq, 16] x) => (float[batch, seq, 8] y) " + MLP,
    {"x": normal(5, 16)},
    TWO,
    "shapes = { seq = [3, 8, 12] }",
    method="entropy",
    generated=True,
)
IR3_WEIGHTS: dict[str, Sequence[int] | Array] = {
    "w": (8, 3, 3, 3),
    "w2": (8, 5),
    "s": np.linspace(0.5, 1.5, 8, dtype=np.float32),
    "b": (8,),
    "mu": (8,),
    "va": np.linspace(1, 2, 8, dtype=np.float32),
}
IR3_CASE = Case(
    IR3
    + """g (float[N, 3, 8, 8] x, float[8, 3, 3, 3] w, float[8, 5] w2, float[8] s, float[8] b, float[8] mu, float[8] va)
    => (float[N, 5] y) {
        c = Conv<pads = [1, 1, 1, 1]>(x, w)
        bn = BatchNormalization(c, s, b, mu, va)
        r = Relu(bn)
        p = GlobalAveragePool(r)
        f = Flatten(p)
        y = MatMul(f, w2)
    }""",
    {"x": varying(3, 8, 8)},
    IR3_WEIGHTS,
)
MASK = Case(
    """g (float[batch, 8, 16] x, int64[batch, 8] mask) => (float[batch, 8, 16] y) {
        q = MatMul(x, wq)
        k = MatMul(x, wk)
        v = MatMul(x, wv)
        kt = Transpose<perm = [0, 2, 1]>(k)
        scores = MatMul(q, kt)
        one = Constant<value = float {1}>()
        axes = Constant<value = int64[1] {1}>()
        seen = Cast<to = 1>(mask)
        hidden = Sub(one, seen)
        bias = Mul(hidden, large)
        wide = Unsqueeze(bias, axes)
        masked = Add(scores, wide)
        p = Softmax<axis = -1>(masked)
        y = MatMul(p, v)
    }""",
    {"x": normal(8, 16), "mask": _mask},
    {"wq": (16, 16), "wk": (16, 16), "wv": (16, 16), "large": np.array(-1e9, np.float32)},
    method="minmax",
)
HALF = Case(
    "g (float16[batch, 16] x) => (float16[batch, 8] y) " + MLP, {"x": normal(16, dtype="float16")}, TWO, dtype="float16"
)
FUNCTION = Case(
    """g (float[batch, 16] x) => (float[batch, 8] y) { h = pkg.Lin(x, w) y = pkg.Lin(h, w2) }
    <domain: "pkg", opset_import: ["": 17]> Lin (a, b) => (o) { t = MatMul(a, b) o = Relu(t) }""",
    {"x": normal(16)},
    TWO,
    method="entropy",
)
VAD_TEXT = """g (float[batch, 64] input, float[batch, 32] state, int64 sr)
=> (float[batch, 1] output, float[batch, 32] stateN) {
    h = MatMul(input, w)
    rate = Cast<to = 1>(sr)
    s = Div(rate, k)
    hs = Mul(h, s)
    t = Tanh(hs)
    su = MatMul(state, u)
    stateN = Add(t, su)
    output = ReduceMean<axes = [1], keepdims = 1>(stateN)
}"""
VAD = Case(
    VAD_TEXT,
    {"input": normal(64), "state": normal(32), "sr": constant(16000, dtype="int64")},
    {"w": (64, 32), "u": (32, 32), "k": np.array(16000, np.float32)},
    method="entropy",
)
SIZES = Case(
    """g (float[batch, 3, 8, 8] x, float[2] orig_im_size) => (float[batch, 3, h, w0] y) {
        c = Conv<pads = [1, 1, 1, 1]>(x, w)
        first = Constant<value = float[2] {1, 3}>()
        all = Concat<axis = 0>(first, orig_im_size)
        size = Cast<to = 7>(all)
        y = Resize<mode = "nearest">(c, "", "", size)
    }""",
    {"x": normal(3, 8, 8), "orig_im_size": constant(16, 2)},
    {"w": (3, 3, 3, 3)},
)
GRU_CASE = Case(
    """g (float[seq, batch, 4] x, float[1, batch, 8] h0) => (float[seq, batch, 3] out, float[1, batch, 8] hn) {
        Y, hn = GRU<hidden_size = 8>(x, W, R, B, "", h0)
        one = Constant<value = int64[1] {1}>()
        ys = Squeeze(Y, one)
        out = MatMul(ys, wo)
    }""",
    {"x": normal(5, 4), "h0": normal(1, 8)},
    {**GRU, "wo": (8, 3)},
)
LAYERS = Case(
    """g (float[batch, seq, 4] x, float[2, batch, 8] h0) => (float[batch, seq, 8] out, float[2, batch, 8] hn) {
        xt = Transpose<perm = [1, 0, 2]>(x)
        zero = Constant<value = int64[1] {0}>()
        one = Constant<value = int64[1] {1}>()
        two = Constant<value = int64[1] {2}>()
        ha = Slice(h0, zero, one, zero)
        Y, ha1 = GRU<hidden_size = 8>(xt, W, R, B, "", ha)
        ys = Squeeze(Y, one)
        out = Transpose<perm = [1, 0, 2]>(ys)
        hb = Slice(h0, one, two, zero)
        hn = Concat<axis = 0>(ha1, hb)
    }""",
    {"x": normal(5, 4), "h0": normal(2, 8)},
    GRU,
    precisions=("fp32",),
)
PLUGIN = Case(
    "g (float[batch, 16] x) => (float[batch, 16] y) { a = MatMul(x, w) y = trt.MyPlugin_TRT(a) }",
    {"x": normal(16)},
    SQUARE,
    'deployed = "FOLDER/deployed.onnx"\nreference = "FOLDER/reference.npz"',
    ("fp32",),
)
CUSTOM = Case(
    "g (float[batch, 16] x) => (float[batch, 16] y) { a = MatMul(x, w) y = trt.EfficientNMS_TRT(a) }",
    {"x": normal(16)},
    SQUARE,
)
