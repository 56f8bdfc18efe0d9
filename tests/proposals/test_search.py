"""If trial runs fail, the error states what was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from hil.errors import UserError
from hil.proposals.search import propose
from hil.proposals.trials import TrialProcess
from tests.datasets.project import write_model
from tests.proposals import networks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_model_that_never_runs_is_an_error_with_what_was_tried(tmp_path: Path) -> None:
    """If a model runs with no size, the message has the sizes that were tried and the reference's last error."""
    lines: list[str] = []
    with pytest.raises(UserError) as caught, TrialProcess() as process:
        propose(networks.never(tmp_path / "m.onnx"), "m", process, notify=lines.append)
    message = str(caught.value)
    assert "m.onnx does not run on random data" in message
    assert "\n  n: 16000, 512, 576, 256" in message
    assert "the last error is: ONNX Runtime failed in a trial run" in message
    assert lines[0] == "trial run 1: n = 16000"
    assert len(lines) > 5


def test_a_model_that_takes_texts_is_an_error(tmp_path: Path) -> None:
    """A model that takes texts is refused with the reason, and nothing is proposed."""
    path = write_model(tmp_path / "m.onnx", ["batch", 2], dtype=TensorProto.STRING)
    with pytest.raises(UserError, match="only numbers can be fed"), TrialProcess() as process:
        propose(path, "m", process)


def test_a_batch_that_is_refused_is_one_sample(tmp_path: Path) -> None:
    """A model with a dynamic batch that accepts only one sample is proposed with one, which is a guess."""
    text = "network (float[batch, 8] x) => (float[1, 8] y) { y = Reshape (x, shape) }"
    path = networks.save(tmp_path / "m.onnx", text, shape=np.array([1, 8]))
    with TrialProcess() as process:
        proposal = propose(path, "m", process)
    assert proposal.takes_batches is False
    assert (proposal.guessed, proposal.inputs["x"].shape) == ((("inputs", "x", "shape"),), (1, 8))


def test_an_operator_that_the_reference_lacks_is_named(tmp_path: Path) -> None:
    """A model with an unknown operator is refused with the operator's name, and nothing is written."""
    text = "network (float[batch, 8] x) => (float[batch, 8] y) { y = Unheard (x) }"
    path = networks.save(tmp_path / "m.onnx", text)
    with (
        pytest.raises(UserError, match=r"cannot load .*m.onnx, and nothing was written: .*Unheard"),
        TrialProcess() as one,
    ):
        propose(path, "m", one)


def test_boxes_and_classes_are_proposed_as_the_file_shows_them(tmp_path: Path) -> None:
    """Boxes that are not decoded get no layout, and channels are classes if the metadata names as many classes."""
    text = """network (float[batch, 3, 64, 64] images) => (float[batch, 9, 84] y) {
        fine = Conv <strides = [8, 8]> (images, kernel) middle = Conv <strides = [16, 16]> (images, kernel)
        coarse = Conv <strides = [32, 32]> (images, kernel)
        a = Reshape (fine, rows) b = Reshape (middle, rows) c = Reshape (coarse, rows) y = Concat <axis = 2> (a, b, c)
    }"""
    maps = """network (float[batch, 3, 64, 64] images) => (float[batch, 9, 64, 64] y) { y = Conv (images, kernel) }"""
    kernel, rows = networks.random(9, 3, 1, 1), np.array([0, 9, -1])
    paths = [networks.save(tmp_path / "raw.onnx", text, kernel=kernel, rows=rows)]
    paths += [networks.save(tmp_path / f"{name}.onnx", maps, kernel=kernel) for name in ("maps", "named")]
    named = onnx.load(str(paths[2]))
    named.metadata_props.add(key="names", value=str(dict(enumerate("abcdefghi"))))
    onnx.save(named, str(paths[2]))
    with TrialProcess() as process:
        families = [propose(path, "m", process).family for path in paths]
    assert [one and (one.family.name, one.layout) for one in families] == [
        ("detector without decoding", ""),
        ("model of maps", ""),
        ("segmentation model", ""),
    ]


@pytest.mark.parametrize("network", [networks.detector, networks.strict_if_large])
def test_multiples_hold_at_the_proposed_sizes(network: Callable[[Path], Path], tmp_path: Path) -> None:
    """A multiple that is proposed also holds at the proposed sizes."""
    with TrialProcess() as process:
        proposal = propose(network(tmp_path / "m.onnx"), "m", process)
    assert proposal.inputs["images"].multiple_of == (1, 1, 32, 32)


SHARED = "network (float[n, 4] a, float[m, n] b) => (float[m, 4] y) { y = MatMul (b, a) }"
SQUARE = "network (float[n, n] a) => (float[n, n] y) { y = MatMul (a, a) }"
MISNAMED = "network (float[N, 3, N, N] x) => (float[N, 6, h, w] y) { y = Conv <pads = [1, 1, 1, 1]> (x, kernel) }"


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        (SHARED, {"a": {"shape": (128, 4), "batch_axis": "none"}, "b": {"shape": ("m", 128)}}),
        (SQUARE, {"a": {"shape": (100, 100), "batch_axis": "none"}}),
        (MISNAMED, {"x": {"shape": ("batch", 3, "x[2]", "x[3]")}}),
    ],
)
def test_a_batch_has_a_size_of_its_own(text: str, declared: dict[str, Any], tmp_path: Path) -> None:
    """An axis is proposed as a batch only if its size may differ from that of other axes with its name."""
    path = networks.save(tmp_path / "m.onnx", text, kernel=networks.random(6, 3, 3, 3))
    with TrialProcess() as process:
        proposal = propose(path, "m", process)
    assert {name: one.model_dump(exclude_unset=True) for name, one in proposal.inputs.items()} == declared


@pytest.mark.parametrize(("classes", "side"), [(10, 28), (11, 224)])
def test_a_size_that_one_sample_fills_is_preferred(classes: int, side: int, tmp_path: Path) -> None:
    """The proposed size gives each sample one row of output if such a size exists."""
    text = "network (float[batch, 1, h, w] x) => (float[batch, 10] y) { f = Reshape (x, rows) y = MatMul (f, dense) }"
    rows, dense = np.array([-1, 784]), networks.random(784, classes)
    with TrialProcess() as process:
        proposal = propose(networks.save(tmp_path / "m.onnx", text, rows=rows, dense=dense), "m", process)
    assert proposal.inputs["x"].shape == ("batch", 1, side, side)
    assert proposal.guessed == (("inputs", "x", "shape"),)


PAIRS = "{ t = Transpose <perm = [1, 0]> (b) y = MatMul (a, t) }"
ATTENTION = "{ t = Transpose <perm = [1, 0]> (a) p = MatMul (a, t) s = Softmax (p) y = MatMul (s, a) }"
ALONE = {"shape": (128, 4), "batch_axis": "none"}


@pytest.mark.parametrize(
    ("text", "declared", "takes_batches"),
    [
        (f"(float[n, 4] a, float[m, 4] b) => (float[n, m] y) {PAIRS}", {"a": ALONE, "b": ALONE}, None),
        (f"(float[n, 4] a, float[n, 4] b) => (float[n, n] y) {PAIRS}", {"a": ALONE, "b": ALONE}, None),
        ("(float[n, 4] a, float[m, 4] b) => (float[n, 4] y) { y = Add (a, b) }", {}, True),
        (f"(float[n, 4] a) => (float[n, 4] y) {ATTENTION}", {"a": ALONE}, None),
        ("(float[n, 4] a) => (float[1, 4] y) { y = ReduceMax <axes = [0]> (a) }", {"a": ALONE}, None),
        ("(float[batch, 4] a) => (float[1, 4] y) { y = ReduceMax <axes = [0]> (a) }", {"a": {"shape": (1, 4)}}, False),
        ("(float[batch, 4] a) => (float[batch, 4] y) { r = RandomNormalLike (a) y = Add (a, r) }", {}, True),
    ],
)
def test_a_batch_gives_each_sample_what_it_gives_alone(
    text: str, declared: dict[str, Any], takes_batches: object, tmp_path: Path
) -> None:
    """Without a usual name, an axis is a batch only if each row equals the output of its sample alone."""
    with TrialProcess() as process:
        proposal = propose(networks.save(tmp_path / "m.onnx", f"network {text}"), "m", process)
    assert {name: one.model_dump(exclude_unset=True) for name, one in proposal.inputs.items()} == declared
    assert proposal.takes_batches is takes_batches


FRAMES = "{ t = Transpose (w) u = Mul (x, v) p = MatMul (u, t) y = CumSum (p, zero) }"
EDGES = "{ e = Gather (nodes, edge_index) m = ReduceSum (edge_index) f = Cast <to = 1> (m) y = Mul (nodes, f) }"


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        (f"(float[a, b] x) => (float[c, d] y) {FRAMES}", {"x": {"shape": (100, 37), "batch_axis": "none"}}),
        (
            f"(float[n, 3] nodes, int64[2, e] edge_index) => (float[n, 3] y) {EDGES}",
            {
                "nodes": {"shape": (128, 3), "batch_axis": "none"},
                "edge_index": {"shape": (2, 128), "batch_axis": "none"},
            },
        ),
        (
            "(float[1, 4] x, float[300, 4] anchors) => (float[300, 4] y) { y = Add (x, anchors) }",
            {"x": {"batch_axis": "none"}, "anchors": {"batch_axis": "none"}},
        ),
        (
            "(float[1, 3, 32, 32] image, float[300, 32] rows) => (float[1, 3, 300, 32] y) { y = MatMul (rows, image) }",
            {"rows": {"batch_axis": "none"}},
        ),
    ],
)
def test_sizes_of_weights_and_of_edges_are_no_batch(text: str, declared: dict[str, Any], tmp_path: Path) -> None:
    """A size that weights require is found, and neither the frames of a recording nor two ends of edges are samples."""
    weights: dict[str, Any] = {"w": networks.random(5, 37), "v": networks.random(37), "zero": np.array(0)}
    with TrialProcess() as process:
        proposal = propose(networks.save(tmp_path / "m.onnx", f"network {text}", **weights), "m", process)
    assert {name: one.model_dump(exclude_unset=True) for name, one in proposal.inputs.items()} == declared


def test_sizes_beyond_one_that_was_too_large_are_not_tried(tmp_path: Path) -> None:
    """After a trial without enough memory, no trial has sizes that are all as large or larger."""
    text = "(float[batch, n] x) => (float[batch, one] y) { s = Expand (x, big) t = Add (s, s) y = ReduceSum (t, last) }"
    path = networks.save(tmp_path / "m.onnx", f"network {text}", big=np.array([10**13, 1, 1]), last=np.array([0]))
    with pytest.raises(UserError, match="n: 16000, 512, 256, 160, 128, 64"), TrialProcess() as process:
        propose(path, "m", process)


def test_nodes_that_draw_random_numbers_are_said(tmp_path: Path) -> None:
    """The proposal names the node that draws random numbers, unless two runs give the same outputs."""
    drawn = "(float[batch, 4] a) => (float[batch, 4] y) { r = RandomNormalLike (a) y = Add (a, r) }"
    same = "(float[batch, 4] a) => (float[batch, 4] y) { r = RandomNormalLike (a) z = Sub (r, r) y = Add (a, z) }"
    with TrialProcess() as process:
        found = [
            propose(networks.save(tmp_path / f"{name}.onnx", f"network {text}"), "m", process).drawn
            for name, text in (("drawn", drawn), ("same", same))
        ]
    what = "node 'RandomNormalLike_0' (RandomNormalLike) draws random numbers"
    assert found == [f"{what}, so that output 'y' differs between two runs", ""]


def test_a_length_of_zero_is_proposed_as_the_file_has_it(tmp_path: Path) -> None:
    """An input without elements needs no declaration."""
    path = networks.save(tmp_path / "m.onnx", "network (float[batch, 0] x) => (float[batch, 0] y) { y = Identity (x) }")
    with TrialProcess() as process:
        assert "x" not in propose(path, "m", process).inputs


def test_a_state_that_grows_is_not_carried(tmp_path: Path) -> None:
    """A cache that is longer after each step is not proposed as carried, since a run would refuse it."""
    text = """network (float[n, 4] x, float[n, past, 4] past_key) => (float[n, 4] y, float[n, all, 4] key) {
        one = Unsqueeze (x, first)
        key = Concat <axis = 1> (past_key, one)
        y = ReduceMax <axes = [1], keepdims = 0> (key)
    }"""
    with TrialProcess() as process:
        proposal = propose(networks.save(tmp_path / "m.onnx", text, first=np.array([1])), "m", process)
    assert proposal.carried == {}
