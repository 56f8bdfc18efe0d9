"""Test whether samples that run together are independent of each other, as samples along a batch axis are."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.dtypes import is_number
from hil.onnx_files.batch_axes import USUAL
from hil.proposals.roles import Role, roles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.onnx_files.signature import Signature
    from hil.proposals.axes import InputProposal

    Arrays = Mapping[str, Any]

NEAR = 1e-3
"""Accepted difference between a sample's row and its own run, as a share of that run's norm, for rounding errors."""

MIXED = 0.2
"""Accepted further difference, as a share of the largest difference from another sample, since rows share INT8 scales.
"""


class Rows(str, Enum):
    """What a run of several samples shows, compared with runs of each sample alone."""

    AGREE = "agree"
    """An output has for each sample the rows, with the values, that the sample alone gives."""

    DIFFER = "differ"
    """Rows differ, or several axes of an output grow with the number of samples: these are not samples of a batch."""

    POOLED = "pooled"
    """No output grows with the number of samples, and an output differs from that of a sample alone."""

    UNKNOWN = "unknown"
    """No output shows whether samples are independent, for example because its size depends on the data."""


def compare_rows(together: Arrays, alone: Sequence[Arrays]) -> Rows:
    """Compare the outputs of all samples ``together`` with those of each sample ``alone``; return the result."""
    found = {_of_output(array, [one.get(name) for one in alone]) for name, array in together.items()}
    return next((rows for rows in (Rows.DIFFER, Rows.AGREE, Rows.POOLED) if rows in found), Rows.UNKNOWN)


def rows_of(run: Callable[[Arrays], Arrays], together: Arrays, samples: Sequence[Arrays]) -> Rows:
    """Return what the outputs of all ``samples`` together show, compared with runs of each alone.

    ``run`` returns the outputs by name. The result is ``UNKNOWN`` if there are no samples, if the model refuses a
    sample, or if two runs of one sample differ.
    """
    try:
        found = compare_rows(together, [run(one) for one in samples])
        repeats = [run(samples[0]) for _ in range(2)] if found in {Rows.DIFFER, Rows.POOLED} else []
    except Exception:  # noqa: BLE001 - ONNX Runtime's errors share no class of their own
        return Rows.UNKNOWN
    same = all(np.array_equal(repeats[0][name], repeats[1][name]) for name in together) if repeats else True
    return found if same else Rows.UNKNOWN


def _of_output(together: Any, alone: list[Any]) -> Rows:
    arrays = [together, *alone]
    if not alone or not all(isinstance(one, np.ndarray) and is_number(one.dtype) for one in arrays):
        return Rows.UNKNOWN
    shapes = {one.shape for one in alone}
    if len(shapes) > 1 or alone[0].ndim != together.ndim or not together.size:
        return Rows.UNKNOWN  # how many boxes there are depends on the data
    own = alone[0].shape
    grown = [axis for axis, size in enumerate(together.shape) if size != own[axis]]
    if len(grown) > 1:
        return Rows.DIFFER
    wide = [np.asarray(one, np.float64) for one in alone]
    if not grown:
        same = all(_near(np.asarray(together, np.float64), wide, number) for number in range(len(wide)))
        return Rows.UNKNOWN if same else Rows.POOLED
    if together.shape[grown[0]] != len(alone) * own[grown[0]]:
        return Rows.UNKNOWN
    rows = np.split(np.asarray(together, np.float64), len(alone), grown[0])
    return Rows.AGREE if all(_near(row, wide, number) for number, row in enumerate(rows)) else Rows.DIFFER


def _near(row: Any, alone: Sequence[Any], number: int) -> bool:
    own, finite = alone[number], np.isfinite(alone[number])
    if not np.array_equal(np.isfinite(row), finite):
        return False
    if not finite.any():
        return True
    others = [one for at, one in enumerate(alone) if at != number]
    between = max((_norm(one - own, finite & np.isfinite(one)) for one in others), default=0.0)
    return _norm(row - own, finite) <= NEAR * _norm(own, finite) + MIXED * between


def _norm(array: Any, counted: Any) -> float:
    with np.errstate(over="ignore"):
        return float(np.sqrt(np.square(array[counted]).sum()))


def is_batch(signature: Signature, plan: Mapping[str, InputProposal], rows: Rows) -> bool:
    """Return whether the batch axes of ``plan`` are right: by ``rows`` or, if these are unknown, by the file.

    The file shows a batch by the dimension's name, or by an image.
    """
    return rows is Rows.AGREE or (rows is Rows.UNKNOWN and not _doubtful(signature, plan))


def without_doubtful(signature: Signature, plan: Mapping[str, InputProposal]) -> Mapping[str, InputProposal]:
    """Return ``plan`` without its doubtful batch axes: those without a usual name, except those of images."""
    doubtful = _doubtful(signature, plan)
    return {name: replace(one, batch_axis="none") if name in doubtful else one for name, one in plan.items()}


def _doubtful(signature: Signature, plan: Mapping[str, InputProposal]) -> set[str]:
    kinds = roles(signature)
    names = {}
    for one in signature.inputs:
        axis = plan[one.name].batch_axis
        if isinstance(axis, int) and axis < len(one.shape) and plan[one.name].value is None:
            names[one.name] = one.shape[axis]
    images = {name for one, name in names.items() if kinds[one] is Role.IMAGE}
    return {one for one, name in names.items() if name not in images and str(name).lower() not in USUAL}
