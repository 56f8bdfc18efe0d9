"""Calibrating a second time, to hold against the ranges in use, and with less data, to see whether they still move."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hil.errors import HilError
from hil.onnx_files.ort_errors import explained
from hil.onnx_files.signature import read_signature
from hil.quantize.calibrate import Feed, collect, insert, prepared, silence, stride_of
from hil.quantize.ranges import Ranges, ranges_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

    from hil.config.spec import CalibrationSpec
    from hil.datasets.dataset import Dataset
    from hil.runtimes import QdqLayout

MARKS = (0.25, 0.5)
"""Shares of the samples after which the ranges are looked at, before the whole."""


@dataclass(frozen=True)
class Snapshot:
    """The ranges that the first ``samples`` samples give, as they would stand in the model."""

    samples: int
    ranges: Ranges


def snapshots(model: Path, data: Dataset, spec: CalibrationSpec, layout: QdqLayout) -> list[Snapshot]:
    """Calibrates ``model`` afresh, keeping nothing: its ranges after a quarter, a half and all of the samples.

    Samples that are fed at once (up to 32) are not told apart by the marks; the half is then calibrated by itself,
    where the model's batch allows. The last is what ``quantize`` must have given. Raises as ``quantize`` does.
    """
    signature = read_signature(model)
    samples, stride = spec.samples or data.count, stride_of(signature, data)
    try:
        with silence(), tempfile.TemporaryDirectory(prefix="hil-calibration-") as folder:
            proto = prepared(model, Path(folder))
            feed = Feed(data, stride, samples, model.stem)
            found = _distinct(_seen(proto, Path(folder), feed, spec, layout, [int(samples * mark) for mark in MARKS]))
            half = samples // 2
            if len(found) == 1 and half and (signature.batch() is None or half % stride == 0):
                few = Feed(data, signature.batch() or half, half, model.stem)
                found = [*_seen(proto, Path(folder), few, spec, layout, []), *found]
    except (HilError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - the quantizer raises whatever comes to its mind
        raise explained(error, model, "while calibrating it again") from None
    return found


def _distinct(found: Iterator[Snapshot]) -> list[Snapshot]:
    """The last of each number of samples: a mark may lie within the last feed."""
    return list({one.samples: one for one in found}.values())


def _seen(  # noqa: PLR0913, PLR0917 - private: one calibration
    proto: onnx.ModelProto, folder: Path, feed: Feed, spec: CalibrationSpec, layout: QdqLayout, marks: list[int]
) -> Iterator[Snapshot]:
    total = feed.samples
    for samples, ranges in collect(proto, folder, feed, spec, layout, marks=[one for one in marks if 0 < one < total]):
        yield Snapshot(samples, ranges_of(insert(proto, ranges, spec, layout)))
