"""Quantities: text becomes base units; anything else is refused with a message that names the valid units."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.errors import UserError
from hil.units import SCALES, Dimension, number_text, parse, show, split

FINITE = st.floats(0, 1e12, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("5 ms", Dimension.TIME, 0.005),
        ("5ms", Dimension.TIME, 0.005),
        (" 2.5 µs ", Dimension.TIME, 2.5e-6),
        ("1 h", Dimension.TIME, 3600.0),
        ("512 MiB", Dimension.MEMORY, 512 * 2.0**20),
        ("1.5 GB", Dimension.MEMORY, 1.5e9),
        ("1 %", Dimension.FRACTION, 0.01),
        ("0.01", Dimension.FRACTION, 0.01),
        (0.01, Dimension.FRACTION, 0.01),
        (30, Dimension.RATE, 30.0),
        ("30 fps", Dimension.RATE, 30.0),
        ("1e1 Hz", Dimension.RATE, 10.0),
    ],
)
def test_quantities_become_base_units(text: object, dimension: Dimension, value: float) -> None:
    """Spaces are optional; a number without a unit is accepted for fractions and rates."""
    assert parse(text, dimension) == pytest.approx(value)


@pytest.mark.parametrize("dimension", Dimension)
@given(value=FINITE, data=st.data())
def test_every_unit_scales(dimension: Dimension, value: float, data: st.DataObject) -> None:
    """In each unit the value is the number times the unit's scale."""
    unit = data.draw(st.sampled_from(sorted(SCALES[dimension])))
    assert parse(f"{value!r} {unit}", dimension) == pytest.approx(value * SCALES[dimension][unit])


@pytest.mark.parametrize(
    ("value", "dimension", "message"),
    [
        ("5 MiB", Dimension.TIME, "unit 'MiB' is not one of ns, us, µs, ms, s, min, h"),
        ("5 ms", Dimension.MEMORY, "unit 'ms' is not one of B, kB"),
        ("5", Dimension.TIME, "a unit is missing"),
        (5, Dimension.MEMORY, "a unit is missing"),
        ("5 %", Dimension.RATE, "unit '%'"),
        ("-1 ms", Dimension.TIME, "not negative"),
        ("ms", Dimension.TIME, "is not a quantity"),
        ("5 ms ms", Dimension.TIME, "is not a quantity"),
        ("1e999 s", Dimension.TIME, "is not finite"),
        ("nan s", Dimension.TIME, "is not a quantity"),
        (math.nan, Dimension.RATE, "finite"),
        (math.inf, Dimension.FRACTION, "finite"),
        (True, Dimension.RATE, "expected a quantity"),
        (None, Dimension.TIME, "expected a quantity such as '5 ms'"),
        ([], Dimension.MEMORY, "expected a quantity such as '512 MiB'"),
    ],
)
def test_anything_else_is_refused(value: object, dimension: Dimension, message: str) -> None:
    """A wrong unit or value is refused, and the message names the valid units or an example."""
    with pytest.raises(ValueError, match=message):
        parse(value, dimension)


QUANTITIES = st.from_regex(r"-?[0-9]{1,4}(\.[0-9]{1,3})?(e[0-9]{1,3})? ?(ms|s|B|MiB|%|/s|Hz|W|J|°C)?", fullmatch=True)


@given(st.text(max_size=30) | QUANTITIES, st.sampled_from(Dimension))
def test_any_text_is_a_quantity_or_a_value_error(text: str, dimension: Dimension) -> None:
    """Any text gives a finite, non-negative quantity or a ``ValueError``."""
    try:
        value = parse(text, dimension)
    except ValueError:
        return
    assert math.isfinite(value)
    assert value >= 0


def test_split_keeps_any_unit() -> None:
    """``split`` accepts any unit: a user's own check may use millimetres."""
    assert split("2 mm") == (2.0, "mm")
    with pytest.raises(UserError, match="is not a quantity"):
        split("two mm")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.00512, "s", "5.12 ms"),
        (0.0, "s", "0 ns"),
        (90.0, "s", "90 s"),
        (512 * 2.0**20, "B", "512 MiB"),
        (100.0, "B", "100 B"),
        (0.85, "1", "85 %"),
        (1.8e306, "1", "1.8e+306"),
        (30.0, "1/s", "30.0 /s"),
        (12345.0, "1/s", "12,345 /s"),
        (2.0, "mm", "2 mm"),
    ],
)
def test_values_are_shown_with_readable_units(value: float, unit: str, text: str) -> None:
    """A value is shown with a few digits, in a unit that keeps the number small."""
    assert show(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.99999, "0.99999"), (0.9999999, "0.9999999"), (1.0000001, "1.0000001"), (0.5, "0.5"), (0.0, "0")],
)
def test_a_number_next_to_one_is_not_shown_as_one(value: float, text: str) -> None:
    """A cosine just below 1 keeps the digits that distinguish it from 1."""
    assert number_text(value, 4) == show(value, "") == text
