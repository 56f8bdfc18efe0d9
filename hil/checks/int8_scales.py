"""Which scales of an INT8 calibration are valid."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

TINIEST, LARGEST = 2.0**-126, 3.4e38 / 127
"""Valid scales: from the smallest normal float32 to the scale at which the largest code exceeds float32."""

ADDED = re.compile(r"\(Unnamed Layer\* \d+\) \[(Constant|Shuffle)\]_output")
"""Tensors in TensorRT's cache that its parser adds: constants, and constants or activations that it reshapes.

A reshaped activation is also in the cache under its own name.
"""

AGAIN = "check the calibration data, and calibrate again"


def is_zero_constant(tensor: str, zeros: Collection[str]) -> bool:
    """Return whether ``tensor`` is a constant of zeros, or a tensor that TensorRT's parser added (``ADDED``).

    Such a tensor may have the scale 0 in TensorRT's cache. ``zeros`` are the model's constants whose values are all 0.
    """
    return tensor in zeros or ADDED.fullmatch(tensor) is not None


def silent(scales: Mapping[str, Sequence[float]], zeros: Collection[str], computed: Collection[str]) -> list[str]:
    """Return the activations whose scale in TensorRT's cache is 0, as they were 0 in every calibration sample.

    ``computed`` are the tensors that the model's nodes compute; the scale of an input may not be 0.
    """
    none = (name for name, each in scales.items() if name in computed and not is_zero_constant(name, zeros))
    return sorted(name for name in none if not any(scales[name]))


def scale_faults(
    scales: Mapping[str, Sequence[float]], may_be_zero: Collection[str], products: Collection[str] = ()
) -> Iterator[str]:
    """Yield why scales are invalid.

    The scales of the tensors in ``may_be_zero`` may be 0. Those in ``products`` may be any small positive number: the
    scale of a bias is tiny where the weights of a channel are practically zero, as in networks with dead channels.
    """

    def sound(tensor: str, scale: float) -> bool:
        least = scale > 0 if tensor in products else scale >= TINIEST
        return (least and scale <= LARGEST) or (scale == 0 and tensor in may_be_zero)

    bad = sorted(name for name, each in scales.items() if not all(sound(name, one) for one in each))
    if not bad:
        return
    ill = next(one for one in scales[bad[0]] if not sound(bad[0], one))
    if not math.isfinite(ill) or ill < 0:
        yield f"scales of {some(bad)} are not finite and positive: {AGAIN}"
    elif ill < TINIEST:
        size = "zero" if ill == 0 else "practically zero"
        yield f"scales of {some(bad)} are {size}, not finite and positive: {AGAIN}"
    else:
        yield f"scales of {some(bad)} are saturated, at the end of the range of float32: {AGAIN}"


def some(names: Sequence[str]) -> str:
    """Return the first three of ``names`` as text, and how many more there are."""
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
