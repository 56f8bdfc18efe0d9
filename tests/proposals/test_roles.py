"""The role of an input follows from its name, dtype and shape; a state needs an output of its dtype and shape."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.onnx_files.signature import Signature, TensorSpec
from hil.proposals.roles import Role, exchanged_states, image_axes, next_states, roles
from tests.datasets.project import spec

SIZE = st.one_of(st.none(), st.integers(1, 9), st.sampled_from(["batch", "n", "T"]))
TENSOR = st.builds(
    lambda name, dtype, shape: spec(name, dtype, *shape),
    st.sampled_from(["x", "h0", "c0", "state", "state_out", "hn", "mask", "input_ids", "sr", "audio"]),
    st.sampled_from(["float32", "int64", "uint8"]),
    st.lists(SIZE, max_size=5),
)
TENSORS = st.lists(TENSOR, min_size=1, max_size=5, unique_by=lambda one: one.name).map(tuple)


@pytest.mark.parametrize(
    ("tensor", "role"),
    [
        (spec("images", "float32", "n", 3, "h", "w"), Role.IMAGE),
        (spec("frame", "uint8", 1, 480, 640, 3), Role.IMAGE),
        (spec("picture", "float32", 3, "h", "w"), Role.IMAGE),
        (spec("maps", "float32", 1, 256, 20, 20), Role.OTHER),
        (spec("input", "float32", None, None), Role.AUDIO),
        (spec("speech", "float32", 1, 16000), Role.AUDIO),
        (spec("joints", "float32", "batch", 7), Role.OTHER),
        (spec("input_ids", "int64", "batch", "length"), Role.TOKENS),
        (spec("decoder_input_ids", "int64", "batch", 1), Role.TOKENS),
        (spec("orig_target_sizes", "int64", "N", 2), Role.OTHER),
        (spec("stamp", "int64", "batch"), Role.OTHER),
        (spec("token", "int64", "batch"), Role.TOKENS),
        (spec("pcm", "int16", 1, 16000), Role.AUDIO),
        (spec("sr", "int64"), Role.PARAMETER),
        (spec("orig_im_size", "float32", 2), Role.PARAMETER),
        (spec("features", "float32", "batch", "steps", 80), Role.FEATURES),
        (spec("lidar2img", "float32", "batch", 6, 4, 4), Role.OTHER),
        (spec("intrinsics", "float32", "batch", 1, 3, 4), Role.OTHER),
        (spec("clip", "float32", 1, 3, 16, 112, 112), Role.VIDEO),
        (spec("state", "float32", 2, "n", 128), Role.OTHER),  # no output has its shape
    ],
)
def test_an_input_has_a_role(tensor: TensorSpec, role: Role) -> None:
    """Each usual kind of input is recognized beside an image."""
    signature = Signature((tensor, spec("x", "float32", "batch", 3, 8, 8)), (spec("y", "float32", "batch", 10),))
    assert roles(signature)[tensor.name] is role or (role is Role.OTHER and roles(signature)["state"] is Role.FEATURES)


def test_a_number_for_each_point_is_no_token() -> None:
    """Integers with the first dimension of another input are one number for each of its points."""
    counts, others = spec("num_points", "int32", "n"), (spec("voxels", "float32", "n", 32, 4),)
    assert roles(Signature((counts, *others), ()))["num_points"] is Role.OTHER
    assert roles(Signature((counts,), ()))["num_points"] is Role.TOKENS


def test_a_state_is_matched_with_the_output_of_its_own_name() -> None:
    """Each state gets the output whose name is most alike, and no output is used twice."""
    states = (spec("h0", "float32", 1, "batch", 8), spec("c0", "float32", 1, "batch", 8))
    outputs = (spec("y", "float32", 1, "batch", 8), *(spec(name, "float32", 1, "batch", 8) for name in ("cn", "hn")))
    assert next_states(Signature((spec("x", "float32", "batch", 4), *states), outputs)) == {"h0": "hn", "c0": "cn"}


@pytest.mark.parametrize(
    "pairs",
    [
        {"hidden": "hidden_out"},
        {"c_in": "c_out", "h_in": "h_out"},
        {"prev_c": "next_c", "prev_h": "next_h"},
        {f"past_key_values.{n}.{what}": f"present.{n}.{what}" for n in (10, 0, 1) for what in ("value", "key")},
    ],
)
def test_an_output_goes_to_the_state_whose_name_it_shares(pairs: dict[str, str]) -> None:
    """An output goes to the state with the most similar name, whatever their order in the file."""
    memory = spec("memory", "float32", "batch", "length", 256)
    states = [spec(name, "float32", "batch", 2, 256) for name in pairs]
    outputs = [spec(name, "float32", "batch", 2, None) for name in sorted(pairs.values(), reverse=True)]
    assert next_states(Signature((memory, *states), tuple(outputs))) == pairs


@given(TENSORS, TENSORS)
def test_any_signature_has_one_role_for_each_input(
    inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    """Every input has a role, and a state an output of its dtype that no other state has."""
    signature = Signature(inputs, outputs)
    found, states = roles(signature), next_states(signature)
    assert set(found) == {one.name for one in inputs}
    assert {name for name, role in found.items() if role is Role.STATE} == set(states)
    assert len(set(states.values())) == len(states)
    dtypes = {one.name: one.dtype for one in outputs}
    assert all(dtypes[output] == signature.input(name).dtype for name, output in states.items())


@given(st.lists(SIZE, max_size=6).map(tuple))
def test_an_image_has_three_different_axes(shape: tuple[int | str | None, ...]) -> None:
    """The axes of an image are three different axes, none of them the batch."""
    axes = image_axes(shape)
    batches = len(shape) == 4 and axes is not None and sorted(axes) == [1, 2, 3]
    assert axes is None or batches or (axes == (0, 1, 2) and len(shape) == 3 and shape[0] == 3)


@pytest.mark.parametrize(
    ("name", "output"), [("pose", "pose_next"), ("mem", "mem_out"), ("prev_action", "action"), ("step", "new_step")]
)
def test_an_output_with_a_word_for_the_next_step_makes_its_input_a_state(name: str, output: str) -> None:
    """An input is a state if an output has its shape, its dtype, and its name with a word such as ``next``."""
    x, dtype = spec("x", "float32", "batch", 4), "int64" if name == "step" else "float32"
    state, after = spec(name, dtype, "batch", 6), spec(output, dtype, "batch", 6)
    assert next_states(Signature((x, state), (after,))) == {name: output}
    assert next_states(Signature((state,), (after,))) == {}, "a model that changes its only input"
    assert next_states(Signature((x, state), (spec(name, dtype, "batch", 6),))) == {}, "the input itself"
    assert next_states(Signature((x, state), (spec(output, dtype, "batch", 7),))) == {}, "another shape"


@pytest.mark.parametrize("shape", [(), (5,)])
def test_a_scalar_or_a_vector_with_a_word_for_the_next_step_is_a_state(shape: tuple[int, ...]) -> None:
    """A scalar or a vector is a state only if the word means a step: a setting may be returned as it is."""
    inputs = (spec("x", "float32", 1, 16), spec("energy", "float32", *shape))
    for output, found in (("energy_next", {"energy": "energy_next"}), ("energy_out", {}), ("energy", {})):
        assert next_states(Signature(inputs, (spec(output, "float32", *shape),))) == found


@pytest.mark.parametrize(
    ("carry", "exchanged"),
    [
        ({"h1": "h1_out", "h2": "h2_out"}, {}),
        ({"h1": "h2_out", "h2": "h1_out"}, {"h1": "h1_out", "h2": "h2_out"}),
        ({"h0": "cn", "c0": "hn"}, {"h0": "hn", "c0": "cn"}),
        ({"a": "c_out", "b": "a_out", "c": "b_out"}, {"a": "a_out", "b": "b_out", "c": "c_out"}),
        ({"delay1": "x_out", "delay2": "delay1_out"}, {}),
        ({"blorb": "quux", "grault": "waldo"}, {}),
    ],
)
def test_states_fed_with_each_other_are_noticed_by_their_names(
    carry: dict[str, str], exchanged: dict[str, str]
) -> None:
    """States count as exchanged only if each one's name is more like another state's output than its own output."""
    states = [replace(spec(name, "float32", "batch", 6), carry=output) for name, output in carry.items()]
    outputs = tuple(spec(name, "float32", "batch", 6) for name in sorted(carry.values()))
    assert exchanged_states(Signature(tuple(states), outputs)) == exchanged


def test_a_state_that_is_a_vector_needs_an_output_that_is_called_a_state() -> None:
    """Vectors are matched by the words of their names; without an output of a similar name, a vector is no state."""
    inputs = (
        spec("x", "float32", "frames", 8),
        spec("state_1_cell_in", "float32", 25),
        spec("state_1_hidden_in", "float32", 25),
    )
    outputs = tuple(spec(name, "float32", 25) for name in ("lstm_hidden_1", "lstm_cell_1"))
    assert next_states(Signature(inputs, outputs)) == {
        "state_1_cell_in": "lstm_cell_1",
        "state_1_hidden_in": "lstm_hidden_1",
    }
    assert next_states(Signature(inputs, (spec("mean", "float32", 25),))) == {}


def test_a_length_that_is_also_an_inner_axis_is_no_number_of_samples() -> None:
    """The last axis of scores [items, kinds] is no audio if another input is [items, kinds, values]."""
    inputs = (spec("logit", "float32", "D", "K"), spec("Z", "float32", "D", "K", 128))
    assert roles(Signature(inputs, ()))["logit"] is Role.OTHER
