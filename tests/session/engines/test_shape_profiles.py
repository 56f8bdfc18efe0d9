from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import ModelSpec
from hil.errors import UserError
from hil.onnx_files.declared import declare
from hil.onnx_files.signature import Signature, TensorSpec
from hil.session.engines.shape_profiles import profiles_of

if TYPE_CHECKING:
    from hil.session.engines.shape_profiles import Profiles

SIZES = st.integers(1, 64)


def model(**keys: Any) -> ModelSpec:
    """Return a model's table with these keys."""
    return ModelSpec.model_validate({"path": "m.onnx", "data": "synthetic", **keys})


def profiles(spec: ModelSpec, *shapes: tuple[int | str | None, ...]) -> Profiles:
    """Return the profiles of a model with inputs ``i0``, ``i1``, … of these shapes."""
    inputs = tuple(TensorSpec(f"i{number}", "float32", shape) for number, shape in enumerate(shapes))
    return profiles_of(Signature(inputs, ()), spec, "m")


def test_static_inputs_have_no_profile() -> None:
    """Only an input with a dynamic dimension has a profile."""
    assert profiles(model(), (1, 3, 8, 8)) == {}
    assert list(profiles(model(), (1, 3), ("batch", 3))) == ["i1"]


@pytest.mark.parametrize(("batch", "largest"), [(1, 4), (4, 4), (6, 6)])
@pytest.mark.parametrize("dimension", ["batch", None])
def test_a_first_dimension_is_the_batch(batch: int, largest: int, dimension: str | None) -> None:
    """A dynamic first dimension covers 1 to the batch, and at least the 4 that ``contract.shapes`` tries."""
    assert profiles(model(batch=batch), (dimension, 3)) == {"i0": [[1, 3], [batch, 3], [largest, 3]]}


@given(st.dictionaries(st.sampled_from("abc"), st.lists(SIZES, min_size=3, max_size=3).map(sorted), min_size=3))
def test_shapes_set_named_dimensions(shapes: dict[str, list[int]]) -> None:
    """Min, opt and max of ``shapes`` apply to every input dimension of that name."""
    spec = model(shapes={key: tuple(value) for key, value in shapes.items()}, batch=shapes["a"][1])
    profile = profiles(spec, ("a", "b", 5, "c"))["i0"]
    assert profile == [[shapes["a"][n], shapes["b"][n], 5, shapes["c"][n]] for n in range(3)]


def test_an_undeclared_dimension_is_reported_with_the_lines_to_add() -> None:
    """A dynamic dimension without sizes is refused with the lines to add; the batch needs none."""
    with pytest.raises(UserError, match=r"\[models\.m\.shapes\]\nheight = \[1, 1, 1\]\nwidth = \[1, 1, 1\]"):
        profiles(model(), ("batch", 3, "height", "width"))


def test_the_batch_dimension_has_one_size_in_all_inputs() -> None:
    """A name that is the batch of one input has the same sizes in another."""
    assert profiles(model(batch=2), ("n", 3), (7, "n"))["i1"] == [[7, 1], [7, 2], [7, 4]]


def test_a_dimension_without_name_is_named_by_its_position() -> None:
    """A dimension without a name is refused with the line that declares it by its position."""
    with pytest.raises(UserError, match=r"\[models\.m\.shapes\]\n\"i0\[1\]\" = \[1, 1, 1\]"):
        profiles(model(), (None, None))
    declared = model(shapes={"i0[1]": (1, 2, 3)})
    signature = declare(Signature((TensorSpec("i0", "float32", (None, None)),), ()), declared, "m")
    assert profiles_of(signature, declared, "m") == {"i0": [[1, 1], [1, 2], [4, 3]]}


def test_an_unknown_dimension_name_is_refused() -> None:
    """A misspelt dimension is refused with the name that was probably meant."""
    with pytest.raises(UserError, match="did you mean 'height'"):
        profiles(model(shapes={"hieght": (1, 2, 3)}), (1, "height"))


def test_the_batch_must_fit_the_shapes() -> None:
    """A batch outside of ``shapes`` is refused."""
    with pytest.raises(UserError, match=r"batch = 8 is outside of shapes\.batch = \[1, 2, 4\]"):
        profiles(model(batch=8, shapes={"batch": (1, 2, 4)}), ("batch", 3))


@given(st.lists(st.one_of(SIZES, st.just("a"), st.none()), max_size=1), st.integers(1, 99))
def test_min_opt_and_max_are_in_order(shape: list[int | str | None], batch: int) -> None:
    """Min, opt and max never decrease, as TensorRT requires; a scalar input has no profile."""
    for low, middle, high in profiles(model(batch=batch), tuple(shape)).values():
        assert all(a <= b <= c for a, b, c in zip(low, middle, high, strict=True))
