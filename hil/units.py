"""Read and show quantities with units: ``"5 ms"`` in a config is ``0.005`` internally and shown as ``5 ms``."""

from __future__ import annotations

import math
import re
from enum import Enum

from hil.errors import UserError


class Dimension(str, Enum):
    """What a quantity measures. Each member's value is the base unit, except ``AGE``, whose base unit is the second."""

    TIME = "s"
    MEMORY = "B"
    FRACTION = "1"
    RATE = "1/s"
    TEMPERATURE = "°C"
    ENERGY = "J"
    AGE = "age"


SCALES: dict[Dimension, dict[str, float]] = {
    Dimension.TIME: {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0},
    Dimension.MEMORY: {
        "B": 1.0,
        "kB": 1e3,
        "MB": 1e6,
        "GB": 1e9,
        "KiB": 2.0**10,
        "MiB": 2.0**20,
        "GiB": 2.0**30,
    },
    Dimension.FRACTION: {"": 1.0, "%": 0.01},
    Dimension.RATE: {"": 1.0, "1/s": 1.0, "Hz": 1.0, "fps": 1.0, "FPS": 1.0},
    Dimension.TEMPERATURE: {"": 1.0, "°C": 1.0, "C": 1.0},
    Dimension.ENERGY: {"µJ": 1e-6, "uJ": 1e-6, "mJ": 1e-3, "J": 1.0},
    Dimension.AGE: {"h": 3600.0, "days": 86400.0, "weeks": 604800.0},  # seconds too, but written in larger units
}
EXAMPLES = {
    Dimension.TIME: "5 ms",
    Dimension.MEMORY: "512 MiB",
    Dimension.FRACTION: "1 %",
    Dimension.RATE: "30 fps",
    Dimension.TEMPERATURE: "65 °C",
    Dimension.ENERGY: "50 mJ",
    Dimension.AGE: "90 days",
}
KILO = 1000
STEPS = {
    "s": (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)),
    "J": (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6)),
    "Hz": (("GHz", 1e9), ("MHz", 1e6), ("kHz", 1e3), ("Hz", 1.0)),
    "B": (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0)),
}
"""Units that a value in seconds, joules, hertz or bytes is shown in, largest first."""
QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S*)\s*")


def split(text: str) -> tuple[float, str]:
    """Return number and unit: ``(2.0, "mm")`` for ``"2 mm"``. Any unit is accepted; a missing unit is empty.

    Raise ``UserError`` if ``text`` is not a finite number with or without a unit.
    """
    match = QUANTITY.fullmatch(text)
    if match is None:
        raise UserError(f"{text!r} is not a quantity: write a number and a unit, e.g. '5 ms'")
    value = float(match[1])
    if not math.isfinite(value):
        raise UserError(f"{text!r} is not finite: write a number and a unit, e.g. '5 ms'")
    return value, match[2]


def parse(value: object, dimension: Dimension) -> float:
    """Return ``value`` (``"5 ms"``, or a bare number) in base units of ``dimension``.

    A bare number is accepted only for fractions, rates and temperatures. Raises ``ValueError`` (as pydantic validators
    must) for an invalid, negative or infinite quantity, or a unit of another dimension.
    """
    units = SCALES[dimension]
    known = ", ".join(unit for unit in units if unit)
    example = EXAMPLES[dimension]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"expected a quantity such as {example!r}")  # noqa: TRY004 - pydantic takes ValueError alone
    if isinstance(value, str):
        try:
            number, unit = split(value)
        except UserError as error:
            raise ValueError(str(error)) from None
    else:
        number, unit = float(value), ""
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{value!r} must be finite and not negative")
    if unit not in units:
        what = f"unit {unit!r} is not one of {known}" if unit else f"a unit is missing (one of {known})"
        raise ValueError(f"{what}: write e.g. {example!r}")
    return number * units[unit]


def show(value: float, unit: str) -> str:
    """Return a value in base units as readable text: ``show(0.00512, "s") == "5.12 ms"``."""
    if unit in STEPS:
        name, scale = next(((n, s) for n, s in STEPS[unit] if abs(value) >= s), STEPS[unit][-1])
        return f"{value / scale:.4g} {name}"
    if unit.startswith("B/"):
        return f"{show(value, 'B')}/{unit[2:]}"
    if unit == "x":
        return f"{value:.3g} x"
    if unit == "1":
        percent = value * 100  # infinite for a share beyond 1e306, which is shown without %
        return f"{percent:.4g} %" if math.isfinite(percent) or not math.isfinite(value) else f"{value:.4g}"
    if unit == "1/s":
        return f"{value:,.1f} /s" if abs(value) < KILO else f"{value:,.0f} /s"
    return f"{number_text(value, 6)} {unit}".rstrip()


def number_text(value: float, digits: int) -> str:
    """Return ``value`` with ``digits`` significant digits; with more if a value other than 1 would be shown as "1"."""
    text = f"{value:.{digits}g}"
    if text != "1" or value == 1:
        return text
    return f"{value:.{1 - math.floor(math.log10(abs(1 - value)))}f}".rstrip("0")
