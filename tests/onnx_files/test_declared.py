from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hil.config.spec import ModelSpec
from hil.errors import UserError
from hil.onnx_files.declared import declare
from hil.onnx_files.signature import Signature, TensorSpec

Shape = tuple["int | str | None", ...]


def model(**keys: Any) -> ModelSpec:
    """Return a model's table with these keys."""
    return ModelSpec.model_validate({"path": "m.onnx", "data": "synthetic", **keys})


def signature(**shapes: Shape) -> Signature:
    """Return the signature of a model with float32 inputs of these shapes and the output ``y``."""
    inputs = tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items())
    return Signature(inputs, (TensorSpec("y", "float32", ("batch", 2)),))


@pytest.mark.parametrize(
    ("shapes", "lines"),
    [
        ({"x": ("batch", 64), "sr": ()}, ["[models.m.inputs.sr]", 'batch_axis = "none"']),
        ({"x": ("batch", 3, 8, 8), "size": (2,)}, ["[models.m.inputs.size]", 'batch_axis = "none"']),
        (
            {"x": ("seq", "batch", 4), "h": (1, "batch", 8)},
            ["[models.m.inputs.x]", "batch_axis = 1", "[models.m.inputs.h]", "batch_axis = 1"],
        ),
        ({"x": ("batch", "seq", 4), "h": (2, "batch", 8)}, ["[models.m.inputs.h]", "batch_axis = 1"]),
        ({"x": ("seq", "batch", 4)}, ["[models.m.inputs.x]", "batch_axis = 1"]),
        ({"x": ("batch", "seq"), "places": ("seq",)}, ["[models.m.inputs.places]", 'batch_axis = "none"']),
        ({"x": (1, 3), "h": (2, 8)}, ["[models.m.inputs.h]", 'batch_axis = "none"']),
        ({"graph": ("n", "n")}, ["[models.m.inputs.graph]", 'batch_axis = "none"']),
    ],
)
def test_inputs_without_a_common_batch_are_refused_with_lines_that_help(
    shapes: dict[str, Shape], lines: list[str]
) -> None:
    """If the file leaves the batch axis open, the inputs are refused; with the proposed lines they are accepted."""
    with pytest.raises(UserError) as caught:
        declare(signature(**shapes), model(), "m")
    written = [line.partition("  #")[0] for line in str(caught.value).splitlines()[1:]]
    assert written == lines
    inputs: dict[str, Any] = {}
    for table, value in zip(written[::2], written[1::2], strict=True):
        axis = value.removeprefix("batch_axis = ")
        inputs[table.strip("[]").rpartition(".")[2]] = {"batch_axis": "none" if "none" in axis else int(axis)}
    declared = declare(signature(**shapes), model(inputs=inputs), "m")
    expected = {name: inputs.get(name, {"batch_axis": 0})["batch_axis"] for name in shapes}
    assert {one.name: "none" if one.batch_axis is None else one.batch_axis for one in declared.inputs} == expected


@pytest.mark.parametrize(
    "shapes",
    [
        {"ids": ("batch", "seq"), "mask": ("batch", "seq")},
        {"x": (1, 3, 8, 8), "box": (1, 4)},
        {"x": (None, 3), "y": ("n", 3)},
        {"x": ("batch", 3), "scale": (1, 3)},
        {"points": ("batch", "n", 3)},
    ],
)
def test_a_first_axis_beyond_doubt_needs_no_declaration(shapes: dict[str, Shape]) -> None:
    """A first axis that no other input contradicts needs no declaration."""
    assert all(one.batch_axis == 0 for one in declare(signature(**shapes), model(), "m").inputs)


def test_equal_names_share_their_sizes_across_inputs() -> None:
    """A size that is declared for one axis holds for each axis of that name; a second size is refused."""
    declared = declare(
        signature(ids=("batch", "seq"), mask=("batch", "seq")),
        model(inputs={"ids": {"shape": ("batch", (8, 16, 32))}}),
        "m",
    )
    assert declared.sizes == {"seq": (8, 16, 32)}
    twice = model(inputs={"ids": {"shape": ("batch", 8)}, "mask": {"shape": ("batch", 9)}})
    with pytest.raises(UserError, match=r"but \[8, 8, 8\] is declared for 'seq' elsewhere"):
        declare(signature(ids=("batch", "seq"), mask=("batch", "seq")), twice, "m")


def test_dimensions_without_a_name_are_separate_until_they_are_named() -> None:
    """Dimensions without a name get one by their position; the same declared name makes them equal."""
    free = declare(signature(x=(None, None, None)), model(), "m")
    assert free.inputs[0].shape == (None, "x[1]", "x[2]")
    tied = declare(signature(x=(None, None, None)), model(inputs={"x": {"shape": ("batch", "side", "side")}}), "m")
    assert tied.inputs[0].shape == ("batch", "side", "side")


def test_a_batch_dimension_without_a_name_gets_that_of_the_others() -> None:
    """A batch dimension without a name gets the only name that other batch dimensions have."""
    shapes: dict[str, Shape] = {"x": (None, "n"), "state": (2, None, 8)}
    inputs = {"state": {"batch_axis": 1}}
    named = declare(signature(**shapes), model(inputs={**inputs, "x": {"shape": ("batch", 512)}}), "m")
    assert [one.shape for one in named.inputs] == [("batch", "n"), (2, "batch", 8)]
    open_ones = declare(signature(**shapes), model(inputs=inputs), "m")
    assert [one.shape for one in open_ones.inputs] == [(None, "n"), (2, None, 8)]
    three = declare(signature(a=("n", 2), b=("m", 2), c=(None, 2)), model(), "m")
    assert [one.shape[0] for one in three.inputs] == ["n", "m", None]


def test_multiples_belong_to_dimensions() -> None:
    """A declared multiple applies to the dimension everywhere; other sizes are refused."""
    table = {"x": {"multiple_of": (1, 1, 32)}}
    declared = declare(signature(x=("batch", 3, "side")), model(inputs=table, shapes={"side": (32, 64, 96)}), "m")
    assert declared.multiples == {"side": 32}
    with pytest.raises(UserError, match="has 32 for an axis with the size 33"):
        declare(signature(x=("batch", 3, "side")), model(inputs=table, shapes={"side": (32, 33, 64)}), "m")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"shape": ("batch", 4)}, "has 4 on axis 1"),
        ({"shape": ("batch",)}, "has 1 entries, but the input has 2 axes"),
        ({"batch_axis": 2}, "is 2, but the input has 2 axes"),
        ({"carry": "z"}, "there is no such output"),
        ({"carry": "y"}, "which has another shape"),
        ({"multiple_of": (1, 2)}, "an axis with the size 3"),
    ],
)
def test_what_the_file_contradicts_is_refused(table: dict[str, Any], words: str) -> None:
    """A declaration that the file contradicts is refused."""
    with pytest.raises(UserError, match=words):
        declare(signature(x=("batch", 3)), model(inputs={"x": table}), "m")


@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ({"x": ("batch", 3), "h": (1, "batch", 4)}, 0),
        ({"x": ("batch", 3), "h": (1, "batch", 4)}, 2),
        ({"x": ("batch", 3), "h": (1, "batch", 4)}, "none"),
        ({"x": (None, 3), "h": (1, None, 4)}, 0),
        ({"x": (None, 3), "h": (1, None, 4)}, None),
        ({"x": ("batch", "time"), "h": ("time", "batch", 4)}, 0),
    ],
)
def test_a_state_with_another_batch_axis_than_its_own_is_named(
    shapes: dict[str, Shape], axis: int | str | None
) -> None:
    """A state whose declared or assumed batch axis is wrong is refused; the axis in the message is then accepted."""
    outputs = (TensorSpec("y", "float32", ("batch", 2)), TensorSpec("hn", "float32", shapes["h"]))
    known = replace(signature(**shapes), outputs=outputs)
    state = {"carry": "hn"} if axis is None else {"carry": "hn", "batch_axis": axis}
    with pytest.raises(
        UserError, match=r"the state 'h' of model m has .*write batch_axis = 1 under \[models.m.inputs.h\]"
    ):
        declare(known, model(inputs={"h": state}), "m")
    declared = declare(known, model(inputs={"h": {"carry": "hn", "batch_axis": 1}}), "m")
    assert declared.input("h").batch_axis == 1


def test_an_unknown_input_is_refused() -> None:
    """A declaration of an unknown input is refused."""
    with pytest.raises(UserError, match="did you mean 'image'"):
        declare(signature(image=("batch", 3)), model(inputs={"imgae": {"batch_axis": 0}}), "m")


def test_an_input_of_unknown_rank_needs_a_shape() -> None:
    """An input of unknown rank needs a declared shape."""
    unknown = Signature((TensorSpec("x", "float32", (), ranked=False),), ())
    with pytest.raises(UserError, match="declares no shape of input 'x'"):
        declare(unknown, model(), "m")
    assert declare(unknown, model(inputs={"x": {"shape": ("batch", 3)}}), "m").inputs[0].shape == ("batch", "x[1]")


def test_a_constant_of_fixed_size_has_no_batch_axis() -> None:
    """A constant of fixed size has no batch axis, and raises no doubt about other inputs."""
    declared = declare(signature(x=("batch", 3), size=(2,)), model(inputs={"size": {"value": (8, 8)}}), "m")
    assert declared.input("size").batch_axis is None
    assert declared.batch() is None


def test_a_model_without_a_batch_axis_runs_one_sample_a_call() -> None:
    """A model whose inputs have no batch axis runs one sample in each call."""
    assert declare(signature(x=(3, 8)), model(inputs={"x": {"batch_axis": "none"}}), "m").batch() == 1


def test_the_batch_axis_of_an_output() -> None:
    """An output's batch axis is the one with the batch dimension's name; otherwise it may be unknown."""
    inputs = (TensorSpec("x", "float32", ("seq", "batch", 4), batch_axis=1),)
    outputs = (TensorSpec("a", "float32", ("seq", "batch")), TensorSpec("b", "float32", ("n", 2)))
    assert [Signature(inputs, outputs).output_axis(name) for name in "ab"] == [1, None]
    first = (TensorSpec("x", "float32", ("batch", 4)),)
    outputs = (TensorSpec("a", "float32", (None, 4)), TensorSpec("b", "float32", (7, 4)))
    assert [Signature(first, outputs).output_axis(name) for name in "ab"] == [0, None]


def test_samples_that_differ_in_what_a_call_takes_once_cannot_share_a_call() -> None:
    """Samples that differ in an input without a batch axis need one call each; a constant input does not."""
    shapes: dict[str, Shape] = {"x": ("batch", 3), "size": (2,)}
    alone = declare(signature(**shapes), model(inputs={"size": {"batch_axis": "none"}}), "m")
    assert (alone.stride(), alone.batch()) == (1, None)
    constant = declare(signature(**shapes), model(inputs={"size": {"value": 8}}), "m")
    assert constant.stride() is None
