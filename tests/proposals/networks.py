"""Small networks with the signatures of the families that ``hil init`` recognizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, parser

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]


def save(path: Path, text: str, inputs: dict[str, list[int | str | None]] | None = None, **weights: Array) -> Path:
    """Write the network that ``text`` describes (``onnx.parser``), with these weights and shapes of inputs."""
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    for value in model.graph.input:
        if inputs and value.name in inputs:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, inputs[value.name]))
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    onnx.save(model, str(path))
    return path


def random(*shape: int) -> Array:
    """Return weights of this shape, the same in each call."""
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


def detector(path: Path) -> Path:
    """Write a network for images with sides that are multiples of 32: boxes[batch, 9, cells of 8, 16 and 32 pixels]."""
    text = """network (float[batch, 3, height, width] images) => (float[batch, 9, cells] boxes) {
        fine = Conv <strides = [8, 8]> (images, kernel)
        middle = Conv <strides = [16, 16]> (images, kernel)
        coarse = Conv <strides = [32, 32]> (images, kernel)
        larger = Resize <mode = "nearest"> (coarse, , scales)
        added = Add (fine, larger)
        first = Reshape (added, rows)
        second = Reshape (middle, rows)
        third = Reshape (coarse, rows)
        boxes = Concat <axis = 2> (first, second, third)
    }"""
    scales, rows = np.array([1, 1, 4, 4], np.float32), np.array([0, 9, -1])
    return save(path, text, kernel=random(9, 3, 1, 1), scales=scales, rows=rows)


def strict_if_large(path: Path) -> Path:
    """Write a network that accepts any sides, but with over 120,000 input elements only multiples of 32."""
    text = """network (float[batch, 3, height, width] images) => (float[batch, 3, h, w] y) {
        numbers = Size (images)
        large = Greater (numbers, most)
        y = If (large) <then_branch = strict () => (float[batch, 3, h, w] a) {
            coarse = Conv <strides = [32, 32]> (images, kernel)
            larger = Resize <mode = "nearest"> (coarse, , scales)
            a = Add (images, larger)
        }, else_branch = loose () => (float[batch, 3, h, w] b) { b = Identity (images) }>
    }"""
    scales = np.array([1, 1, 32, 32], np.float32)
    return save(path, text, kernel=random(3, 3, 1, 1), scales=scales, most=np.array(120_000))


def classifier(path: Path) -> Path:
    """Write a network with placeholders for all dynamic dimensions: image[?, 3, ?, ?] to logits[?, 10]."""
    text = """network (float[N, 3, H, W] image) => (float[N, 10] logits) {
        mapped = Conv <strides = [4, 4]> (image, kernel)
        pooled = GlobalAveragePool (mapped)
        flat = Flatten (pooled)
        logits = MatMul (flat, dense)
    }"""
    return save(path, text, {"image": ["?", 3, "unk__1", "-1"]}, kernel=random(6, 3, 3, 3), dense=random(6, 10))


def reader(path: Path, *shape: int | str) -> Path:
    """Write a text recognizer for images 48 pixels high: x to characters[batch, steps of 4 pixels, 20]."""
    text = """network (float[batch, 3, 48, width] x) => (float[batch, steps, 20] characters) {
        mapped = Conv <strides = [48, 4]> (x, kernel)
        line = Squeeze (mapped, second)
        turned = Transpose <perm = [0, 2, 1]> (line)
        characters = Softmax <axis = 2> (turned)
    }"""
    own: dict[str, list[int | str | None]] | None = {"x": list(shape)} if shape else None
    return save(path, text, own, kernel=random(20, 3, 48, 4), second=np.array([2]))


def gru(path: Path) -> Path:
    """Write a recurrent layer: x[steps, batch, 4] and h0[1, batch, 8] to all steps and the last state hn."""
    text = """network (float[steps, batch, 4] x, float[1, batch, 8] h0)
        => (float[steps, 1, batch, 8] y, float[1, batch, 8] hn) {
        y, hn = GRU <hidden_size = 8> (x, w, r, , , h0)
    }"""
    return save(path, text, w=random(1, 24, 4), r=random(1, 24, 8))


def vad(path: Path) -> Path:
    """Write a detector of speech that takes 512 samples, a state[2, ?, 8] and the sampling rate as a scalar."""
    text = """network (float[N, T] input, float[2, N, 8] state, int64 sr)
        => (float[N, 1] output, float[2, N, 8] stateN) {
        features = MatMul (input, dense)
        rate = Cast <to = 1> (sr)
        share = Div (rate, usual)
        scaled = Mul (features, share)
        stateN = Add (state, scaled)
        last = ReduceMax <axes = [0], keepdims = 0> (stateN)
        output = ReduceMean <axes = [1], keepdims = 1> (last)
    }"""
    dims: dict[str, list[int | str | None]] = {"input": [None, None], "state": [2, None, 8], "sr": []}
    return save(path, text, dims, dense=random(512, 8), usual=np.array(16_000, np.float32))


def tokens(path: Path) -> Path:
    """Write a classifier of texts with 100 different tokens: input_ids and attention_mask [batch, length]."""
    text = """network (int64[batch, length] input_ids, int64[batch, length] attention_mask)
        => (float[batch, 3] logits) {
        found = Gather (table, input_ids)
        mask = Cast <to = 1> (attention_mask)
        column = Unsqueeze (mask, last)
        masked = Mul (found, column)
        total = ReduceSum <keepdims = 0> (masked, middle)
        number = ReduceSum <keepdims = 0> (column, middle)
        mean = Div (total, number)
        logits = MatMul (mean, dense)
    }"""
    return save(path, text, table=random(100, 8), dense=random(8, 3), last=np.array([2]), middle=np.array([1]))


def resized(path: Path) -> Path:
    """Write a network with a size for the whole call: x[batch, 3, 8, 8] and orig_im_size[2] to y of that size."""
    text = """network (float[batch, 3, 8, 8] x, float[2] orig_im_size) => (float[batch, 3, h, w] y) {
        size = Cast <to = 7> (orig_im_size)
        start = Shape <end = 2> (x)
        sizes = Concat <axis = 0> (start, size)
        y = Resize <mode = "nearest"> (x, , , sizes)
    }"""
    return save(path, text)


def lengths(path: Path) -> Path:
    """Write a network for a[batch, 2 * n] and b[batch, n], both declared as [batch, n].

    Because of its wrong declarations of inner tensors, ONNX Runtime reuses memory of the wrong size, and a run fails.
    """
    text = """network (float[batch, n] a, float[batch, n] b) => (float[batch, 1, 1] y)
        <float[batch, n] negated, float[batch, n] scaled> {
        negated = Neg (b)
        twice = Concat <axis = 1> (negated, negated)
        most = ReduceMax <axes = [1]> (twice)
        scaled = Mul (a, most)
        row = Unsqueeze (scaled, one)
        column = Unsqueeze (twice, two)
        y = MatMul (row, column)
    }"""
    return save(path, text, one=np.array([1]), two=np.array([2]))


def never(path: Path) -> Path:
    """Write a network that refuses every input: x[batch, n] never has the number of elements that it requires."""
    text = "network (float[batch, n] x) => (float[7, 1000003] y) { y = Reshape (x, shape) }"
    return save(path, text, shape=np.array([7, 1_000_003]))
