"""Batch axes, constants and ranges are proposed from names and shapes; what is proposed always fits the input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.datasets.synthetic import SyntheticDataset
from hil.onnx_files.signature import Signature, TensorSpec
from hil.proposals.axes import input_proposals, other_axes, shared_names, without_batch
from tests.datasets.project import spec

SIZE = st.one_of(st.none(), st.integers(1, 4), st.sampled_from(["batch", "n", "T"]))
TENSOR = st.builds(
    lambda name, dtype, shape: spec(name, dtype, *shape),
    st.sampled_from(["x", "h0", "c0", "sr", "orig_im_size", "scale_factor", "mask", "iou_threshold", "ids"]),
    st.sampled_from(["float32", "int64"]),
    st.lists(SIZE, max_size=4),
)
TENSORS = st.lists(TENSOR, min_size=1, max_size=5, unique_by=lambda one: one.name).map(tuple)


@pytest.mark.parametrize(
    ("x", "state", "axes"),
    [
        (("seq", "batch", 4), (1, "batch", 8), (1, 1)),
        (("batch", "seq", 4), (2, "batch", 8), (0, 1)),
        (("seq", "N", 4), (1, "N", 8), (1, 1)),
        ((None, None), (2, None, 128), (0, 1)),
        ((1, 10, 4), (2, 1, 8), (0, 1)),
        (("batch", 64), ("batch", 32), (0, 0)),
        ((1, 64), (1, 32), (0, 0)),
    ],
)
def test_the_batch_axis_of_a_state(
    x: tuple[int | str | None, ...], state: tuple[int | str | None, ...], axes: tuple[int, int]
) -> None:
    """Layers come before samples in the state of a recurrent layer, unless the names say otherwise."""
    signature = Signature((spec("x", "float32", *x), spec("h0", "float32", *state)), (spec("hn", "float32", *state),))
    found = input_proposals(signature, {})
    assert (found["x"].batch_axis, found["h0"].batch_axis) == axes
    assert found["h0"].carry == "hn"


def test_a_scalar_state_has_no_batch_axis() -> None:
    """A state without axes is proposed with the output that feeds it, and with no batch axis."""
    inputs = (spec("x", "float32", 1, 16), spec("energy", "float32"))
    found = input_proposals(Signature(inputs, (spec("energy_next", "float32"),)), {})["energy"]
    assert (found.batch_axis, found.carry) == ("none", "energy_next")


def test_an_initial_state_without_an_output_has_layers_first() -> None:
    """The first axis of a state is that of its layers, not the batch, even if no output returns the state."""
    inputs = (spec("x", "float32", "batch", 3, "frames", 160), spec("h0", "float32", 4, 1, 64))
    found = input_proposals(Signature(inputs, (spec("y", "float32", "batch"),)), {})
    assert (found["x"].batch_axis, found["h0"].batch_axis, found["h0"].carry) == (0, 1, None)
    masked = Signature((spec("state_mask", "float32", 4, 1, 64),), ())
    assert input_proposals(masked, {})["state_mask"].batch_axis == 0


def test_settings_of_a_call_are_no_samples() -> None:
    """A sampling rate is a constant; an input with one value for the whole call has no batch axis."""
    inputs = (
        spec("x", "float32", "batch", 3, 8, 8),
        spec("sr", "int64"),
        spec("orig_im_size", "float32", 2),
        spec("im_shape", "float32", "batch", 2),
    )
    found = input_proposals(Signature(inputs, (spec("y", "float32", "batch"),)), {})
    assert (found["sr"].value, found["sr"].batch_axis) == (16_000, None)
    assert (found["orig_im_size"].batch_axis, found["orig_im_size"].range) == ("none", (640, 640))
    assert (found["im_shape"].batch_axis, found["im_shape"].range) == (0, (640, 640))


def test_one_tensor_for_the_steps_of_all_samples_has_no_batch_axis() -> None:
    """An input without the batch dimension of the others has no batch axis."""
    inputs = (spec("ids", "int64", "batch", "length"), spec("position_ids", "int64", "length"))
    found = input_proposals(Signature(inputs, (spec("y", "float32", "batch", "length"),)), {})
    assert [found[one.name].batch_axis for one in inputs] == [0, "none"]


def test_one_image_has_no_batch_axis() -> None:
    """The three colours of one image are not a batch."""
    found = input_proposals(Signature((spec("x", "float32", 3, "h", "w"),), (spec("y", "float32", 10),)), {})
    assert found["x"].batch_axis == "none"


@pytest.mark.parametrize(("dtype", "top"), [("uint16", 65535), ("int8", 127), ("uint8", None), ("float32", None)])
def test_images_of_integers_use_the_whole_range(dtype: str, top: int | None) -> None:
    """Random depth images in millimetres are not all zeros and ones; uint8 has its range by default."""
    signature = Signature((spec("depth", dtype, "batch", 1, 48, 64),), (spec("y", "float32", "batch", 10),))
    interval = input_proposals(signature, {})["depth"].range
    assert (None if interval is None else interval[1]) == top


def test_tokens_are_indices_of_their_table() -> None:
    """Token ids are drawn within their table, and a mask is all ones."""
    inputs = (spec("input_ids", "int64", "b", "n"), spec("attention_mask", "int64", "b", "n"))
    found = input_proposals(Signature(inputs, ()), {"input_ids": (0, 30_521)})
    assert found["input_ids"].range == (0, 30_521)
    assert found["attention_mask"].range == (1, 1)


@pytest.mark.parametrize(
    ("tensor", "drawn"),
    [
        (spec("attention_mask", "bool", "b", "n"), (1, 1)),
        (spec("mask", "uint8", "b", 1), (1, 1)),
        (spec("attn_mask", "bool", "b", 1, "n", "n"), (1, 1)),
        (spec("attention_mask", "int32", "b", 1, 1, "n"), (1, 1)),
        (spec("src_key_padding_mask", "bool", "b", "n"), (0, 0)),
        (spec("mask", "uint8", "b", 1, 64, 64), None),
        (spec("mask_input", "float32", "b", 1, 256, 256), None),
        (spec("mask", "float32", "b", "n"), None),
    ],
)
def test_all_positions_of_a_mask_count(tensor: TensorSpec, drawn: tuple[float, float] | None) -> None:
    """A mask is drawn so that no position is masked; an image or float input called a mask is drawn as usual."""
    signature = Signature((spec("input_ids", "int64", "b", "n"), tensor), ())
    assert input_proposals(signature, {})[tensor.name].range == drawn
    samples = next(SyntheticDataset(Signature((tensor,), ()), model="m", count=8, ranges={}).batches(8)).inputs
    assert (np.unique(samples[tensor.name]) == drawn[:1]).all() if drawn else np.unique(samples[tensor.name]).size > 1


@given(TENSORS)
def test_no_batch_has_the_name_of_another_axis(inputs: tuple[TensorSpec, ...]) -> None:
    """``without_batch`` removes exactly the batch axes whose name another axis has too."""
    signature = Signature(inputs, ())
    first = input_proposals(signature, {})
    names = shared_names(signature, first)
    alone = without_batch(signature, first, names)
    assert not shared_names(signature, alone) & names
    for one in inputs:
        axis = first[one.name].batch_axis
        is_shared = isinstance(axis, int) and axis < len(one.shape) and one.shape[axis] in names
        assert (alone[one.name] == first[one.name]) is not is_shared


@given(TENSORS, TENSORS)
def test_what_is_proposed_fits(inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    """A batch axis is an axis of its input; a constant has no range and no output that it is carried from."""
    signature = Signature(inputs, outputs)
    first = input_proposals(signature, {})
    for found in (first, *other_axes(signature, first)):
        assert set(found) == {one.name for one in inputs}
        for name, one in found.items():
            shape = signature.input(name).shape
            assert one.batch_axis in {None, "none"} or 0 <= int(one.batch_axis or 0) <= max(0, len(shape) - 1)
            assert one.value is None or (one.range is None and one.carry is None)
