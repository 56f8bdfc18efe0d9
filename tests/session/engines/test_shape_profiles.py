from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import ModelSpec
from hil.errors import UserError
from hil.onnx_files.signature import Signature, TensorSpec
from hil.session.engines.shape_profiles import profiles_of

if TYPE_CHECKING:
    from hil.session.engines.shape_profiles import Profiles

SIZES = st.integers(1, 64)


def model(**keys: Any) -> ModelSpec:
    """A model's table with what a test is about."""
    return ModelSpec.model_validate({"path": "m.onnx", "data": "synthetic", **keys})


def profiles(spec: ModelSpec, *shapes: tuple[int | str | None, ...]) -> Profiles:
    """The profiles of a model with inputs ``i0``, ``i1``, … of these shapes."""
    inputs = tuple(TensorSpec(f"i{number}", "float32", shape) for number, shape in enumerate(shapes))
    return profiles_of(Signature(inputs, ()), spec, "m")


def test_static_inputs_need_none() -> None:
    """What is fixed is built as it is; an input beside it that is not has a profile."""
    assert profiles(model(), (1, 3, 8, 8)) == {}
    assert list(profiles(model(), (1, 3), ("batch", 3))) == ["i1"]


@pytest.mark.parametrize(("batch", "largest"), [(1, 4), (4, 4), (6, 6)])
@pytest.mark.parametrize("dimension", ["batch", None])
def test_a_first_dimension_is_the_batch(batch: int, largest: int, dimension: str | None) -> None:
    """From one sample to what is fed, and at least to what ``contract.shapes`` tries."""
    assert profiles(model(batch=batch), (dimension, 3)) == {"i0": [[1, 3], [batch, 3], [largest, 3]]}


@given(st.dictionaries(st.sampled_from("abc"), st.lists(SIZES, min_size=3, max_size=3).map(sorted), min_size=3))
def test_shapes_say_what_dimensions_are(shapes: dict[str, list[int]]) -> None:
    """Each choice of min, opt and max is taken from the same column for every dimension."""
    spec = model(shapes={key: tuple(value) for key, value in shapes.items()}, batch=shapes["a"][1])
    found = profiles(spec, ("a", "b", 5, "c"))["i0"]
    assert found == [[shapes["a"][n], shapes["b"][n], 5, shapes["c"][n]] for n in range(3)]


def test_an_undeclared_dimension_is_told_with_the_lines_to_write() -> None:
    """Nobody is left to guess the table; the batch needs none."""
    with pytest.raises(UserError, match=r"\[models\.m\.shapes\]\nheight = \[1, 1, 1\]\nwidth = \[1, 1, 1\]"):
        profiles(model(), ("batch", 3, "height", "width"))


def test_the_batch_may_stand_elsewhere_too() -> None:
    """A name that is first in one input means the same size in another."""
    assert profiles(model(batch=2), ("n", 3), (7, "n"))["i1"] == [[7, 1], [7, 2], [7, 4]]


def test_a_dimension_without_name_cannot_be_given_sizes() -> None:
    """``shapes`` goes by names: the model must have them."""
    with pytest.raises(UserError, match=r"dimension 1 of input i0: float32\[\?, \?\] has no name"):
        profiles(model(), (None, None))


def test_a_name_that_no_tensor_has_is_a_slip() -> None:
    """A misspelt dimension would be built for other sizes than the robot feeds."""
    with pytest.raises(UserError, match="did you mean 'height'"):
        profiles(model(shapes={"hieght": (1, 2, 3)}), (1, "height"))


def test_the_batch_must_fit_the_shapes() -> None:
    """What is timed is what the engine was built for."""
    with pytest.raises(UserError, match=r"batch = 8 is outside of shapes\.batch = \[1, 2, 4\]"):
        profiles(model(batch=8, shapes={"batch": (1, 2, 4)}), ("batch", 3))


@given(st.lists(st.one_of(SIZES, st.just("a"), st.none()), max_size=1), st.integers(1, 99))
def test_min_opt_and_max_never_fall(shape: list[int | str | None], batch: int) -> None:
    """TensorRT refuses a profile that does; a scalar has nothing to say."""
    for low, middle, high in profiles(model(batch=batch), tuple(shape)).values():
        assert all(a <= b <= c for a, b, c in zip(low, middle, high, strict=True))
